// What jobs, requests and keys of the API are called for people.

import { phrase, t } from "./text.js";

const JOBS = {
  update: phrase("Update"),
  settings: phrase("Change of the settings"),
  certs: phrase("Change of the certificate"),
  storage: phrase("Change of the storage"),
  license: phrase("Change of the license"),
  backup: phrase("Backup"),
  "backup-delete": phrase("Removal of the backup"),
  restore: phrase("Restore of a backup"),
  reboot: phrase("Restart"),
  persist: phrase("Saving of changes"),
  logs: phrase("Packing of the logs"),
  debug: phrase("Packing of a report for the support"),
};

const REQUESTS = {
  "POST /update": phrase("Install an update"),
  "POST /settings": phrase("Change the settings"),
  "POST /certs": phrase("Replace the certificate"),
  "POST /certs/confirm": phrase("Keep the new certificate"),
  "POST /settings/confirm": phrase("Keep the new settings"),
  "POST /storage": phrase("Change the storage"),
  "POST /license": phrase("Replace the license"),
  "POST /backup": phrase("Make or remove a backup"),
  "POST /backup/restore": phrase("Restore a backup"),
  "POST /setup": phrase("Set the token"),
  "POST /reboot": phrase("Restart the appliance"),
  "POST /tokens": phrase("Make a token"),
  "POST /tokens/revoke": phrase("Revoke a token"),
  "POST /downloads": phrase("Begin a download"),
  "POST /uploads": phrase("Begin an upload"),
  "POST /jobs/{id}/cancel": phrase("Cancel a task"),
  "PATCH /uploads/{id}": phrase("Send a part of an upload"),
  "DELETE /uploads/{id}": phrase("Remove an upload"),
  "GET /session": phrase("Sign in"),
  "GET /logs": phrase("Download the logs"),
  "GET /debug": phrase("Download the report for the support"),
};

/** Return a name as people write it: `disk-report` becomes `Disk report`. */
export function prettified(name) {
  const words = name.replace(/[-_./{}]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Return what a type of job is called; one of a plugin by its own name. */
export const jobName = (type) => (Object.hasOwn(JOBS, type) ? t(JOBS[type]) : type);

/** Return what a type of job is called, as a title. */
export const jobTitle = (type) => (Object.hasOwn(JOBS, type) ? jobName(type) : prettified(type));

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

/** Return who did something. */
export const userTitle = (user) => (user === "admin" ? t("Administrator") : user === "first-run" ? t("First setup") : user === "-" || !user ? t("unknown") : user);

/** What the keys of the network settings are called on all screens. */
export const LABELS = {
  mode: phrase("Address"),
  hostname: phrase("Hostname"),
  interface: phrase("Interface"),
  ip_address: phrase("IP address"),
  netmask: phrase("Netmask"),
  prefix: phrase("Prefix length"),
  gateway: phrase("Gateway"),
  dns1: phrase("DNS server 1"),
  dns2: phrase("DNS server 2"),
  ntpserver: phrase("NTP server"),
};

/** Compare two keys of the network settings: as they follow in LABELS, others after them. */
export const inOrder = (a, b) => rank(a) - rank(b);
const rank = (name) => (Object.keys(LABELS).indexOf(name) + 1) || Infinity;

/** Where an address comes from. */
export const MODES = { dhcp: phrase("Automatic (DHCP)"), static: phrase("Fixed address") };

/** The files of a certificate. */
const FILES = { public: phrase("Certificate"), private: phrase("Private key"), ca: phrase("Authority") };

/**
 * Return a sentence of the appliance with the names of fields as the screens have them.
 *
 * @param {string} message
 * @param {(english: string) => string} t
 * @param {boolean} [atField] whether the field's label stands above it, so that it need not be named.
 */
export function readable(message, t, atField = false) {
  const text = atField ? message.replace(/^[a-z0-9_]+([.-][a-z0-9_]+)* (?=must |is |are |has |holds )/, "") : message;
  const named = text.replace(/^(public|private|ca) (?=holds |is )|(?<= in )(public|private|ca)\b/g, (_, first, later) =>
    first ? `${t(FILES[first])}: ` : `“${t(FILES[later])}”`).replace(/(settings\.network\.)?\b(ip_address|ntpserver|dns1|dns2)\b/g, (_, path, name) => t(LABELS[name]));
  return text === message ? named : named.charAt(0).toUpperCase() + named.slice(1);
}
