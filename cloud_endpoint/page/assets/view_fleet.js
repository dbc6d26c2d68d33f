// The fleet: what is wrong as numbers, and all sites, the worst first.

import { h, morph } from "./dom.js";
import { counts, fleet, lastBeat } from "./fleet.js";
import { ago } from "./times.js";
import { badge, liveMark, many, shortRevision, stateWords } from "./words.js";

const ROWS = 50;
const MATCH = {
  all: () => true,
  trouble: (site) => site.verdict.kind === "bad",
  silent: (site) => enrolled(site).some((node) => node.live === "silent"),
  late: (site) => enrolled(site).some((node) => node.live === "late" || node.live === "never"),
  deployments: (site) => site.apps.failed + site.apps.held > 0,
  steps: (site) => site.failing > 0,
  alerts: (site) => site.alerts[0] + site.alerts[1] > 0,
};
const ORDER = {
  worst: (a, b) => b.rank - a.rank || compare(a.site, b.site),
  name: (a, b) => compare(a.site, b.site),
  change: (a, b) => b.revision_ms - a.revision_ms || compare(a.site, b.site),
};
const kept = { filter: "all", order: "worst", text: "", page: 0 };

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

function enrolled(site) {
  return site.nodes.filter((node) => node.status === "enrolled");
}

/** The view; `plan` asks for a drawing. */
export function fleetView(plan) {
  const cards = h("div", { class: "cards", role: "group", "aria-label": "Show only" });
  const search = h("input", { type: "search", id: "search", placeholder: "Site, label, node or commit", autocomplete: "off", spellcheck: "false" });
  const order = h("select", { id: "order" },
    h("option", { value: "worst" }, "Worst first"), h("option", { value: "name" }, "By name"), h("option", { value: "change" }, "Newest commit first"));
  const result = h("p", { class: "soft", id: "result", role: "status" });
  const table = h("div", { class: "scroll" });
  const pager = h("nav", { class: "pager", "aria-label": "Pages of sites" });
  const element = h("div", null, h("h1", { class: "unseen" }, "Fleet"), cards,
    h("section", { "aria-label": "Sites" },
      h("div", { class: "bar" }, h("label", { for: "search" }, "Find"), search, h("label", { for: "order" }, "Order"), order, result), table, pager));
  search.value = kept.text;
  order.value = kept.order;
  const set = (change) => {
    Object.assign(kept, { page: 0 }, change);
    plan();
  };
  search.addEventListener("input", () => set({ text: search.value }));
  order.addEventListener("change", () => set({ order: order.value }));
  cards.addEventListener("click", (event) => {
    const card = event.target.closest("button[data-filter]");
    if (card) set({ filter: kept.filter === card.dataset.filter ? "all" : card.dataset.filter });
  });
  pager.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-page]");
    if (button) set({ page: Number(button.dataset.page) });
  });
  const draw = () => {
    morph(cards, h("div", { class: "cards", role: "group", "aria-label": "Show only" }, cardList(counts())));
    const sites = chosen();
    const pages = Math.max(1, Math.ceil(sites.length / ROWS));
    kept.page = Math.min(kept.page, pages - 1);
    const text = sites.length === fleet.sites.size ? many(sites.length, "site") : `${sites.length} of ${many(fleet.sites.size, "site")}`;
    if (result.textContent !== text) result.textContent = text;
    morph(table, h("div", { class: "scroll" }, siteTable(sites.slice(kept.page * ROWS, (kept.page + 1) * ROWS))));
    morph(pager, h("nav", { class: "pager", "aria-label": "Pages of sites", hidden: pages === 1 }, pageButtons(pages)));
  };
  return { element, draw };
}

function chosen() {
  const words = kept.text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [...fleet.sites.values()].filter((site) => MATCH[kept.filter](site) && words.every((word) => matches(site, word)));
  return found.sort(ORDER[kept.order]);
}

function matches(site, word) {
  if (site.site.includes(word) || site.revision.startsWith(word)) return true;
  if (Object.entries(site.labels).some(([key, value]) => `${key}=${value}`.toLowerCase().includes(word))) return true;
  return site.nodes.some((node) => node.id === word || node.name.toLowerCase().includes(word));
}

function cardList(found) {
  return [
    card("all", "All sites", found.sites, "none", ""),
    card("trouble", "Sites in trouble", found.trouble, "bad", found.look ? `${found.look} more to look at` : ""),
    card("", "Nodes alive", found.alive, "good", found.absent ? `${found.absent} not joined` : ""),
    card("late", "Nodes late", found.late, "warn", ""),
    card("silent", "Nodes silent", found.silent, "bad", ""),
    card("deployments", "Deployments failed", found.deployments, "bad", found.held ? `${found.held} wait for a person` : ""),
    card("steps", "Test steps failing", found.steps, "bad", found.allSteps ? `of ${found.allSteps}` : ""),
    card("alerts", "Critical alerts", found.critical + fleet.alerts, "bad", found.warnings ? many(found.warnings, "warning") : "in 24 h"),
    h("a", { class: `card ${fleet.waiting ? "warn" : ""}`, "data-key": "waiting", href: "#/devices" },
      h("span", { class: "number" }, fleet.waiting), h("span", { class: "name" }, "Devices waiting"), h("span", { class: "more" }, fleet.waiting ? "approve or refuse" : "")),
  ];
}

function card(filter, name, number, kind, more) {
  const inside = [h("span", { class: "number" }, number), h("span", { class: "name" }, name), h("span", { class: "more" }, more)];
  const classes = `card ${number > 0 || kind === "none" ? kind : ""}`;
  if (!filter) return h("div", { class: classes, "data-key": name }, inside);
  return h("button", { type: "button", class: classes, "data-key": name, "data-filter": filter, "aria-pressed": String(kept.filter === filter) }, inside);
}

function siteTable(sites) {
  if (!sites.length) return h("p", { class: "empty", "data-key": "none" }, fleet.sites.size ? "No site fits." : "There are no sites yet.");
  const heads = ["State", "Site", "Nodes", "Last beat", "Apps", "Revision", "Tests", "Alerts"];
  return h("table", { class: "sites", "data-key": "sites" },
    h("caption", { class: "unseen" }, "Sites"),
    h("thead", null, h("tr", null, heads.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", null, sites.map(siteRow)));
}

function siteRow(site) {
  const { kind, word, why } = site.verdict;
  const labels = Object.entries(site.labels);
  return h("tr", { "data-key": site.site, class: kind },
    h("td", null, badge(kind, word), why.length ? h("span", { class: "why" }, why.join(" · ")) : null),
    h("th", { scope: "row" }, h("a", { href: `#/site/${encodeURIComponent(site.site)}` }, site.site),
      labels.length ? h("span", { class: "labels" }, labels.map(([key, value]) => h("span", { title: key }, value || key))) : null),
    h("td", { "data-name": "Nodes" }, nodeMarks(site)),
    h("td", { class: "num", "data-name": "Last beat" }, ago(lastBeat(site))),
    h("td", { "data-name": "Apps" }, apps(site.apps)),
    h("td", { "data-name": "Revision" }, site.revision ? [h("code", { title: site.revision }, shortRevision(site.revision)), " ", h("span", { class: "soft" }, ago(site.revision_ms))] : h("span", { class: "soft" }, "none")),
    h("td", { "data-name": "Tests" }, steps(site)),
    h("td", { "data-name": "Alerts" }, alerts(site.alerts)));
}

function nodeMarks(site) {
  const marks = site.nodes.map((node) => {
    const { kind, mark, word } = liveMark(node.live, node.status);
    const state = node.state ? `, ${stateWords(node.state).toLowerCase()}` : "";
    const text = `${node.name}: ${word.toLowerCase()}${state}`;
    return h("span", { class: `node ${kind}`, title: text, role: "img", "aria-label": text }, mark);
  });
  const count = enrolled(site).filter((node) => node.live === "alive").length;
  return [h("span", { class: "nodes" }, marks), h("span", { class: "soft" }, ` ${count} of ${site.nodes.length} alive`)];
}

function apps(found) {
  if (!found.total) return h("span", { class: "soft" }, "none");
  const parts = [];
  if (found.failed) parts.push(h("span", { class: "bad" }, `${found.failed} failed`));
  if (found.held) parts.push(h("span", { class: "warn" }, `${found.held} held`));
  if (found.working) parts.push(h("span", { class: "work" }, `${found.working} changing`));
  parts.push(h("span", { class: parts.length ? "soft" : "" }, `${found.good} of ${found.total} healthy`));
  return parts.flatMap((part, index) => (index ? [" · ", part] : [part]));
}

function steps(site) {
  if (!site.steps) return h("span", { class: "soft" }, "none");
  if (site.failing) return h("span", { class: "bad" }, `${site.failing} of ${site.steps} failing`);
  return `${site.steps} pass`;
}

function alerts([critical, warning, info]) {
  if (critical) return h("span", { class: "bad" }, `${critical} critical`);
  if (warning) return h("span", { class: "warn" }, many(warning, "warning"));
  return h("span", { class: "soft" }, info ? `${info} info` : "none");
}

function pageButtons(pages) {
  const button = (page, text, disabled) => h("button", { type: "button", class: "quiet", "data-page": page, "data-key": text, disabled }, text);
  return [button(kept.page - 1, "Previous", kept.page === 0), h("span", { "data-key": "at" }, `Page ${kept.page + 1} of ${pages}`), button(kept.page + 1, "Next", kept.page >= pages - 1)];
}
