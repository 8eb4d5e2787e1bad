// The views of numbers: overview, columns, denials; and of what stands now: rooms, live sessions.

import {h, show, api, count, short, time, ago, moment, zone, badge, logLink, table, share, heading, notice, busy} from "./dom.js";
import {timeChart} from "./charts.js";

// ---- A stretch of time and a room, chosen at the top of a view

const HOUR = 3600, DAY = 24 * HOUR;
const midnight = (days) => {
  const date = new Date();
  date.setHours(0, 0, 0, 0);
  date.setDate(date.getDate() - days);
  return date;
};
const ranges = {
  today: {label: "Today", since: () => midnight(0), step: HOUR / 2},
  week: {label: "7 days", since: () => midnight(6), step: 6 * HOUR},
  month: {label: "30 days", since: () => midnight(29), step: DAY},
  year: {label: "A year", since: () => midnight(364), step: 7 * DAY},
};

function chooser(view, parameters, me, preset) {
  const range = ranges[parameters.range] ? parameters.range : preset;
  const go = (change) => {
    location.hash = `#/${view}?` + new URLSearchParams(Object.entries({...parameters, range, ...change}).filter(([, value]) => value));
  };
  return [
    me.rooms.length > 1 && h("label", {class: "inline"}, h("span", {}, "Room"),
      h("select", {onchange: (event) => go({room: event.target.value})},
        h("option", {value: ""}, "All"), me.rooms.map((room) => h("option", {value: room.name, selected: room.name === parameters.room}, room.name)))),
    h("fieldset", {class: "segments"}, h("legend", {class: "visually-hidden"}, "Time"),
      Object.entries(ranges).map(([key, one]) => h("label", {},
        h("input", {type: "radio", name: "range", value: key, checked: key === range, onchange: () => go({range: key})}), h("span", {}, one.label)))),
  ];
}

async function summarise(place, name, about, {parameters, me, signal}, preset, view) {
  const range = ranges[parameters.range] || ranges[preset];
  const since = range.since().toISOString();
  const body = h("div", {class: "body"});
  show(place, heading(name, about, ...chooser(view, parameters, me, preset)), body);
  busy(body);
  const summary = await api("summary", {parameters: {since, step: range.step, room: parameters.room || ""}, signal});
  body.removeAttribute("aria-busy");
  const cut = summary.is_overdue && notice("plain", `The log is long: these numbers reach back to ${moment(summary.reached)} alone. Choose less time or one room.`);
  return {summary, body, cut, since};
}

const most = (rows, key) => rows.reduce((best, row) => Math.max(best, row[key]), 0);
const byCount = (key) => (a, b) => b[key] - a[key];
const sectionOf = (title, ...children) => h("section", {class: "card"}, h("h2", {}, title), children);
const tile = (label, value, link, kind) => h("div", {class: `tile ${kind || ""}`}, h("dt", {}, label), h("dd", {title: count(value)}, link ? link(short(value)) : short(value)));

// ---- Overview

function rankings(summary, since) {
  const rooms = [...summary.rooms].sort(byCount("statements"));
  const members = [...summary.members].sort(byCount("statements")).slice(0, 8);
  const questions = [...summary.questions].sort(byCount("statements")).slice(0, 8);
  const codes = [...summary.codes].sort(byCount("statements")).slice(0, 8);
  const of = (rows, extra) => [...extra,
    {head: "Statements", number: true, cell: (row) => share(row.statements, most(rows, "statements"))},
    {head: "Denied", number: true, cell: (row) => count(row.denied)},
    {head: "Rows", number: true, cell: (row) => count(row.rows)}];
  const linked = (key) => (row) => [logLink({[key]: row[key], room: row.room, since}, row[key] || "–"), h("span", {class: "sub"}, row.room)];
  return h("div", {class: "grid"},
    h("div", {},
      sectionOf("Rooms", table("Statements by room", of(rooms, [{head: "Room", cell: (row) => logLink({room: row.room, since}, row.room)}]), rooms, {empty: "Nothing was asked."})),
      sectionOf("Questions", table("Statements by question", of(questions, [{head: "Question", cell: linked("question")}]), questions, {empty: "No question was asked."}))),
    h("div", {},
      sectionOf("Members", table("Statements by member", of(members, [{head: "Member", cell: linked("user")}]), members, {empty: "Nobody asked."})),
      sectionOf("Reasons of denials", table("Denials by reason", [
        {head: "Reason", cell: (row) => [logLink({code: row.code, room: row.room, since}, row.code), h("span", {class: "sub"}, row.words || row.room)]},
        {head: "Denied", number: true, cell: (row) => share(row.statements, most(codes, "statements"), "denied")}], codes, {empty: "Nothing was denied."}))));
}

export async function overview(place, context) {
  const {summary, body, cut, since} = await summarise(place, "Overview", `What was asked, and what was denied. Times are ${zone()}.`, context, "today", "overview");
  const chart = timeChart(summary, ["allowed", "denied"], "Statements over time");
  const room = context.parameters.room;
  show(body, cut,
    h("dl", {class: "tiles"},
      tile("Allowed", summary.statements - summary.denials, (text) => logLink({decision: "allowed", room, since}, text), "allowed"),
      tile("Denied", summary.denials, (text) => logLink({decision: "denied", room, since}, text), "denied"),
      tile("Rows that went out", summary.rows),
      tile("Members who asked", new Set(summary.members.map((row) => row.user)).size)),
    h("section", {class: "card"}, chart),
    rankings(summary, since));
  chart.draw();
}

// ---- Columns

export async function columns(place, context) {
  const {summary, body, cut, since} = await summarise(place, "Columns", "Who read which column, and what is granted and read by nobody.", context, "week", "columns");
  const all = [...summary.columns].sort((a, b) => b.reads - a.reads || a.column.localeCompare(b.column));
  const result = h("div", {"aria-live": "polite"});
  const state = {text: context.parameters.text || "", kind: context.parameters.kind || "all"};
  const kinds = {all: ["All", () => true], read: ["Read", (row) => row.reads > 0], unread: ["Granted, never read", (row) => row.reads === 0 && row.is_granted]};
  const paint = () => {
    const rows = all.filter((row) => kinds[state.kind][1](row) && row.column.toLowerCase().includes(state.text.toLowerCase()));
    show(result, h("p", {class: "about"}, `${count(rows.length)} of ${count(all.length)} columns`), table("Columns", [
      {head: "Column", wide: true, cell: (row) => [h("code", {}, row.column), h("span", {class: "sub"}, row.room)]},
      {head: "Reads", number: true, cell: (row) => (row.reads > 0 ? logLink({column: row.column, room: row.room, since}, count(row.reads)) : "0")},
      {head: "Read by", cell: (row) => (row.readers.length === 0 ? h("span", {class: "faint"}, "nobody")
        : h("ul", {class: "chips"}, [...row.readers].sort(byCount("reads")).map((reader) =>
          h("li", {}, logLink({column: row.column, room: row.room, user: reader.user, since}, `${reader.user} `), h("span", {class: "n"}, count(reader.reads))))))},
      {head: "Last", cell: (row) => time(row.last_at, {seconds: false})},
      {head: "Granted", cell: (row) => (row.is_granted ? badge("plain", "granted") : badge("failed", "not any more"))},
    ], rows, {empty: "No column is like that."}));
  };
  show(body, cut,
    h("div", {class: "controls bar"},
      h("label", {class: "inline grow"}, h("span", {}, "Search"), h("input", {type: "search", value: state.text, placeholder: "email", spellcheck: "false",
        oninput: (event) => { state.text = event.target.value; paint(); }})),
      h("fieldset", {class: "segments"}, h("legend", {class: "visually-hidden"}, "Which columns"), Object.entries(kinds).map(([key, [label]]) =>
        h("label", {}, h("input", {type: "radio", name: "kind", value: key, checked: key === state.kind, onchange: () => { state.kind = key; paint(); }}), h("span", {}, label))))),
    h("section", {class: "card"}, result));
  paint();
}

// ---- Denials

export async function denials(place, context) {
  const {summary, body, cut, since} = await summarise(place, "Denials", "What was refused, and why.", context, "week", "denials");
  const chart = timeChart(summary, ["denied"], "Denials over time");
  const codes = [...summary.codes].sort(byCount("statements"));
  const members = summary.members.filter((row) => row.denied > 0).sort(byCount("denied")).slice(0, 12);
  show(body, cut, h("section", {class: "card"}, chart),
    sectionOf("By reason", table("Denials by reason", [
      {head: "Reason", cell: (row) => [logLink({code: row.code, room: row.room, decision: "denied", since}, row.code), h("span", {class: "sub"}, row.words || "")]},
      {head: "Room", cell: (row) => row.room},
      {head: "Denied", number: true, cell: (row) => share(row.statements, most(codes, "statements"), "denied")},
      {head: "SQLSTATE", cell: (row) => h("code", {}, row.sqlstate)},
      {head: "Newest", cell: (row) => time(row.last_at, {seconds: false})},
      {head: "For example", wide: true, cell: (row) => h("span", {class: "sub"}, row.example || "")},
    ], codes, {empty: "Nothing was denied."})),
    sectionOf("By member", table("Denials by member", [
      {head: "Member", cell: (row) => logLink({user: row.user, room: row.room, decision: "denied", since}, row.user || "–")},
      {head: "Room", cell: (row) => row.room},
      {head: "Denied", number: true, cell: (row) => share(row.denied, most(members, "denied"), "denied")},
      {head: "Of so many", number: true, cell: (row) => count(row.statements)},
    ], members, {empty: "Nobody was denied anything."})));
  chart.draw();
}

// ---- Rooms

const approvalWords = {valid: "allowed", missing: "failed", stale: "failed"};

function approvals(question) {
  if (question.approvals.length === 0) return h("span", {class: "faint"}, "none");
  return h("ul", {class: "chips"}, question.approvals.map((one) =>
    h("li", {class: "bare"}, badge(approvalWords[one.state], `${one.party}: ${one.state}`), one.is_foreign && h("span", {class: "sub"}, "signed with another key"))));
}

function limits(question) {
  return [question.minimum_entities > 0 && `at least ${count(question.minimum_entities)} entities a group`,
    question.max_rows > 0 && `at most ${count(question.max_rows)} rows`,
    ...question.budgets.map((budget) => `${count(budget.runs)} runs ${budget.per === "lifetime" ? "ever" : "a " + budget.per}`)].filter(Boolean).join(", ");
}

function questionsOf(room) {
  return table(`Questions of ${room.name}`, [
    {head: "Question", cell: (question) => [logLink({room: room.name, question: question.name}, question.name), h("span", {class: "sub"}, question.title || "")]},
    {head: "Kind", cell: (question) => `${question.type}${question.is_open ? ", open" : ""}`},
    {head: "Who may ask", cell: (question) => (question.members === null ? "every member" : question.members.join(", "))},
    {head: "Approvals", cell: approvals},
    {head: "Limits", cell: (question) => limits(question) || h("span", {class: "faint"}, "none")},
    {head: "Text", wide: true, cell: (question) => (question.sql ? h("details", {}, h("summary", {}, "Show"), h("pre", {tabindex: "0"}, h("code", {}, question.sql)))
      : h("span", {class: "sub"}, `any statement over ${question.datasets.join(", ")} that keeps their rules`))},
  ], room.questions, {empty: "This room has no question."});
}

function datasetsOf(room) {
  return table(`Data sets of ${room.name}`, [
    {head: "Data set", cell: (dataset) => [h("code", {}, dataset.name), h("span", {class: "sub"}, dataset.title || "")]},
    {head: "Owner", cell: (dataset) => dataset.owner || "–"},
    {head: "Columns", wide: true, cell: (dataset) => [h("ul", {class: "chips"}, dataset.columns.map((column) =>
      h("li", {}, logLink({column: `${dataset.name}.${column.name}`, room: room.name}, column.name), column.mask !== "plain" && h("span", {class: "n"}, column.mask)))),
    dataset.omitted > 0 && h("span", {class: "sub"}, `${count(dataset.omitted)} more left out of the room`)]},
    {head: "Rules", cell: (dataset) => [dataset.rule ? `${dataset.rule} rule` : "fixed questions alone", dataset.has_row_filter && ", row filter"]},
  ], room.datasets, {empty: "This room has no data set."});
}

function roomView(room) {
  const consent = room.withdrawals.map((one) => notice("bad", h("strong", {}, "Consent withdrawn"), ` by ${one.party} for the ${one.kind}${one.subject ? " " + one.subject : ""} on ${moment(one.at)}.`,
    one.is_unproven && " The record is not signed by the party's key."));
  return h("section", {class: "card room", "aria-labelledby": `room-${room.name}`},
    h("h2", {id: `room-${room.name}`}, room.title || room.name, h("span", {class: "sub"}, h("code", {}, room.name))),
    h("p", {class: "about"}, room.parties.length > 0 && `Parties: ${room.parties.join(", ")}. `, room.expires && `${room.is_expired ? "Expired" : "Open until"} ${moment(room.expires, {seconds: false})}.`),
    room.is_expired && notice("bad", "This room has expired: nothing in it is answered."), consent,
    h("h3", {}, "Questions"), questionsOf(room), h("h3", {}, "Data sets"), datasetsOf(room),
    h("h3", {}, "Members"), table(`Members of ${room.name}`, [
      {head: "Member", cell: (member) => logLink({user: member.user, room: room.name}, member.user)},
      {head: "Party", cell: (member) => member.party || "–"},
      {head: "Roles", cell: (member) => member.roles.join(", ") || "–"},
    ], room.members));
}

export async function rooms(place, {signal}) {
  busy(place, "Reading the rooms …");
  const {rooms: all} = await api("rooms", {signal});
  place.removeAttribute("aria-busy");
  show(place, heading("Rooms", "The rooms that you audit, as they are in force now."), all.map(roomView));
}

// ---- Live sessions

const liveColumns = [
  {head: "Member", cell: (row) => [row.user || "–", h("span", {class: "sub"}, [row.party, row.service && `by ${row.service}`].filter(Boolean).join(", "))]},
  {head: "Room", cell: (row) => row.room},
  {head: "State", cell: (row) => badge(row.state === "running" ? "running" : row.state.startsWith("in failed") ? "failed" : "plain", row.state)},
  {head: "Since", cell: (row) => h("span", {title: moment(row.since)}, ago(row.since))},
  {head: "Asks now", wide: true, cell: (row) => (row.query ? [row.question && h("strong", {}, row.question), h("code", {class: "line"}, row.query + (row.is_query_cut ? " …" : "")),
    h("span", {class: "sub"}, `for ${ago(row.query_since)}`)] : h("span", {class: "faint"}, "nothing"))},
  {head: "From", cell: (row) => [row.client, h("span", {class: "sub"}, row.application || "")]},
];

export async function live(place, {signal}) {
  const list = h("div", {});
  let isOn = true;
  const refresh = async (background) => {
    const answer = await api("sessions", {signal, background});
    const rows = [...answer.sessions].sort((a, b) => (b.state === "running") - (a.state === "running") || a.session - b.session);
    show(list, h("p", {class: "about"}, `${count(rows.length)} session${rows.length === 1 ? "" : "s"} at ${moment(answer.now).slice(11)}${answer.is_cut ? ", the first of more" : ""}`),
      table("Sessions", liveColumns, rows, {empty: "Nobody is connected."}));
  };
  const toggle = h("button", {type: "button", class: "quiet", "aria-pressed": "true", onclick: () => {
    isOn = !isOn;
    toggle.setAttribute("aria-pressed", String(isOn));
    toggle.textContent = isOn ? "Pause" : "Go on";
  }}, "Pause");
  show(place, heading("Live", "Who is connected to the rooms that you audit. Looked at again every 3 seconds.", toggle), h("section", {class: "card"}, list));
  busy(list, "Asking the workers …");
  await refresh(false);
  list.removeAttribute("aria-busy");
  const timer = setInterval(() => {
    const isReading = list.contains(document.activeElement) || String(getSelection()).length > 0;
    if (isOn && !document.hidden && !isReading) refresh(true).catch((failure) => {
      if (failure.name !== "AbortError") show(list, notice("bad", failure.message));
    });
  }, 3000);
  signal.addEventListener("abort", () => clearInterval(timer));
}

