// What keys of the API are called on the screens.

import { phrase } from "./text.js";

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
