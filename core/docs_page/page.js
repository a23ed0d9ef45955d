// Tries calls. The token stays in its field: what is sent is a hash made with it for one method and path.
"use strict";

const SHOWN = 65536;
const POLLS = 600;

const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

async function requestHash(method, path, token) {
  const encoder = new TextEncoder();
  const secret = hex(await crypto.subtle.digest("SHA-256", encoder.encode(token)));
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, ["sign"]);
  return hex(await crypto.subtle.sign("HMAC", key, encoder.encode(method + path)));
}

async function addressOf(method, path, fields, anonymous) {
  const query = new URLSearchParams(fields.map(([name, value]) => [name, value]));
  const token = document.getElementById("token").value;
  if (token && !anonymous) {
    query.set("hash", await requestHash(method, path, token));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

function fieldsOf(form, place) {
  const given = [];
  for (const input of form.querySelectorAll(`[data-place="${place}"]`)) {
    const value = input.type === "file" ? input.files[0] : input.value;
    if (value !== undefined && value !== "") {
      given.push([input.name, value, input.type === "password"]);
    }
  }
  return given;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function shell(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function shownValue(value, secret) {
  if (secret) {
    return "…";
  }
  return value instanceof File ? `@${value.name}` : value;
}

function curlLine(method, url, fields) {
  const parts = fields.map(([name, value, secret]) => `-F ${shell(`${name}=${shownValue(value, secret)}`)}`);
  return ["curl", "-k", "-X", method, shell(location.origin + url), ...parts].join(" ");
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function show(outcome, response) {
  outcome.append(element("h4", `${response.status} ${response.statusText}`));
  const attachment = /attachment; filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") || "");
  if (attachment) {
    const link = element("a", `Save ${attachment[1]}`);
    link.href = URL.createObjectURL(await response.blob());
    link.download = attachment[1];
    outcome.append(link);
    return;
  }
  if ((response.headers.get("Content-Type") || "").startsWith("text/event-stream")) {
    await showStream(outcome, response);
    return;
  }
  const text = await response.text();
  const block = element("pre", pretty(text).slice(0, SHOWN) + (text.length > SHOWN ? "\n…" : ""));
  block.tabIndex = 0;
  outcome.append(block);
}

// What has no end is shown as it comes, the last of it, until the next call takes its place.
async function showStream(outcome, response) {
  const block = element("pre", "");
  block.tabIndex = 0;
  outcome.append(block);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (!block.isConnected) {
      await reader.cancel();
      return;
    }
    block.textContent = (block.textContent + decoder.decode(part.value, { stream: true })).slice(-SHOWN);
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function follow(outcome, record, location) {
  const line = element("p", "The job runs…");
  let path = record;
  outcome.append(line);
  for (let poll = 0; poll < POLLS; poll += 1) {
    const response = await fetch(await addressOf("GET", path, [], false));
    if (response.status === 403 && path === record) {
      path = location; // a token that may not see the records of jobs
      continue;
    }
    if (!response.ok) {
      line.textContent = `${path} answers ${response.status}`;
      return;
    }
    const job = await response.json();
    if (job.status !== "running") {
      line.textContent = `${path}: ${job.status || "done"}${job["error-message"] ? `, ${job["error-message"]}` : ""}`;
      return;
    }
    line.textContent = `The job runs… ${job.percentage === undefined ? "" : `${job.percentage} %`}`;
    await pause(1000);
  }
}

async function call(form) {
  const outcome = form.querySelector(".outcome");
  const method = form.dataset.method;
  const path = fieldsOf(form, "path").reduce(
    (text, [name, value]) => text.replace(`{${name}}`, encodeURIComponent(value)),
    form.dataset.path,
  );
  const dryRun = form.elements["dry-run"] && form.elements["dry-run"].checked;
  const query = [...fieldsOf(form, "query"), ...(dryRun ? [["dry-run", "1"]] : [])];
  const fields = fieldsOf(form, "form");
  outcome.replaceChildren();
  const url = await addressOf(method, path, query, "public" in form.dataset);
  const body = new FormData();
  fields.forEach(([name, value]) => body.append(name, value));
  outcome.append(element("pre", curlLine(method, url, fields)));
  const response = await fetch(url, fields.length ? { method, body } : { method });
  await show(outcome, response);
  const location = response.headers.get("Location");
  if (response.status === 202 && location && !dryRun) {
    await follow(outcome, `/api/v1/admin/jobs/${response.headers.get("Job-Id")}`, location);
  }
}

async function onSubmit(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await call(form);
  } catch (error) {
    form.querySelector(".outcome").append(element("p", `The call failed: ${error.message}`));
  } finally {
    button.disabled = false;
  }
}

function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
  }
}

document.querySelectorAll("form[data-method]").forEach((form) => form.addEventListener("submit", onSubmit));
window.addEventListener("hashchange", openTarget);
openTarget();
