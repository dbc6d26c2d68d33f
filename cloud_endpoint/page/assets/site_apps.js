// What runs at a site and from which commit; errors with their file and line.

import { h } from "./dom.js";
import { ago, span } from "./times.js";
import { isFailed, many, phaseBadge, phaseText, shortRevision } from "./words.js";

const name = (app) => (app === "*" ? "Whole Atlas" : app);

export function appTable(apps) {
  const sorted = [...apps].sort((a, b) => isFailed(b.phase) - isFailed(a.phase) || (b.app === "*") - (a.app === "*") || (a.app < b.app ? -1 : 1));
  return h("div", { class: "scroll" }, h("table", { class: "apps" },
    h("thead", null, h("tr", null, ["State", "App", "Commit", "Objects", "Reported"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", null, sorted.flatMap((app) => [appRow(app), problems(app)]))));
}

function appRow(app) {
  return h("tr", { "data-key": app.app, class: isFailed(app.phase) ? "bad" : "" },
    h("td", null, phaseBadge(app.phase), phaseText(app.phase) ? h("span", { class: "why" }, phaseText(app.phase)) : null),
    h("th", { scope: "row" }, name(app.app), app.owner ? h("span", { class: "under" }, `owner ${app.owner}`) : null),
    h("td", null, commit(app)),
    h("td", null, objects(app.counts)),
    h("td", null, ago(app.received_ms), h("span", { class: "under" }, `by ${app.node}, took ${span(app.seconds)}`)));
}

function commit(app) {
  return [
    h("span", { class: "text" }, app.subject || h("span", { class: "soft" }, "no subject")),
    h("span", { class: "under" }, h("code", { title: app.revision }, shortRevision(app.revision)), app.author ? ` by ${app.author}` : ""),
  ];
}

function objects(counts) {
  const parts = [["created", "new"], ["changed", "changed"], ["pruned", "deleted"], ["repaired", "repaired"]]
    .filter(([key]) => counts[key]).map(([key, word]) => `${counts[key]} ${word}`);
  return [counts.total ? h("span", { class: "num" }, `${counts.healthy} of ${counts.total} healthy`) : h("span", { class: "soft" }, "none"), parts.length ? h("span", { class: "under" }, parts.join(", ")) : null];
}

function problems(app) {
  if (!app.problems.length) return [];
  return [h("tr", { class: "problems", "data-key": `problems of ${app.app}` }, h("td", { colspan: 5 }, problemList(app)))];
}

/** Each error: where, then why. */
export function problemList(app) {
  const items = app.problems.map((problem) => h("li", null,
    problem.file ? h("code", { class: "place" }, problem.line ? `${problem.file}:${problem.line}` : problem.file) : null,
    problem.object ? h("span", { class: "object" }, problem.object) : null,
    problem.path ? h("code", { class: "soft" }, problem.path) : null,
    h("span", { class: "cause" }, problem.cause)));
  if (app.more) items.push(h("li", { class: "soft" }, `and ${many(app.more, "more problem")}`));
  return h("ul", { class: "problemlist" }, items);
}

export function historyTable(history) {
  return h("div", { class: "scroll" }, h("table", { class: "history" },
    h("thead", null, h("tr", null, ["When", "App", "State", "Commit", "Objects"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", null, history.map((app) => h("tr", { "data-key": app.id },
      h("td", null, ago(app.received_ms)),
      h("td", null, name(app.app)),
      h("td", null, phaseBadge(app.phase)),
      h("td", null, commit(app), app.problems.length ? problemList(app) : null),
      h("td", null, objects(app.counts)))))));
}
