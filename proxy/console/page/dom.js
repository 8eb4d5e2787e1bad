// Elements, formats and requests: what every view uses. Text from the log goes into the page as text alone, never as markup.

/** An element: h("a", {href: "#/log", class: "x"}, "text", child, [children]). Properties that begin with "on" are listeners. */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

export function add(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(element, child);
    else element.append(child);
  }
}

export function show(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

// ---- Requests

export class Failure extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

let onLoggedOut = () => {};
export function whenLoggedOut(call) {
  onLoggedOut = call;
}

/** GET with parameters, or POST with a body. `background` marks what nobody clicked for. */
export async function api(path, {parameters, body, background, signal} = {}) {
  const query = new URLSearchParams(Object.entries(parameters || {}).filter(([, value]) => value !== "" && value != null));
  const options = {
    method: body ? "POST" : "GET", signal, cache: "no-store", credentials: "same-origin",
    headers: {"X-Pgveil-Console": background ? "background" : "page"},
  };
  if (body) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(`/api/${path}${query.size || query.toString() ? "?" + query : ""}`, options);
  } catch (failure) {
    if (failure.name === "AbortError") throw failure;
    throw new Failure(0, "pgveil does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401 && path !== "login") onLoggedOut(answer.error);
  if (!response.ok) throw new Failure(response.status, answer.error || `The answer was ${response.status}.`);
  return answer;
}

// ---- Formats

const numbers = new Intl.NumberFormat(undefined);
const compact = new Intl.NumberFormat(undefined, {notation: "compact", maximumFractionDigits: 1});
const two = (value) => String(value).padStart(2, "0");

export const count = (value) => (value === null || value === undefined ? "–" : numbers.format(value));
export const short = (value) => (value < 10000 ? numbers.format(value) : compact.format(value));

/** Local time, as the log writes it: 2026-01-31 12:00:00. */
export function moment(at, {seconds = true} = {}) {
  const date = new Date(at);
  if (!at || Number.isNaN(date.getTime())) return "–";
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}${seconds ? ":" + two(date.getSeconds()) : ""}`;
}

/** A <time> that says UTC when asked. */
export const time = (at, options) => (at ? h("time", {datetime: at, title: `${at} (UTC)`}, moment(at, options)) : "–");

export function ago(at) {
  const seconds = Math.max(0, Math.round((Date.now() - new Date(at)) / 1000));
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]])
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${seconds} s`;
}

export function duration(us) {
  if (us === null || us === undefined) return "–";
  if (us < 1000) return `${us} µs`;
  if (us < 1e6) return `${(us / 1e3).toPrecision(us < 1e4 ? 2 : 3)} ms`;
  return `${(us / 1e6).toFixed(us < 1e7 ? 2 : 1)} s`;
}

export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

// ---- Pieces

export const badge = (kind, text) => h("span", {class: `badge ${kind}`}, text || kind);

export function decision(row) {
  if (row.decision === "denied") return badge("denied", "denied");
  if (!row.outcome) return badge("running", "running");
  return row.outcome === "completed" ? badge("allowed", "allowed") : badge("failed", row.outcome);
}

/** A link into the log with a filter. */
export const logLink = (filter, text, properties) =>
  h("a", {href: "#/log?" + new URLSearchParams(Object.entries(filter).filter(([, value]) => value)), ...properties}, text);

/**
 * A table. Columns: {head, cell(row), number, wide}. On a narrow screen each row becomes a card, whose cells say their head.
 */
export function table(caption, columns, rows, {empty = "Nothing here.", hideCaption = true} = {}) {
  if (rows.length === 0) return h("p", {class: "empty"}, empty);
  const kind = (column) => [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ") || null;
  return h("div", {class: "scroll"},
    h("table", {},
      h("caption", {class: hideCaption ? "visually-hidden" : null}, caption),
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", {scope: "col", class: kind(column)}, column.head)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, columns.map((column, i) =>
        h(i === 0 ? "th" : "td", {scope: i === 0 ? "row" : null, class: kind(column), "data-head": column.head},
          column.cell(row))))))));
}

/** A share as a bar behind a number. */
export function share(value, most, kind = "allowed") {
  const bar = h("span", {class: `bar ${kind}`, "aria-hidden": "true"});
  bar.style.inlineSize = `${most > 0 ? Math.max(value > 0 ? 2 : 0, (100 * value) / most) : 0}%`;
  return h("span", {class: "share"}, h("span", {class: "track", "aria-hidden": "true"}, bar), h("span", {}, count(value)));
}

export const say = (text) => {
  document.getElementById("status").textContent = text;
};

/** The head of a view: its name, what it is about, controls at the right. */
export const heading = (title, about, ...controls) =>
  h("div", {class: "heading"}, h("div", {}, h("h1", {tabindex: "-1"}, title), about && h("p", {class: "about"}, about)),
    controls.length > 0 && h("div", {class: "controls"}, controls));

export const notice = (kind, ...children) => h("div", {class: `note ${kind}`, role: kind === "bad" ? "alert" : null}, children);

export function busy(element, text = "Reading the log …") {
  element.setAttribute("aria-busy", "true");
  show(element, h("p", {class: "busy"}, text));
}
