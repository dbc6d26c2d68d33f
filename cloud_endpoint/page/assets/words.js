// What the reports say, in words for people who do not know Kubernetes. Each word has a mark: colour never says it alone.

import { h } from "./dom.js";

const LIVE = { alive: ["good", "Alive"], late: ["warn", "Late"], silent: ["bad", "Silent"], never: ["warn", "Not heard yet"] };

const PHASES = {
  checking: ["work", "Checking", "the commit is being checked"],
  applying: ["work", "Applying", "objects are being applied"],
  waiting: ["work", "Starting", "applied, waiting until everything runs"],
  healthy: ["good", "Healthy", ""],
  repaired: ["good", "Repaired", "a change made by hand was undone"],
  refused: ["bad", "Refused", "the commit has errors; nothing was changed"],
  partial: ["bad", "Stopped half-way", "something was changed before it stopped"],
  degraded: ["bad", "Not healthy", "applied, but it did not become healthy in time"],
  "prune-held": ["warn", "Deletion waits", "healthy; deletions wait for a person's word"],
};

const STATES = {
  factory: "New from the factory",
  enrolling: "Asks the cloud to join",
  assigned: "Joined, has its site",
  forming: "Forms the cluster",
  ready: "Ready",
  wiping: "Is being wiped",
  retired: "Retired",
};

const MARKS = { good: "✓", work: "…", warn: "▲", bad: "✕", none: "–" };

/** A word with its mark. `kind`: good, work, warn, bad or none. */
export function badge(kind, text, title) {
  return h("span", { class: `badge ${kind}`, title }, h("span", { class: "mark", "aria-hidden": "true" }, MARKS[kind]), text);
}

export function liveBadge(live, status) {
  if (status === "shipped") return badge("none", "Not joined yet", "on the shipping list, has not asked to join");
  if (status === "revoked") return badge("none", "Revoked", "may not report any more");
  return badge(...(LIVE[live] || ["warn", live]));
}

export function liveMark(live, status) {
  const kind = status === "enrolled" ? (LIVE[live] || ["warn"])[0] : "none";
  return { kind, mark: MARKS[kind], word: status === "enrolled" ? (LIVE[live] || ["", live])[1] : status };
}

export function phaseBadge(phase) {
  return badge(...(PHASES[phase] || ["warn", phase, ""]));
}

export function phaseText(phase) {
  return (PHASES[phase] || ["", "", ""])[2];
}

export function isFailed(phase) {
  return (PHASES[phase] || [])[0] === "bad";
}

export function stateWords(state) {
  return STATES[state] || state || "Unknown";
}

/** `1 node`, `2 nodes`. */
export function many(n, one, more) {
  return `${n} ${n === 1 ? one : more || `${one}s`}`;
}

/** How a site is: `kind` for the badge, one word, and the reasons, the worst first. */
export function verdict(site) {
  const nodes = site.nodes.filter((node) => node.status === "enrolled");
  const count = (test) => nodes.filter(test).length;
  const silent = count((node) => node.live === "silent");
  const late = count((node) => node.live === "late");
  const never = count((node) => node.live === "never");
  const unready = nodes.filter((node) => node.state && node.state !== "ready");
  const unwell = count((node) => node.bad > 0);
  const bad = [];
  const warn = [];
  if (silent && silent === nodes.length) bad.push(nodes.length === 1 ? "its node is silent" : "all nodes silent");
  else if (silent) bad.push(`${many(silent, "node")} silent`);
  if (site.apps.failed) bad.push(`${many(site.apps.failed, "deployment")} failed`);
  if (site.failing) bad.push(`${many(site.failing, "test step")} failing`);
  if (site.alerts[0]) bad.push(many(site.alerts[0], "critical alert"));
  if (late) warn.push(`${many(late, "node")} late`);
  if (never) warn.push(`${many(never, "node")} not heard yet`);
  if (unready.length) warn.push(`${many(unready.length, "node")} not ready`);
  if (unwell) warn.push(`${many(unwell, "node")} unwell`);
  if (site.apps.held) warn.push(`${many(site.apps.held, "deletion")} waiting for a person`);
  if (site.alerts[1]) warn.push(many(site.alerts[1], "warning"));
  if (bad.length) return { kind: "bad", word: "Trouble", why: [...bad, ...warn] };
  if (warn.length) return { kind: "warn", word: "Look", why: warn };
  if (site.apps.working) return { kind: "work", word: "Changing", why: [`${many(site.apps.working, "app")} being applied`] };
  if (!nodes.length) return { kind: "none", word: "Empty", why: ["no node has joined"] };
  return { kind: "good", word: "Well", why: [] };
}

/** Bytes in GB or MB. */
export function bytes(n) {
  return n >= 1e9 ? `${(n / 1e9).toFixed(n >= 1e11 ? 0 : 1)} GB` : `${(n / 1e6).toFixed(0)} MB`;
}

export function shortRevision(revision) {
  return /^[0-9a-f]{40,64}$/.test(revision) ? revision.slice(0, 8) : revision;
}
