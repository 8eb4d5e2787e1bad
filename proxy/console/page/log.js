// The log with its filter, and one record whole.

import {h, show, api, count, duration, time, moment, zone, decision, badge, logLink, table, heading, notice, busy, say} from "./dom.js";

const FIELDS = ["room", "user", "question", "decision", "outcome", "code", "column", "text", "since", "until"];

// ---- The filter

const local = (at) => (at ? moment(at).replace(" ", "T") : "");
const utc = (text) => (text ? new Date(text).toISOString() : "");

function choice(name, label, value, entries) {
  return h("div", {class: "field"}, h("label", {for: `f-${name}`}, label),
    h("select", {id: `f-${name}`, name}, entries.map(([key, text]) => h("option", {value: key, selected: key === (value || "")}, text))));
}

function input(name, label, value, more) {
  return h("div", {class: `field ${more && more.class ? more.class : ""}`}, h("label", {for: `f-${name}`}, label),
    h("input", {id: `f-${name}`, name, value: value || "", spellcheck: "false", autocapitalize: "none", ...more, class: null}));
}

const suggestions = (id, values) => h("datalist", {id}, [...new Set(values)].sort().map((value) => h("option", {value})));

/** Names to choose from: of the rooms' members, questions and columns. */
async function names(signal) {
  const {rooms} = await api("rooms", {signal});
  return {
    users: rooms.flatMap((room) => room.members.map((member) => member.user)),
    questions: rooms.flatMap((room) => room.questions.map((question) => question.name)),
    columns: rooms.flatMap((room) => room.datasets.flatMap((dataset) => dataset.columns.map((column) => `${dataset.name}.${column.name}`))),
  };
}

function filterForm(parameters, me, known) {
  const submit = (event) => {
    event.preventDefault();
    const data = new FormData(event.target);
    const filter = {};
    for (const field of FIELDS) {
      const value = (data.get(field) || "").trim();
      if (value) filter[field] = field === "since" || field === "until" ? utc(value) : value;
    }
    const address = "#/log?" + new URLSearchParams(filter);
    if (location.hash === address) dispatchEvent(new HashChangeEvent("hashchange"));
    else location.hash = address;
  };
  // On a narrow screen the records come first, until somebody has filtered.
  const isFolded = matchMedia("(max-width: 46rem)").matches && !FIELDS.some((field) => parameters[field]);
  const isMore = parameters.outcome || parameters.code || parameters.until;
  const form = h("form", {class: "filter", role: "search", "aria-label": "Records", onsubmit: submit},
    h("div", {class: "fields"},
      input("text", "Text", parameters.text, {type: "search", class: "wide", placeholder: "in the query, its parameters or the reason"}),
      choice("room", "Room", parameters.room, [["", "All that you audit"], ...me.rooms.map((room) => [room.name, room.name])]),
      input("user", "Member", parameters.user, {list: "known-users"}),
      input("question", "Question", parameters.question, {list: "known-questions"}),
      choice("decision", "Decision", parameters.decision, [["", "Any"], ["allowed", "Allowed"], ["denied", "Denied"]]),
      input("column", "Column that was read", parameters.column, {list: "known-columns", placeholder: "email, or public.customers.email"}),
      input("since", "From", local(parameters.since), {type: "datetime-local", step: "1"})),
    h("details", {class: "more", open: Boolean(isMore)}, h("summary", {}, "More"),
      h("div", {class: "fields"},
        input("until", "Until", local(parameters.until), {type: "datetime-local", step: "1"}),
        input("code", "Reason of denial", parameters.code, {placeholder: "no_column"}),
        choice("outcome", "Outcome", parameters.outcome, [["", "Any"], ["completed", "Completed"], ["failed", "Failed"],
          ["cancelled", "Cancelled"], ["lost", "Lost"], ["running", "Running"]]))),
    h("div", {class: "buttons"}, h("button", {type: "submit"}, "Search"), h("a", {class: "button quiet", href: "#/log"}, "Clear")),
    suggestions("known-users", known.users), suggestions("known-questions", known.questions), suggestions("known-columns", known.columns));
  return isFolded ? h("details", {class: "folded"}, h("summary", {}, "Filter and search"), form) : form;
}

// ---- The list

const columns = [
  {head: "Time", cell: (row) => h("a", {href: `#/record/${row.seq}`, "aria-label": `Record ${row.seq}, ${moment(row.at)}`}, time(row.at))},
  {head: "Member", cell: (row) => [row.user || "–", h("span", {class: "sub"}, row.room)]},
  {head: "Decision", cell: (row) => decision(row)},
  {head: "Question", cell: (row) => row.question || h("span", {class: "faint"}, "–")},
  {head: "Statement", wide: true, cell: (row) => [h("code", {class: "line"}, row.query || "(no text)"),
    row.decision === "denied" && row.reason && h("span", {class: "sub"}, row.reason)]},
  {head: "Rows", number: true, cell: (row) => count(row.rows)},
  {head: "Time taken", number: true, cell: (row) => duration(row.duration_us)},
];

export async function log(place, {parameters, me, signal}) {
  const filter = Object.fromEntries(FIELDS.map((field) => [field, parameters[field] || ""]));
  const list = h("div", {class: "results"});
  const known = await names(signal);
  show(place, heading("Log", `Newest first. Times are ${zone()}.`), filterForm(parameters, me, known), list);
  await fill(list, filter, signal);
}

async function fill(list, filter, signal) {
  const rows = [];
  const result = h("div", {});
  const foot = h("div", {class: "foot"});
  let page = null;
  const next = async () => {
    page = await api("log", {parameters: {...filter, before_seq: page ? page.before_seq : "", limit: 50}, signal});
    rows.push(...page.rows);
    list.removeAttribute("aria-busy");
    show(result, table("Records", columns, rows, {empty: page.is_complete ? "No record is like that." : "Nothing yet."}));
    show(foot, h("p", {class: "about"}, page.is_complete ? `${count(rows.length)} record${rows.length === 1 ? "" : "s"}, that is all.`
      : page.is_overdue ? `${count(rows.length)} found back to record ${count(page.before_seq)}. The search stopped for time and can go on.`
        : `The newest ${count(rows.length)}.`),
    !page.is_complete && h("button", {type: "button", class: "quiet", onclick: more}, page.is_overdue ? "Search on" : "Older records"));
    say(`${rows.length} records are shown.`);
  };
  const more = async (event) => {
    event.target.disabled = true;
    const at = rows.length;
    try {
      await next();
      const link = result.querySelectorAll("tbody a")[at];
      if (link) link.focus();
    } catch (failure) {
      if (failure.name !== "AbortError") show(foot, notice("bad", failure.message));
    }
  };
  busy(list);
  await next();
  show(list, result, foot);
}

// ---- One record

const words = (text) => text.match(/\s+|"(?:[^"]|"")*"|'(?:[^']|'')*'|[\p{L}\p{N}_$]+|[<>=!:|~*+-]+|./gsu) || [];
const plain = (word) => word.replace(/^"(.*)"$/s, "$1").toLowerCase();

/** Longest common run of words: what is in the one and not in the other is marked. Whitespace never counts. */
function marks(a, b) {
  const left = words(a), right = words(b);
  const x = left.map((word, i) => [plain(word), i]).filter(([word]) => word.trim());
  const y = right.map((word, i) => [plain(word), i]).filter(([word]) => word.trim());
  const only = [new Set(x.map(([, i]) => i)), new Set(y.map(([, i]) => i))];
  if (x.length * y.length > 4e6) return null;
  const best = Array.from({length: x.length + 1}, () => new Uint16Array(y.length + 1));
  for (let i = x.length - 1; i >= 0; i--)
    for (let k = y.length - 1; k >= 0; k--)
      best[i][k] = x[i][0] === y[k][0] ? best[i + 1][k + 1] + 1 : Math.max(best[i + 1][k], best[i][k + 1]);
  for (let i = 0, k = 0; i < x.length && k < y.length;) {
    if (x[i][0] === y[k][0]) {
      only[0].delete(x[i++][1]);
      only[1].delete(y[k++][1]);
    } else if (best[i + 1][k] >= best[i][k + 1]) i++;
    else k++;
  }
  return [[left, smooth(left, only[0])], [right, smooth(right, only[1])]];
}

/** A bracket or comma that both have, alone among what they have not, is of no help to the eye. */
function smooth(parts, only) {
  const solid = parts.map((_, i) => i).filter((i) => parts[i].trim());
  for (let at = 1; at + 1 < solid.length; at++)
    if (only.has(solid[at - 1]) && !/[\p{L}\p{N}]/u.test(parts[solid[at]]) && only.has(solid[at + 1])) only.add(solid[at]);
  return only;
}

function code(text, marked) {
  if (!marked) return h("code", {}, text);
  const [parts, only] = marked;
  const pieces = [];
  for (let i = 0; i < parts.length; i++) {
    if (!only.has(i)) {
      pieces.push(parts[i]);
      continue;
    }
    let run = parts[i];
    while (i + 1 < parts.length && (only.has(i + 1) || (!parts[i + 1].trim() && only.has(i + 2)))) run += parts[++i];
    pieces.push(h("mark", {}, run));
  }
  return h("code", {}, pieces);
}

function pane(title, text, marked, missing) {
  return h("section", {class: "pane"}, h("h2", {}, title),
    text === null || text === undefined ? h("p", {class: "empty"}, missing) : h("pre", {tabindex: "0", "aria-label": title}, code(text, marked)));
}

const fact = (name, value, isWhole) => value !== null && value !== undefined && value !== "" && value !== false && [h("dt", {}, name), h("dd", {class: isWhole ? "whole" : null}, value)];

function eventView(row) {
  return [h("dl", {class: "facts"}, fact("Event", row.event), fact("Time", time(row.at)), fact("Member", row.user),
    fact("Room", row.room), fact("Client", row.client), fact("Session", row.session && count(row.session))),
  row.detail && h("section", {class: "pane"}, h("h2", {}, "Detail"), h("pre", {tabindex: "0"}, h("code", {}, JSON.stringify(row.detail, null, 2))))];
}

function statementView(row) {
  const isBoth = row.query !== null && row.forwarded !== null;
  const marked = isBoth ? marks(row.query, row.forwarded) : null;
  const names = (list) => list && list.length > 0 && h("ul", {class: "chips"}, list.map((name) => h("li", {}, name)));
  const reads = row.columns && row.columns.length > 0 &&
    h("ul", {class: "chips"}, row.columns.map((name) => h("li", {}, logLink({column: name, room: row.room}, name, {title: "Who read it"}))));
  return [
    row.reason && notice(row.decision === "denied" ? "bad" : "plain", h("strong", {}, row.decision === "denied" ? "Denied" : "The database said"), " ", row.reason),
    h("div", {class: "panes"},
      pane("As asked", row.query, marked && marked[0], "No text could be read."),
      pane("As forwarded", row.forwarded, marked && marked[1], "Nothing was sent to the database.")),
    row.parameters && row.parameters.length > 0 && h("section", {class: "pane"}, h("h2", {}, "Parameters"),
      h("ol", {class: "parameters"}, row.parameters.map((value, i) => h("li", {}, h("span", {class: "sub"}, `$${i + 1}`), " ",
        h("code", {}, value === null ? "NULL" : typeof value === "string" ? value : JSON.stringify(value)))))),
    h("dl", {class: "facts"},
      fact("Question", row.question && [logLink({question: row.question, room: row.room}, row.question), row.question_type && ` (${row.question_type})`]),
      fact("Member", row.user && [logLink({user: row.user, room: row.room}, row.user), row.party && ` of ${row.party}`]),
      fact("Asked by the service", row.service), fact("Room", row.room), fact("Application", row.application), fact("Client", row.client),
      fact("Session", count(row.session)), fact("Protocol", row.protocol),
      fact("Rows that went out", count(row.rows)), fact("Bytes", count(row.bytes)), fact("Groups left out", row.suppressed),
      fact("Time taken", duration(row.duration_us)), fact("Outcome", row.outcome || "running"), fact("SQLSTATE", row.sqlstate),
      fact("Data sets", names(row.datasets), true), fact("Columns read", reads, true)),
  ];
}

export async function record(place, {rest, signal}) {
  busy(place, "Reading the record …");
  const {record: row} = await api("record", {parameters: {seq: rest[0]}, signal});
  const isEvent = row.event !== undefined;
  place.removeAttribute("aria-busy");
  show(place,
    h("p", {class: "back"}, h("a", {href: "#/log", onclick: (event) => {
      if (history.length > 1) {
        event.preventDefault();
        history.back();
      }
    }}, "← Log")),
    heading(`Record ${row.seq}`, [time(row.at), ` (${zone()})`], isEvent ? badge("plain", row.event) : decision(row)),
    isEvent ? eventView(row) : statementView(row));
}
