// The screens, in the order of the menu.

import { phrase } from "./text.js";

/**
 * `needs` is a request without which the screen is of no use: it is in the menu only where the appliance serves it and
 * the credential may make it.
 */
export const SCREENS = [
  { name: "home", title: phrase("Home"), group: "", needs: ["GET", "/version"] },
  { name: "update", title: phrase("Update"), group: "", needs: ["POST", "/update"] },
  { name: "network", title: phrase("Network"), group: phrase("Settings"), needs: ["GET", "/settings"] },
  { name: "certificates", title: phrase("Certificates"), group: phrase("Settings"), needs: ["GET", "/certs"] },
  { name: "storage", title: phrase("Storage"), group: phrase("Settings"), needs: ["GET", "/storage"] },
  { name: "license", title: phrase("License"), group: phrase("Settings"), needs: ["GET", "/license"] },
  { name: "backup", title: phrase("Backup"), group: phrase("Settings"), needs: ["GET", "/backup"] },
  { name: "access", title: phrase("Access"), group: phrase("Settings"), needs: ["POST", "/setup"] },
  { name: "monitor", title: phrase("Monitor"), group: phrase("Status"), needs: ["GET", "/health/history"] },
  { name: "activity", title: phrase("Activity"), group: phrase("Status"), needs: ["GET", "/jobs"] },
  { name: "support", title: phrase("Support"), group: phrase("Status"), needs: ["GET", "/logs"] },
];
