// Sentences of the appliance in the language of the browser: those that its customers may meet.

import { isTranslated, phrase, t } from "./text.js";
import { readable } from "./names.js";

/** What error codes mean, for people; the sentence of the appliance, which is often for the vendor, stands below. */
const CODES = {
  E1001: phrase("The update package is not for the version that is installed."),
  E1002: phrase("The program of the update package failed."),
  E1003: phrase("There is no update package."),
  E1004: phrase("Something else is running that this must wait for."),
  E1005: phrase("The file is not an update package for this appliance, or it is damaged."),
  E2001: phrase("The change was taken back: the former settings are in force again."),
  E2002: phrase("The update package looked at the appliance and does not fit. Nothing was changed."),
  E2003: phrase("The update was installed, and did not work."),
  E2004: phrase("The update failed, and the way back to the former version failed, too. Please ask your vendor."),
};

/** What sentences of the appliance mean that speak of its insides. */
const MEANINGS = /** @type {[RegExp, string][]} */ ([
  [/ for a confirmation, and is put back then/, phrase("Another change is on trial. Keep it first, or wait until it is taken back.")],
  [/^The archive is no tar archive/, phrase("This file is not a backup.")],
  [/^The license is not an OpenPGP message/, phrase("This file is not a license.")],
  [/^Upload-Length must not be more than/, phrase("This file is too large for this appliance.")],
]);
/** How the appliance tells programs what to ask of it next. */
const ADVICE = /: [^:]*\b(GET|POST) \/[^:]*$/;

/** What is said, with `{name}` for each part that changes. */
export const SENTENCES = [
  phrase("is required"),
  phrase("must be an IPv4 or IPv6 address of 3 to 45 characters"),
  phrase("must be an IPv{version} address as ip_address is"),
  phrase("must be a netmask such as 255.255.255.0, or a prefix length such as 24 or /64, of 2 to 45 characters"),
  phrase("gateway {gateway} is not in the subnet of ip_address, {subnet}"),
  phrase("must not be empty: send a PEM file"),
  phrase("must not be empty: send the license file"),
  phrase("The private key does not belong to the certificate in public"),
  phrase("The license is not an OpenPGP message"),
  phrase("The license is not encrypted to the key in license.key: it is for another appliance"),
  phrase("The package cannot be decrypted: {reason}"),
  phrase("It is not a file that was encrypted with a passphrase by openssl enc"),
  phrase("The package is damaged or not an update package: {reason}"),
  phrase("The package's version {version} is not newer than {installed}"),
  phrase("The package's signature is not valid: it was changed or signed with another key"),
  phrase("There is no backup: make one with POST /backup and action=START"),
  phrase("Nobody confirmed the change within {seconds} seconds"),
  phrase("The job took too long"),
  phrase("The disk is full: free some space, then update again"),
  phrase("The package needs {needed} bytes of free disk, and {free} are free"),
  phrase("{program} failed with exit status {status}"),
  phrase("This token may not do that"),
  phrase("Too many failed authentications from this address"),
  phrase("No settings wait for a confirmation"),
  phrase("No certificate waits for a confirmation"),
  phrase("{path} is left out: backup.txt does not list it"),
  phrase("The archive holds nothing that belongs to a backup of this appliance"),
];

/** Rules as the authors of plugins write them, too. */
const RULES = [
  phrase("must be {least} to {most} letters and digits"),
  phrase("must be {least} to {most} letters, digits, spaces and {sign}"),
  phrase("must be {least} to {most} letters, digits, {sign} and {other}"),
  phrase("must be {least} to {most} letters, digits and {sign}"),
  phrase("must be {least} to {most} printable ASCII characters without spaces"),
  phrase("must be a number from {least} to {most}"),
  phrase("must be at least {least}"),
  phrase("must be at most {most}"),
  phrase("must be one of {choices}"),
  phrase("must be a whole number"),
  phrase("must be a number"),
  phrase("must be true or false"),
];

const patterns = [...SENTENCES, ...RULES].map((sentence) => ({
  sentence,
  pattern: new RegExp(`^${sentence.replace(/[.*+?^$|()[\]\\]/g, "\\$&").replace(/\{(\w+)\}/g, "(?<$1>.+)")}$`, "sui"),
}));

/** Return what a field may hold: as its author or a translation has it, or as a validator describes itself. */
export function rule(description) {
  if (!description || isTranslated(description) || document.documentElement.lang.startsWith("en")) {
    return t(description);
  }
  const { text, lang } = said(`must be ${description.charAt(0).toLowerCase()}${description.slice(1)}`);
  return lang ? description : text;
}

/**
 * Return what the appliance said, for people.
 *
 * @param {string} message
 * @param {{atField?: boolean, code?: string | null}} [options] `atField`: whether the field's label stands above it.
 * @returns {{text: string, lang: string | undefined, meaning: string}} `lang` is that of the text where it is not that of
 *   the page; `meaning` is what its code means.
 */
export function said(message, { atField = false, code } = {}) {
  const means = MEANINGS.find(([pattern]) => pattern.test(message))?.[1] ?? (code && Object.hasOwn(CODES, code) ? CODES[code] : "");
  const meaning = means && t(means);
  const text = readable(message.replace(ADVICE, ""), t, atField);
  if (document.documentElement.lang.startsWith("en")) {
    return { text, lang: undefined, meaning };
  }
  for (const { sentence, pattern } of patterns) {
    const match = pattern.exec(message) ?? pattern.exec(text);
    if (match && isTranslated(sentence)) {
      const translated = t(sentence, Object.fromEntries(Object.entries(match.groups ?? {}).map(([name, value]) => [name, said(value).text])));
      const begins = sentence.startsWith("{") ? translated : translated.charAt(0).toUpperCase() + translated.slice(1);
      return { text: begins, lang: undefined, meaning };
    }
  }
  return { text, lang: "en", meaning };
}
