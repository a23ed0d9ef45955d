// What jobs and requests are called for people.

import { t } from "./text.js";

const JOBS = {
  update: "Update",
  settings: "Change of the settings",
  certs: "Change of the certificate",
  storage: "Change of the storage",
  license: "Change of the license",
  backup: "Backup",
  "backup-delete": "Removal of the backup",
  restore: "Restore of a backup",
  reboot: "Restart",
  persist: "Saving of changes",
  logs: "Packing of the logs",
  debug: "Packing of a report for the support",
};

const REQUESTS = {
  "POST /update": "Install an update",
  "POST /settings": "Change the settings",
  "POST /certs": "Replace the certificate",
  "POST /storage": "Change the storage",
  "POST /license": "Replace the license",
  "POST /backup": "Make or remove a backup",
  "POST /backup/restore": "Restore a backup",
  "POST /setup": "Set the token",
  "POST /reboot": "Restart the appliance",
  "POST /tokens": "Make a token",
  "POST /tokens/revoke": "Revoke a token",
  "POST /downloads": "Begin a download",
  "POST /uploads": "Begin an upload",
  "POST /jobs/{id}/cancel": "Cancel a job",
  "PATCH /uploads/{id}": "Send a part of an upload",
  "DELETE /uploads/{id}": "Remove an upload",
  "GET /logs": "Download the logs",
  "GET /debug": "Download the report for the support",
};

/** Return a name as people write it: `disk-report` becomes `Disk report`. */
export function prettified(name) {
  const words = name.replace(/[-_./{}]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Return what a type of job is called. */
export const jobTitle = (type) => (Object.hasOwn(JOBS, type) ? t(JOBS[type]) : prettified(type));

/** Return what a request is called: one of a plugin after its path. */
export function requestTitle(method, path) {
  const plain = path.replace(/^\/api\/v1\/admin/, "").replace(/\?.*$/, "");
  const general = plain.replace(/^\/(jobs|uploads)\/[^/]+/, "/$1/{id}");
  const known = `${method} ${general}`;
  if (Object.hasOwn(REQUESTS, known)) {
    return t(REQUESTS[known]);
  }
  const name = prettified(plain);
  return method === "DELETE" ? t("Remove: {name}", { name }) : name;
}

/** Return who did something: the administrator of the appliance, the holder of a named token, or its console. */
export const userTitle = (user) => (user === "admin" ? t("Administrator") : user === "-" || !user ? t("unknown") : user);
