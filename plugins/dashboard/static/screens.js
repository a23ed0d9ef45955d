// The screens, in the order of the menu.

/**
 * `needs` is a request without which the screen is of no use: it is in the menu only where the appliance serves it and
 * the credential may make it.
 */
export const SCREENS = [
  { name: "home", title: "Home", group: "", needs: ["GET", "/version"] },
  { name: "update", title: "Update", group: "", needs: ["POST", "/update"] },
  { name: "network", title: "Network", group: "Settings", needs: ["GET", "/settings"] },
  { name: "certificates", title: "Certificates", group: "Settings", needs: ["GET", "/certs"] },
  { name: "storage", title: "Storage", group: "Settings", needs: ["GET", "/storage"] },
  { name: "license", title: "License", group: "Settings", needs: ["GET", "/license"] },
  { name: "backup", title: "Backup", group: "Settings", needs: ["GET", "/backup"] },
  { name: "access", title: "Access", group: "Settings", needs: ["POST", "/setup"] },
  { name: "monitor", title: "Monitor", group: "Status", needs: ["GET", "/health/history"] },
  { name: "activity", title: "Activity", group: "Status", needs: ["GET", "/jobs"] },
  { name: "support", title: "Support", group: "Status", needs: ["GET", "/logs"] },
];
