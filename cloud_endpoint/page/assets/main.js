// The page's frame: who is logged in, which view is shown, and when it is drawn.

import { get, post, setCsrf } from "./api.js";
import { h, morph } from "./dom.js";
import { counts, fleet, follow, listen } from "./fleet.js";
import { span, tick } from "./times.js";
import { devicesView } from "./view_devices.js";
import { fleetView } from "./view_fleet.js";
import { siteView } from "./view_site.js";

const DRAW_MS = 200;
const element = (id) => document.getElementById(id);
let session = null;
let view = null;
let drawn = 0;
let planned = 0;

function route() {
  if (location.hash && !location.hash.startsWith("#/")) return; // the skip link
  const [, kind = "", subject = ""] = location.hash.split("/");
  view?.leave?.();
  if (kind === "site") view = siteView(decode(subject), plan);
  else if (kind === "devices") view = devicesView(session, plan);
  else view = fleetView(plan);
  element("main").replaceChildren(view.element);
  for (const [id, on] of [["nav-fleet", kind !== "devices"], ["nav-devices", kind === "devices"]]) {
    if (on) element(id).setAttribute("aria-current", "page");
    else element(id).removeAttribute("aria-current");
  }
  window.scrollTo(0, 0);
  plan();
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Draws soon, and not too often. */
function plan() {
  if (planned) return;
  planned = setTimeout(() => {
    planned = 0;
    drawn = performance.now();
    draw();
  }, Math.max(0, drawn + DRAW_MS - performance.now()));
}

function draw() {
  const live = element("live");
  live.className = `live ${fleet.live ? "on" : "off"}`;
  const text = fleet.live ? "Live" : fleet.loaded ? "Not live: trying again" : "Connecting";
  if (live.textContent !== text) live.textContent = text;
  element("waiting").hidden = fleet.waiting === 0;
  element("waiting").textContent = fleet.waiting;
  const found = counts();
  document.title = found.trouble ? `(${found.trouble}) Galley` : "Galley";
  morph(element("foot"), h("footer", { id: "foot" }, intervals(found)));
  if (!fleet.loaded) return;
  view.draw();
  if (!performance.getEntriesByName("galley-drawn").length) performance.mark("galley-drawn");
}

function intervals(found) {
  const sorted = [...found.intervals].sort((a, b) => a - b);
  if (!sorted.length) return "";
  const every = sorted.length === 1 ? span(sorted[0]) : `${span(sorted[0])} to ${span(sorted[sorted.length - 1])}`;
  const longest = sorted[sorted.length - 1];
  return `Nodes beat every ${every}. Late after two missed intervals (${span(2 * longest)}), silent after four and 5 s (${span(4 * longest + 5)}).`;
}

function say(moved) {
  if (!moved.length) return;
  const text = moved.length > 3
    ? `${moved.length} sites changed`
    : moved.map(([site, verdict]) => `${site}: ${verdict.word}${verdict.why.length ? `, ${verdict.why[0]}` : ""}`).join("; ");
  element("said").textContent = text;
}

async function start() {
  session = await get("/v1/session");
  setCsrf(session.csrf);
  element("who").textContent = session.site ? `${session.operator} (${session.site})` : session.operator;
  element("notice").textContent = session.notice;
  element("notice").hidden = !session.notice;
  element("logout").addEventListener("click", async () => {
    await post("/logout").catch(() => null);
    location.assign("/login");
  });
  window.addEventListener("hashchange", route);
  listen((sites, moved) => {
    view?.changed?.(sites);
    say(moved);
    plan();
  });
  setInterval(tick, 1000);
  route();
  await follow();
}

start();
