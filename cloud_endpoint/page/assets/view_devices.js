// Devices that asked to join and may not yet: a person says yes or no.

import { get, post } from "./api.js";
import { h, morph } from "./dom.js";
import { fleet } from "./fleet.js";
import { ago } from "./times.js";
import { badge } from "./words.js";

const STATUS = {
  pending: ["warn", "Waits"],
  quarantined: ["bad", "Second key"],
  refused: ["bad", "Refused"],
  barred: ["none", "Refused by a person"],
};

export function devicesView(session, plan) {
  const may = session.scopes.includes("admin") && !session.site;
  const element = h("div", { class: "devices" });
  let devices = null;
  let shipped = new Map();
  let asking = null; // { id, what }
  let said = "";
  let seen = -1;

  const read = async () => {
    seen = fleet.waiting;
    try {
      const [list, shipping] = await Promise.all([get("/v1/admin/enrolments"), get("/v1/admin/shipping").catch(() => [])]);
      devices = list;
      shipped = new Map(shipping.map((line) => [line.node, line]));
    } catch (error) {
      said = error.message;
    }
    plan();
  };
  const act = async (id, what, form) => {
    const filled = form ? Object.fromEntries([...new FormData(form)].filter(([, value]) => value)) : {};
    try {
      await post(`/v1/admin/enrolments/${id}/${what}`, what === "approve" ? filled : {});
      said = what === "approve" ? "The device may join now." : "The device is refused.";
      asking = null;
    } catch (error) {
      said = error.message;
    }
    await read();
  };
  element.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-what]");
    if (!button) return;
    const { id, what } = button.dataset;
    asking = what === "cancel" ? null : { id: Number(id), what };
    said = "";
    plan();
  });
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    act(asking.id, asking.what, event.target);
  });
  const draw = () => {
    morph(element, h("div", { class: "devices" },
      h("h1", { "data-key": "h" }, "Devices that asked to join"),
      h("p", { class: "said", role: "status", "data-key": "said" }, said),
      !may ? h("p", { class: "empty", "data-key": "no" }, "Only an administrator of the whole fleet judges devices.")
        : devices === null ? h("p", { class: "empty", "data-key": "no" }, "Reading")
          : devices.length ? list(devices, shipped, asking) : h("p", { class: "empty", "data-key": "no" }, "No device waits.")));
  };
  if (may) read();
  return { element, draw, changed: () => may && fleet.waiting !== seen && read() };
}

function list(devices, shipped, asking) {
  return h("div", { class: "scroll", "data-key": "list" }, h("table", null,
    h("thead", null, h("tr", null, ["State", "Device", "Asked", "From", "Key", "Your word"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", null, devices.flatMap((device) => {
      const open = asking?.id === device.id;
      const line = shipped.get(device.node);
      return [row(device, line), ...(open ? [question(device, line, asking.what)] : [])];
    }))));
}

function row(device, line) {
  const button = (what, text) => h("button", { type: "button", "data-what": what, "data-id": device.id, class: what === "approve" ? "" : "quiet" }, text);
  return h("tr", { "data-key": device.id },
    h("td", null, badge(...(STATUS[device.status] || ["warn", device.status])), h("span", { class: "why" }, device.reason)),
    h("th", { scope: "row" }, device.hardware_id, h("span", { class: "under" }, [device.hostname, device.hardware].filter(Boolean).join(", ")),
      h("span", { class: "under" }, line ? `on the shipping list: ${line.site}, ${line.name}` : "not on the shipping list")),
    h("td", null, ago(device.last_ms), h("span", { class: "under" }, "first ", ago(device.first_ms), `, ${device.tries === 1 ? "once" : `${device.tries} times`}`)),
    h("td", null, device.source),
    h("td", null, h("code", { title: device.signing_kid }, device.signing_kid.slice(0, 10))),
    h("td", { class: "buttons" }, button("approve", "Approve"), device.status === "barred" ? null : button("refuse", "Refuse")));
}

function question(device, line, what) {
  const field = (name, text, hint) => h("label", null, text, h("input", { name, required: true, placeholder: hint, autocomplete: "off", spellcheck: "false" }));
  const warning = device.status === "quarantined" ? "Another key is enrolled for this hardware: approving replaces it, and the device that has it is shut out." : "";
  return h("tr", { class: "question", "data-key": `ask ${device.id}` }, h("td", { colspan: 6 }, h("form", null,
    what === "approve"
      ? [h("p", null, line ? `Let ${device.hardware_id} join ${line.site} as ${line.name}?` : `Where does ${device.hardware_id} belong?`, warning ? h("strong", { class: "bad" }, ` ${warning}`) : null),
        line ? null : [field("site", "Site", "store-01234"), field("name", "Node name", "nuc-1")]]
      : h("p", null, `Refuse ${device.hardware_id} with this key for good?`),
    h("button", { type: "submit" }, what === "approve" ? "Approve" : "Refuse"),
    h("button", { type: "button", class: "quiet", "data-what": "cancel" }, "Cancel"))));
}
