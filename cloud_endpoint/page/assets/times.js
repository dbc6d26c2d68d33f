// Times by the server's clock, and how long ago something was. Ages go on between events.

import { h } from "./dom.js";

let offset = 0;

/** Takes the server's time, Unix ms. */
export function setServerTime(ms) {
  offset = ms - Date.now();
}

/** The server's time now, Unix ms. */
export function now() {
  return Date.now() + offset;
}

/** A length of time in words: `12 s`, `3 min`, `2 h 5 min`, `4 d`. */
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 90) return `${s} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 && hours < 10 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

/** `12 s ago` as an element that goes on by itself; `plain` leaves `ago` out. */
export function ago(ms, plain) {
  if (!ms) return h("span", { class: "soft" }, "never");
  const at = new Date(ms - offset);
  return h("time", { datetime: at.toISOString(), title: at.toLocaleString(), "data-ms": ms, "data-plain": plain || null },
    words(ms, plain));
}

function words(ms, plain) {
  const text = span((now() - ms) / 1000);
  return plain ? text : `${text} ago`;
}

/** Brings all shown ages up to date. */
export function tick() {
  for (const element of document.querySelectorAll("time[data-ms]")) {
    const text = words(Number(element.dataset.ms), element.dataset.plain !== undefined);
    if (element.textContent !== text) element.textContent = text;
  }
}

/** A latency in s as `12 ms` or `1.3 s`. */
export function latency(seconds) {
  if (seconds === null || seconds === undefined) return "none";
  if (seconds >= 10) return `${seconds.toFixed(0)} s`;
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  const ms = seconds * 1000;
  return ms >= 10 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`;
}
