// The fleet in the browser: a snapshot, then the changes of the event stream. Tells who listens.

import { get } from "./api.js";
import { now, setServerTime } from "./times.js";
import { verdict } from "./words.js";

const HIDDEN_MS = 20000;
const RETRY_MS = 3000;

export const fleet = { sites: new Map(), beats: new Map(), waiting: 0, alerts: 0, id: "", loaded: false, live: false, heardMs: 0 };

const listeners = new Set();
let source = null;
let retry = 0;
let hiddenTimer = 0;

/** Calls `listener(changedSites, moved)` after each change; `moved`: [site, verdict] whose verdict is another now. */
export function listen(listener) {
  listeners.add(listener);
}

function tell(sites, moved) {
  for (const listener of listeners) listener(sites, moved);
}

/** Reads the snapshot and follows the stream, for as long as the page is open. */
export async function follow() {
  clearTimeout(retry);
  try {
    const snapshot = await get("/v1/fleet/overview");
    fleet.sites = new Map(snapshot.sites.map((site) => [site.site, site]));
    fleet.beats = new Map();
    fleet.loaded = true;
    take(snapshot, true);
    fleet.id = snapshot.id;
    open();
  } catch {
    lost(true);
  }
}

function take(change, quiet) {
  setServerTime(change.now);
  fleet.heardMs = change.now;
  const moved = [];
  for (const site of change.sites) {
    const before = fleet.sites.get(site.site);
    fleet.sites.set(site.site, site);
    site.verdict = verdict(site);
    if (!quiet && (!before || before.verdict.kind !== site.verdict.kind)) moved.push([site.site, site.verdict]);
  }
  for (const [node, ms] of Object.entries(change.beats)) fleet.beats.set(node, ms);
  for (const site of change.gone) fleet.sites.delete(site);
  fleet.waiting = change.waiting;
  fleet.alerts = change.alerts;
  tell(new Set([...change.sites.map((site) => site.site), ...change.gone]), moved);
}

function open() {
  close();
  source = new EventSource(`/v1/events?after=${encodeURIComponent(fleet.id)}`);
  source.addEventListener("open", () => setLive(true));
  source.addEventListener("change", (event) => {
    fleet.id = event.lastEventId;
    take(JSON.parse(event.data), false);
  });
  source.addEventListener("resync", () => {
    close();
    follow();
  });
  source.addEventListener("error", () => lost(source !== null && source.readyState === EventSource.CLOSED));
}

function close() {
  if (source) source.close();
  source = null;
}

/** `fatal`: the browser will not try again by itself. */
function lost(fatal) {
  setLive(false);
  if (!fatal) return;
  close();
  clearTimeout(retry);
  retry = setTimeout(() => {
    get("/v1/session").then(follow, () => lost(true));
  }, RETRY_MS + Math.random() * RETRY_MS);
}

function setLive(live) {
  fleet.live = live;
  tell(new Set(), []);
}

// A hidden tab lets go of its connection (browsers have six for one server) and catches up when it is seen again.
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiddenTimer);
  if (document.hidden) {
    hiddenTimer = setTimeout(() => {
      close();
      setLive(false);
    }, HIDDEN_MS);
  } else if (!source && fleet.loaded) {
    open();
  }
});

/** When a site was last heard: the newest beat of its nodes, Unix ms; 0 when never. */
export function lastBeat(site) {
  return Math.max(0, ...site.nodes.map((node) => fleet.beats.get(node.id) || 0));
}

/** Counts for the cards. */
export function counts() {
  const found = { sites: fleet.sites.size, trouble: 0, look: 0, alive: 0, late: 0, silent: 0, absent: 0, deployments: 0, held: 0, steps: 0, allSteps: 0, critical: 0, warnings: 0, intervals: new Set() };
  for (const site of fleet.sites.values()) {
    if (site.verdict.kind === "bad") found.trouble += 1;
    if (site.verdict.kind === "warn") found.look += 1;
    for (const node of site.nodes) {
      if (node.status !== "enrolled") found.absent += 1;
      else {
        found[node.live === "never" ? "late" : node.live] += 1;
        found.intervals.add(node.interval);
      }
    }
    found.deployments += site.apps.failed;
    found.held += site.apps.held;
    found.steps += site.failing;
    found.allSteps += site.steps;
    found.critical += site.alerts[0];
    found.warnings += site.alerts[1];
  }
  return found;
}

export { now };
