// Where the dashboard is once the network of the appliance changed. The page cannot find out: it may only say so.

/** What an address may consist of, as it becomes part of a link. */
const ADDRESS = /^[0-9a-fA-F:.]{2,45}$/;

/**
 * Return where the dashboard is with new settings; null where it stays, `{address: ""}` where nobody knows.
 *
 * @param {Record<string, string>} network the new settings.
 * @param {Record<string, string>} [present]
 * @returns {{address: string} | null}
 */
export function whereTo(network, present = {}) {
  if (network.mode !== "static") {
    return present.mode === "static" ? { address: "" } : null;
  }
  const host = network.ip_address.includes(":") ? `[${network.ip_address}]` : network.ip_address;
  if (network.ip_address === present.ip_address || location.hostname === host || !ADDRESS.test(network.ip_address)) {
    return null;
  }
  const port = location.port ? `:${location.port}` : "";
  return { address: `${location.protocol}//${host}${port}/dashboard/network` };
}

/** Say it, as text and as a link. */
export function place({ html, t }, { address }) {
  if (!address) {
    return html`<p>${t("The new address comes from your network: the appliance shows it on its console. If this page stops answering, open the dashboard there.")}</p>`;
  }
  return html`
    <p>${t("If this page stops answering, open the new address. Your browser may warn about the certificate there, and you have to sign in again:")}</p>
    <p class="address"><a href=${address} rel="noreferrer">${address}</a></p>`;
}
