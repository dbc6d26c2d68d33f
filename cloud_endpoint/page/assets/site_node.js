// One node of a site.

import { h } from "./dom.js";
import { ago, now, span } from "./times.js";
import { bytes, liveBadge, stateWords } from "./words.js";

/** `summary`: its line of the fleet, newer than the detail; `beatMs`: its last beat, newer too. */
export function nodeCard(node, summary, beatMs) {
  const beat = Math.max(beatMs || 0, node.beat_ms || 0);
  const live = summary?.live || node.live;
  return h("div", { class: `nodecard ${live}`, "data-key": node.id },
    h("h3", null, h("span", null, node.name), liveBadge(live, node.status)),
    h("dl", null,
      row("Last beat", ago(beat), node.via ? h("span", { class: "soft" }, `, sent by its ${node.via === "pod" ? "pod" : "system unit"}`) : null),
      row("Up for", uptime(node, beat)),
      row("State", stateWords(node.state), node.state_since ? [", for ", ago(node.state_since, true)] : null, node.state_reason ? h("span", { class: "reason" }, node.state_reason) : null),
      row("Health", health(node.health)),
      row("Beats", `every ${span(node.interval)}`)),
    h("details", { "data-key": "facts" }, h("summary", null, "Machine"), facts(node)));
}

function row(name, ...value) {
  return h("div", null, h("dt", null, name), h("dd", null, ...value));
}

function uptime(node, beat) {
  if (node.up === null || node.up === undefined || !node.beat_ms) return h("span", { class: "soft" }, "unknown");
  return ago(Math.min(now(), beat) - ((beat - node.beat_ms) + node.up * 1000), true);
}

function health(found) {
  if (!found) return h("span", { class: "soft" }, "unknown");
  if (!found.bad.length) return h("span", { title: found.good.join("\n") }, found.good.length ? `All ${found.good.length} checks are good` : h("span", { class: "soft" }, "nothing checked"));
  return h("ul", { class: "bad" }, found.bad.map((text) => h("li", null, text)));
}

function facts(node) {
  const found = node.facts;
  const lines = [["Node id", node.id], ["Address", node.address || "not given"]];
  if (!found) return list([...lines, ["Facts", "not told yet"]]);
  lines.push(["Host name", found.hostname], ["Hardware", found.hardware], ["Serial", found.serial], ["System", found.os], ["Kernel", found.kernel]);
  lines.push(["Processors", `${found.cpus}, load ${found.load.map((n) => n.toFixed(2)).join(" ")}`]);
  lines.push(["Memory", `${bytes(found.memory_available)} of ${bytes(found.memory_total)} free`]);
  for (const disk of found.disks) lines.push([`Disk ${disk.path}`, `${bytes(disk.free)} of ${bytes(disk.total)} free`]);
  for (const link of found.links) lines.push([`Link ${link.name}`, `${link.up ? "up" : "down"}${link.speed ? `, ${link.speed} Mbit/s` : ""}${link.addresses.length ? `, ${link.addresses.join(" ")}` : ""}`]);
  if (found.temperature !== null && found.temperature !== undefined) lines.push(["Temperature", `${found.temperature.toFixed(0)} °C`]);
  for (const [name, version] of Object.entries(found.versions)) lines.push([name, version]);
  return [list(lines), h("p", { class: "soft" }, "Told ", ago(node.facts_ms), ".")];
}

function list(lines) {
  return h("dl", null, lines.map(([name, value]) => row(name, value)));
}
