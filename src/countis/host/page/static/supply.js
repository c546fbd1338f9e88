// What the meter is wired to, as a form over the supply document; each change is sent whole, and the meter says what is wrong.

import { make } from "./dom.js";

const WAIT_MS = 150;

const options = (names, chosen) => names.map((name) => make("option", { value: name, selected: name === chosen }, name));
const harmonicsText = (harmonics = {}) => Object.entries(harmonics).map(([order, [ratio, angle]]) => `${order}=${+(100 * ratio).toFixed(4)}%@${angle}`).join(" ");

function harmonicsFrom(text) {
  const harmonics = {};
  for (const part of text.split(/[\s,;]+/).filter(Boolean)) {
    const match = /^(\d+)=([\d.]+)%(?:@(-?[\d.]+))?$/.exec(part);
    if (!match) throw new Error(`harmonics: ${part} is not possible (allowed: 5=10%@0, orders 2 to 40)`);
    harmonics[match[1]] = [Number(match[2]) / 100, Number(match[3] ?? 0)];
  }
  return harmonics;
}

export class SupplyForm {
  constructor(form, error, name, url, { phases, profiles, limits }) {
    [this.form, this.error, this.name, this.url] = [form, error, name, url];
    [this.phases, this.profiles, this.limits] = [phases, profiles, limits];
    [this.document, this.timer] = [null, null];
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => { clearTimeout(this.timer); this.timer = setTimeout(() => this.send(), WAIT_MS); });
  }

  async load() {
    const answer = await fetch(`${this.url()}/supply`);
    if (answer.ok) this.take(await answer.json());
  }

  // somebody wired the meter otherwise: show that, unless a field is being edited here
  changed() {
    if (!this.form.contains(document.activeElement)) this.load();
  }

  take({ name, document: found }) {
    [this.document, this.name.textContent] = [found ?? {}, found ? name : `${name}, a recording; a change here replaces it`];
    this.draw();
  }

  draw() {
    const open = this.form.querySelector("details")?.open;
    this.form.replaceChildren(this.network(), this.wiring(), this.loads(), this.files());
    if (open) this.form.querySelector("details").open = true;
  }

  // one number, with a slider beside it where a range is given
  number(label, value, { unit = "", min = null, max = null, step = "any", slider = false, ...data }) {
    const input = make("input", { type: "number", value, min, max, step, ...data });
    const parts = [make("span", {}, label), input, make("span", { class: "unit" }, unit)];
    if (slider) {
      const range = make("input", { type: "range", min, max, step, value, "aria-label": `${label} slider`, "data-twin": "" });
      range.addEventListener("input", () => { input.value = range.value; });
      input.addEventListener("input", () => { range.value = input.value; });
      parts.push(range);
    }
    return make("label", { class: slider ? "number long" : "number" }, ...parts);
  }

  range(name) {
    const [min, max, step] = this.limits[name];
    return { min, max, step, slider: true };
  }

  network() {
    const { voltage = {}, frequency = 50, tariff = {} } = this.document;
    const volts = this.phases.map((phase) => this.number(phase, voltage[phase] ?? 230, { unit: "V", ...this.range("voltage"), "data-volts": phase }));
    return make("fieldset", {}, make("legend", {}, "Network"), ...volts,
      this.number("frequency", frequency, { unit: "Hz", ...this.range("frequency"), "data-key": "frequency" }),
      this.number("tariff input", tariff.volts ?? 0, { unit: "V", ...this.range("tariff"), "data-key": "tariff" }),
      make("label", { class: "text" }, make("span", {}, "voltage harmonics"), make("input", { type: "text", value: harmonicsText(voltage.harmonics), placeholder: "5=10%@0", "data-key": "harmonics" })));
  }

  wiring() {
    const { missing = [], reversed = [], swapped = [], neutral = "ok" } = this.document.wiring ?? {};
    const tick = (kind, phase, on) => make("label", { class: "switch" }, make("input", { type: "checkbox", checked: on, [`data-${kind}`]: phase, "aria-label": `${kind} ${phase}` }), phase);
    const line = (title, kind, list) => make("div", { class: "line", role: "group", "aria-label": title }, make("span", {}, title), ...this.phases.map((phase) => tick(kind, phase, list.includes(phase))));
    return make("fieldset", {}, make("legend", {}, "Wiring faults"), line("voltage missing", "missing", missing), line("CT reversed", "reversed", reversed),
      make("label", { class: "text" }, make("span", {}, "voltages swapped"), make("select", { "data-key": "swapped" }, ...options(["none", "L1-L2", "L2-L3", "L1-L3"], swapped.length ? [...swapped].sort().join("-") : "none"))),
      make("div", { class: "line" }, make("span", {}, "neutral"), make("label", { class: "switch" }, make("input", { type: "checkbox", checked: neutral === "lost", "data-key": "neutral" }), "lost")));
  }

  loads() {
    const rows = (this.document.load ?? []).map((load, k) => this.load1(load, k));
    const add = make("button", { type: "button", class: "quiet" }, "Add a load");
    add.addEventListener("click", () => this.replaceLoads([...(this.document.load ?? []), { phase: "all", current: 1, pf: 1 }]));
    const three = make("button", { type: "button", class: "quiet" }, "One load a phase");
    three.addEventListener("click", () => this.replaceLoads(this.phases.map((phase) => ({ phase, current: 2.5, pf: 1 }))));
    const heads = ["phase", "how much", "", "PF or angle", "", "direction", "profile", "harmonics", ""].map((text) => make("th", { scope: "col" }, text));
    const table = make("table", { class: "loads" }, make("caption", { class: "unseen" }, "Loads"), make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
    return make("fieldset", { class: "whole" }, make("legend", {}, "Loads"), make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Loads" }, table), make("div", { class: "row" }, add, three));
  }

  load1(load, k) {
    const [power, angle] = [load.power !== undefined, load.pf === undefined];
    const at = (name) => ({ [`data-${name}`]: k, "aria-label": `load ${k + 1}, ${name}` });
    const profile = Array.isArray(load.profile) ? "own" : load.profile ?? "steady";
    const remove = make("button", { type: "button", class: "quiet", "aria-label": `Remove load ${k + 1}` }, "✕");
    remove.addEventListener("click", () => this.replaceLoads(this.document.load.filter((_, n) => n !== k)));
    const cells = [
      make("select", at("phase"), ...options(["all", ...this.phases], load.phase ?? "all")),
      make("input", { type: "number", step: "any", min: 0, value: power ? load.power : load.current, ...at("amount") }),
      make("select", at("unit"), ...options(["A sec.", "W"], power ? "W" : "A sec.")),
      make("input", { type: "number", step: "any", value: angle ? load.angle ?? 0 : load.pf, ...at("factor") }),
      make("select", at("kind"), ...options(["PF", "°"], angle ? "°" : "PF")),
      make("select", at("direction"), ...options(["import", "export"], load.direction ?? "import")),
      make("select", at("profile"), ...options(profile === "own" ? ["own", ...this.profiles] : this.profiles, profile)),
      make("input", { type: "text", value: harmonicsText(load.harmonics), placeholder: "3=10%@0", ...at("harmonics") }), remove];
    return make("tr", {}, ...cells.map((content) => make("td", {}, content)));
  }

  replaceLoads(load) {
    this.document = { ...this.document, load };
    this.draw();
    this.put("application/json", JSON.stringify(this.without()));
  }

  files() {
    const area = make("textarea", { rows: 8, spellcheck: "false", "aria-label": "Supply file" });
    area.addEventListener("input", (event) => event.stopPropagation());
    const file = make("input", { type: "file", accept: ".toml", "aria-label": "Read a supply file" });
    file.addEventListener("input", async (event) => { event.stopPropagation(); area.value = await file.files[0].text(); });
    const play = make("button", { type: "button" }, "Play from now on");
    play.addEventListener("click", () => this.put("application/toml", area.value));
    area.placeholder = "[[event]]\nat = 5.0\nfor = 2.0\nset = { \"voltage.L2\" = 0.0 }";
    return make("details", { class: "whole" }, make("summary", {}, "Scenario file"), make("p", { class: "about" }, "A supply file with its events, as in the README; it begins when it is sent."), area, make("div", { class: "row" }, file, play));
  }

  // the document that the form says; what the form has no field for stays as it was
  read() {
    const field = (key) => this.form.querySelector(`[data-key="${key}"]`);
    const numberOf = (input) => { if (input.value === "" || !input.validity.valid) throw new Error(`${input.closest("label")?.firstChild.textContent ?? input.ariaLabel}: a number (allowed: ${input.min || "any"} to ${input.max || "any"})`); return Number(input.value); };
    const ticked = (kind) => [...this.form.querySelectorAll(`[data-${kind}]:checked`)].map((input) => input.dataset[kind]);
    const voltage = { ...this.document.voltage, harmonics: harmonicsFrom(field("harmonics").value) };
    for (const input of this.form.querySelectorAll("[data-volts]")) voltage[input.dataset.volts] = numberOf(input);
    const wiring = { ...this.document.wiring, missing: ticked("missing"), reversed: ticked("reversed"), neutral: field("neutral").checked ? "lost" : "ok" };
    delete wiring.swapped;
    if (field("swapped").value !== "none") wiring.swapped = field("swapped").value.split("-");
    const load = (this.document.load ?? []).map((old, k) => this.readLoad(old, k, numberOf));
    return { ...this.document, frequency: numberOf(field("frequency")), voltage, wiring, tariff: { volts: numberOf(field("tariff")) }, load };
  }

  readLoad(old, k, numberOf) {
    const field = (name) => this.form.querySelector(`[data-${name}="${k}"]`);
    const { current, power, angle, pf, harmonics, profile, ...rest } = old;
    const load = { ...rest, phase: field("phase").value, direction: field("direction").value };
    load[field("unit").value === "W" ? "power" : "current"] = numberOf(field("amount"));
    load[field("kind").value === "PF" ? "pf" : "angle"] = numberOf(field("factor"));
    const entered = harmonicsFrom(field("harmonics").value);
    if (Object.keys(entered).length) load.harmonics = entered;
    load.profile = field("profile").value === "own" ? profile : field("profile").value;
    return load;
  }

  without() {
    const { event, recording, ...rest } = this.document;
    return rest;
  }

  send() {
    try {
      this.document = this.read();
    } catch (wrong) {
      this.error.textContent = wrong.message;
      return;
    }
    this.put("application/json", JSON.stringify(this.without()), false);
  }

  async put(type, body, redraw = true) {
    const answer = await fetch(`${this.url()}/supply`, { method: "PUT", headers: { "content-type": type }, body }).catch(() => null);
    this.error.textContent = answer === null ? "no server" : answer.ok ? "" : (await answer.text()).trim();
    if (!answer?.ok) return;
    const taken = await answer.json();
    if (redraw) this.take(taken);
    else this.name.textContent = taken.name;
  }
}
