// The shell of the page: who is logged in, which view is shown. A view is a function (place, {parameters, state}) that fills
// `place`; the address after # says which one and with what, so that each can be linked to and gone back to.

import {h, show, api, say, notice, whenLoggedOut, Failure} from "./dom.js";
import {clearCharts} from "./charts.js";
import {overview, columns, denials, rooms, live} from "./views.js";
import {log, record} from "./log.js";

const views = {
  overview: {title: "Overview", show: overview},
  log: {title: "Log", show: log},
  record: {title: "Record", show: record, tab: "log"},
  columns: {title: "Columns", show: columns},
  denials: {title: "Denials", show: denials},
  rooms: {title: "Rooms", show: rooms},
  live: {title: "Live", show: live},
};

const top = document.getElementById("top");
const main = document.getElementById("main");
const state = {me: null, leave: null, isMoving: false}; // isMoving: somebody went from one view to another, so the focus goes along

// ---- Logging in

function askLogin(words) {
  const failed = h("div", {"aria-live": "assertive"});
  const user = h("input", {id: "user", name: "user", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false"});
  const password = h("input", {id: "password", name: "password", type: "password", autocomplete: "current-password", required: true});
  const button = h("button", {type: "submit"}, "Log in");
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    show(failed);
    try {
      state.me = await api("login", {body: {user: user.value, password: password.value}});
      state.isMoving = true;
      enter();
    } catch (failure) {
      show(failed, notice("bad", failure.message));
      button.disabled = false;
      password.value = "";
      password.focus();
    }
  };
  leave();
  top.hidden = true;
  document.title = "Log in · pgveil";
  show(main, h("div", {class: "login"},
    h("img", {src: "/icon.svg", alt: "", width: "44", height: "44"}),
    h("h1", {tabindex: "-1"}, "The query log"),
    h("p", {class: "about"}, "For members with the role auditor: the name and password of your database logins."),
    words && notice("plain", words),
    h("form", {onsubmit: submit},
      h("label", {for: "user"}, "Name"), user,
      h("label", {for: "password"}, "Password"), password,
      failed, button)));
  user.focus();
}

function enter() {
  top.hidden = false;
  document.getElementById("who").textContent = state.me.user;
  route();
}

async function logout() {
  await api("logout", {body: {}}).catch(() => {});
  state.me = null;
  askLogin("You are logged out.");
}

// ---- Views

function leave() {
  if (state.leave) state.leave.abort();
  state.leave = null;
  clearCharts();
}

function parse() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  return {name: views[name] ? name : "overview", rest, parameters: Object.fromEntries(new URLSearchParams(query || ""))};
}

async function route() {
  if (!state.me) return;
  const at = parse();
  const view = views[at.name];
  leave();
  state.leave = new AbortController();
  document.title = `${view.title} · pgveil`;
  for (const link of top.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${view.tab || at.name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const signal = state.leave.signal;
  const place = h("div", {class: "view"});
  show(main, place);
  try {
    await view.show(place, {...at, me: state.me, signal});
  } catch (failure) {
    if (failure.name === "AbortError" || (failure instanceof Failure && failure.status === 401)) return;
    if (!(failure instanceof Failure)) console.error(failure);
    show(place, h("h1", {tabindex: "-1"}, view.title), notice("bad", failure.message));
  }
  if (signal.aborted) return;
  const head = main.querySelector("h1");
  if (head && state.isMoving && !main.contains(document.activeElement)) head.focus({preventScroll: true});
  state.isMoving = true;
  say(`${view.title} is shown.`);
  scrollTo(0, 0);
}

whenLoggedOut((words) => {
  if (!state.me) return;
  state.me = null;
  askLogin(words && words !== "log in first" ? words : "Your login has ended. Log in again.");
});
document.getElementById("logout").addEventListener("click", logout);
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address after # is the view's
  main.focus();
});
addEventListener("hashchange", route);

api("me").then((me) => {
  if (me.user === null) {
    askLogin();
    return;
  }
  state.me = me;
  enter();
}).catch((failure) => askLogin(failure.message));
