// The page: one WebSocket to a meter; frames and values in, keys out. It finds the meter again when the server was gone.

import { Device } from "./device.js";
import { Events } from "./events.js";
import { Faults } from "./faults.js";
import { MeterList } from "./meters.js";
import { Monitor } from "./monitor.js";
import { Phasors, Scope } from "./scope.js";
import { SupplyForm } from "./supply.js";
import { Values } from "./values.js";

const RETRY_MS = 1000;
const by = (id) => document.getElementById(id);

class Page {
  // vocabulary: kinds, units, profiles, limits and models, as the server has them in its tables
  constructor(vocabulary) {
    const url = () => `/api/meters/${encodeURIComponent(this.name)}`;
    this.models = vocabulary.models;
    this.device = new Device(by("device"), vocabulary);
    this.scope = new Scope(by("scope"), by("scope-span"));
    this.phasors = new Phasors(by("phasors"));
    this.values = new Values(by("now"), by("energies"), by("now-about"), by("energy-about"), vocabulary);
    this.monitor = new Monitor(by("frames"), by("monitor-about"), by("pause"), by("clear"));
    this.supply = new SupplyForm(by("supply"), by("supply-error"), by("supply-name"), url, vocabulary);
    this.faults = new Faults(by("faults"), by("fault-list"), by("fault-error"), by("faults-about"), url, vocabulary.faults);
    this.events = new Events(by("events"), by("events-about"), url);
    this.meters = new MeterList(by("meters-card"), by("meters"), by("meters-about"), () => this.name);
    [this.socket, this.name, this.number, this.pressed] = [null, null, 0, false];
    this.url = url;
    this.keys();
    this.theme();
    by("seal").addEventListener("click", () => this.seal());
    this.connect();
  }

  async connect() {
    try {
      const query = new URLSearchParams(location.search);
      const meters = await (await fetch("/api/meters")).json();
      const chosen = meters.find((meter) => meter.name === query.get("meter"))
        ?? meters.find((meter) => String(meter.address) === query.get("address")) ?? meters[0];
      [this.name, this.several] = [chosen.name, meters.length > 1];
    } catch {
      this.say("lost", "no server, trying again");
      setTimeout(() => this.connect(), RETRY_MS);
      return;
    }
    this.number = 0;
    this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${this.url()}/live`);
    this.socket.addEventListener("open", () => { this.say("live", "live"); this.supply.load(); });
    this.socket.addEventListener("message", (event) => this.take(JSON.parse(event.data)));
    this.socket.addEventListener("close", (event) => {
      this.say("lost", event.reason ? `closed: ${event.reason}` : "connection lost, trying again");
      setTimeout(() => this.connect(), RETRY_MS);
    });
  }

  say(state, text) {
    const pill = by("connection");
    pill.dataset.state = state;
    pill.textContent = text;
    document.body.classList.toggle("lost", state !== "live");
  }

  take(message) {
    if (message.type === "lcd") this.lcd(message);
    else if (message.type === "state") this.state(message);
    else if (message.type === "supply") this.supply.changed();
    else {
      if (message.scope) { this.scope.show(message.scope); this.phasors.show(message.scope); }
      if (message.lights) this.device.lights(message.lights);
      if (message.frames) this.monitor.show(message.frames);
    }
  }

  lcd(frame) {
    this.device.lcd.show(frame);
    by("lcd-text").textContent = frame.text === "" ? "blank: no power at L1–N" : frame.text;
    if (this.pressed) by("spoken").textContent = frame.text;
  }

  state(state) {
    this.device.state(state);
    this.values.show(state);
    this.faults.show(state.faults);
    this.events.show(state);
    by("model").textContent = state.model;
    const { ct_primary: primary, ct_secondary: secondary, baud, parity, stop_bits: stop } = state.settings;
    const speed = state.speed === 1 ? "" : `, ${state.speed} × time`;
    by("about").textContent = [...(this.several ? [state.name] : []), `address ${state.address}`, `CT ${primary}/${secondary}`, `${baud} 8${parity}${stop}`, `${state.requests} requests${speed}`,
      ...state.notes].join(" · ");
    const seal = by("seal");
    seal.hidden = !this.models[state.model].sealable;
    seal.textContent = state.settings.sealed === 1 ? "Break the seal" : "Close the seal";
    seal.dataset.closed = state.settings.sealed;
    document.title = `countis ${state.model} ${this.several ? state.name : `at address ${state.address}`}`;
  }

  // keys: down and up as they happen; the meter judges how long they were held

  keys() {
    for (const button of document.querySelectorAll("[data-keys]")) {
      const names = button.dataset.keys.split(" ");
      const press = (event) => { event.preventDefault(); button.setPointerCapture(event.pointerId); button.focus(); this.hold(button, names, true); };
      button.addEventListener("pointerdown", press);
      for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(kind, () => this.hold(button, names, false));
      button.addEventListener("contextmenu", (event) => event.preventDefault());
      button.addEventListener("keydown", (event) => {
        if (event.key !== " " && event.key !== "Enter") return;
        event.preventDefault();
        this.hold(button, names, true);
      });
      button.addEventListener("keyup", (event) => { if (event.key === " " || event.key === "Enter") this.hold(button, names, false); });
      button.addEventListener("blur", () => this.hold(button, names, false));
    }
    const shortcut = (down) => (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
      const name = { s: "SET", u: "UP", e: "ENTER" }[event.key.toLowerCase()];
      if (name) this.hold(document.querySelector(`.key[data-keys="${name}"]`), [name], down);
    };
    addEventListener("keydown", shortcut(true));
    addEventListener("keyup", shortcut(false));
    addEventListener("blur", () => document.querySelectorAll("[data-keys].held").forEach((button) => this.hold(button, button.dataset.keys.split(" "), false)));
  }

  hold(button, names, down) {
    if (button.classList.contains("held") === down) return;
    button.classList.toggle("held", down);
    this.pressed = true;
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    for (const key of names) this.socket.send(JSON.stringify({ key, down, n: this.number += 1 }));
  }

  async seal() {
    const sealed = by("seal").dataset.closed !== "1";
    await fetch(`${this.url()}/seal`, { method: "PUT", body: JSON.stringify({ sealed }) });
  }

  theme() {
    const theme = localStorage.getItem("theme");
    if (theme) document.documentElement.dataset.theme = theme;
    by("theme").addEventListener("click", () => {
      const dark = getComputedStyle(document.documentElement).getPropertyValue("--dark").trim() === "1";
      document.documentElement.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem("theme", document.documentElement.dataset.theme);
      this.scope.draw();
      this.phasors.draw();
    });
  }
}

// Nothing can be shown before the words for it are there.
async function begin() {
  let vocabulary;
  try {
    vocabulary = await (await fetch("/api/vocabulary")).json();
  } catch {
    setTimeout(begin, RETRY_MS);
    return;
  }
  new Page(vocabulary);
}

begin();
