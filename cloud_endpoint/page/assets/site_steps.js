// Results of the synthetic client: what an app would feel, with its latencies.

import { h, svg } from "./dom.js";
import { ago, latency, span } from "./times.js";
import { badge } from "./words.js";

const WIDTH = 120;
const HEIGHT = 22;

export function stepTable(steps) {
  return h("div", { class: "scroll" }, h("table", { class: "steps" },
    h("thead", null, h("tr", null, ["Result", "Step", "Ran", "Median", "95 of 100 within", "Slowest", "Spread", "Reported"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", null, steps.map(row))));
}

function row(step) {
  const total = step.ok + step.failed;
  const state = !total ? badge("none", "Did not run") : step.failed ? badge("bad", step.ok ? "Fails at times" : "Fails") : badge("good", "Passes");
  const kinds = Object.entries(step.errors).map(([kind, n]) => `${n} × ${kind}`).join(", ");
  return h("tr", { "data-key": `${step.scenario}/${step.step}`, class: step.failed ? "bad" : "" },
    h("td", null, state, step.failed ? h("span", { class: "why" }, [kinds, step.error].filter(Boolean).join(": ")) : null),
    h("th", { scope: "row" }, step.step, h("span", { class: "under" }, `${step.type} in ${step.scenario}`)),
    h("td", { class: "num" }, `${step.ok} of ${total}`),
    h("td", { class: "num" }, latency(step.p50)),
    h("td", { class: "num" }, latency(step.p95)),
    h("td", { class: "num" }, latency(step.max)),
    h("td", null, bars(step)),
    h("td", null, ago(step.received_ms), h("span", { class: "under" }, `over ${span(step.seconds)}`)));
}

/** A bar for each bucket between the first and the last that counted something. */
function bars(step) {
  const used = step.buckets.map((count, index) => (count ? index : -1)).filter((index) => index >= 0);
  if (!used.length || step.buckets.length !== step.bounds.length + 1) return h("span", { class: "soft" }, "none");
  const first = Math.max(0, used[0] - 1);
  const last = Math.min(step.buckets.length - 1, used[used.length - 1] + 1);
  const shown = step.buckets.slice(first, last + 1);
  const most = Math.max(...shown);
  const width = Math.min(14, WIDTH / shown.length);
  const to = (index) => (index < step.bounds.length ? `up to ${latency(step.bounds[index])}` : `above ${latency(step.bounds[step.bounds.length - 1])}`);
  const label = shown.map((count, index) => (count ? `${count} ${to(first + index)}` : "")).filter(Boolean).join(", ");
  return svg("svg", { class: "bars", width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
    svg("title", null, label),
    shown.map((count, index) => {
      const height = count ? Math.max(2, (count / most) * (HEIGHT - 2)) : 1;
      return svg("rect", { x: (index * width).toFixed(1), y: (HEIGHT - height).toFixed(1), width: Math.max(1, width - 1.5).toFixed(1), height: height.toFixed(1), class: count ? "full" : "zero" });
    }));
}
