// One site: its nodes, what runs there and from which commit, its tests, its alerts.

import { get } from "./api.js";
import { h, morph } from "./dom.js";
import { fleet } from "./fleet.js";
import { nodeCard } from "./site_node.js";
import { appTable, historyTable } from "./site_apps.js";
import { stepTable } from "./site_steps.js";
import { ago } from "./times.js";
import { badge, many } from "./words.js";

const REREAD_MS = 500;

/** The view; `plan` asks for a drawing. */
export function siteView(id, plan) {
  const element = h("article", { class: "site" }, h("p", { class: "empty" }, "Reading the site"));
  let detail = null;
  let problem = "";
  let version = -1;
  let reading = false;
  let timer = 0;
  let gone = false;

  const read = async () => {
    timer = 0;
    if (reading) return;
    reading = true;
    const wanted = fleet.sites.get(id)?.v ?? -1;
    try {
      detail = await get(`/v1/fleet/overview/${encodeURIComponent(id)}`);
      problem = "";
      version = wanted;
    } catch (error) {
      problem = error.message;
    }
    reading = false;
    if (gone) return;
    plan();
    if ((fleet.sites.get(id)?.v ?? -1) !== version && !problem) later();
  };
  const later = () => {
    if (!timer && !gone) timer = setTimeout(read, REREAD_MS);
  };
  const changed = (sites) => {
    if (sites.has(id)) later();
  };
  const draw = () => {
    const summary = fleet.sites.get(id);
    morph(element, h("article", { class: "site" }, detail ? content(detail, summary, problem) : head(id, summary, problem || "Reading the site")));
  };
  const leave = () => {
    gone = true;
    clearTimeout(timer);
  };
  read();
  return { element, draw, changed, leave };
}

function head(id, summary, problem) {
  const verdict = summary?.verdict;
  return h("header", { class: "head", "data-key": "head" },
    h("p", { class: "crumb" }, h("a", { href: "#/" }, "Fleet")),
    h("h1", null, id, verdict ? [" ", badge(verdict.kind, verdict.word)] : null),
    verdict?.why.length ? h("p", { class: "why" }, verdict.why.join(" · ")) : null,
    problem ? h("p", { class: "soft" }, problem) : null);
}

function content(detail, summary, problem) {
  const live = new Map((summary?.nodes || []).map((node) => [node.id, node]));
  return [
    head(detail.site, summary, problem),
    h("dl", { class: "facts", "data-key": "labels" },
      Object.entries(detail.labels).map(([key, value]) => h("div", null, h("dt", null, key), h("dd", null, value))),
      detail.atlas ? h("div", null, h("dt", null, "Atlas"), h("dd", null, h("code", null, detail.atlas.url), ` ${detail.atlas.branch}`, detail.atlas.path === "." ? "" : ` in ${detail.atlas.path}`)) : null),
    section("Nodes", "nodes", detail.nodes.length
      ? h("div", { class: "nodecards" }, detail.nodes.map((node) => nodeCard(node, live.get(node.id), fleet.beats.get(node.id))))
      : nothing("No node is on the shipping list of this site.")),
    section("Apps", "apps", detail.apps.length ? appTable(detail.apps) : nothing("Nothing was deployed yet.")),
    section("Tests by the synthetic client", "steps", detail.steps.length ? stepTable(detail.steps) : nothing("No results yet.")),
    section("Alerts", "alerts", detail.alerts.length ? alertTable(detail) : nothing("None.")),
    section("Deployments so far", "history", detail.history.length ? historyTable(detail.history) : nothing("None.")),
    section("Reports that were given up", "gaps", detail.gaps.length + detail.unreadable.length ? gapTable(detail) : nothing("None: every report arrived or still waits to be sent.")),
  ];
}

function section(title, key, inside) {
  return h("section", { "data-key": key, "aria-labelledby": `h-${key}` }, h("h2", { id: `h-${key}` }, title), inside);
}

function nothing(text) {
  return h("p", { class: "empty" }, text);
}

const SEVERITY = { critical: ["bad", "Critical"], warning: ["warn", "Warning"], info: ["none", "Info"] };

function alertTable(detail) {
  const names = new Map(detail.nodes.map((node) => [node.id, node.name]));
  return h("div", { class: "scroll" }, h("table", null,
    h("thead", null, h("tr", null, ["Severity", "What", "Node", "Last", "Times"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", null, detail.alerts.map((alert) => h("tr", { "data-key": alert.id },
      h("td", null, badge(...(SEVERITY[alert.severity] || ["warn", alert.severity]))),
      h("td", null, h("span", { class: "text" }, alert.text), " ", h("code", { class: "soft" }, alert.code)),
      h("td", null, names.get(alert.node) || alert.node),
      h("td", null, ago(alert.last_ms)),
      h("td", { class: "num" }, alert.count))))));
}

function gapTable(detail) {
  const names = new Map(detail.nodes.map((node) => [node.id, node.name]));
  const gaps = detail.gaps.map((gap) => [gap.at_ms, gap.node, gap.stream, `${many(gap.last - gap.first + 1, "report")} dropped by the node's full queue (${gap.kind})`]);
  const unreadable = detail.unreadable.map((letter) => [letter.at_ms, letter.node, letter.stream, `unreadable: ${letter.problem}`]);
  const rows = [...gaps, ...unreadable].sort((a, b) => b[0] - a[0]);
  return h("div", { class: "scroll" }, h("table", null,
    h("thead", null, h("tr", null, ["When", "Node", "Stream", "What"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", null, rows.map(([at, node, stream, text]) => h("tr", null, h("td", null, ago(at)), h("td", null, names.get(node) || node), h("td", null, stream), h("td", null, text))))));
}
