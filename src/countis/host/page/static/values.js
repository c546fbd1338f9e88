// Tables of what is measured and counted, filled in place so that nothing jumps.

import { make } from "./dom.js";

const number = (value, digits) => (value === null || value === undefined ? "----" : value.toFixed(digits).replace("-", "−"));

// A table whose cells are known by symbol.
class Table {
  constructor(element, caption, heads) {
    this.cells = new Map();
    this.body = make("tbody");
    const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
    element.replaceChildren(make("caption", { class: "unseen" }, caption), make("thead", {}, head), this.body);
  }

  row(name, unit, symbols) {
    const figures = symbols.map((symbol) => {
      const figure = make("td");
      if (symbol) this.cells.set(symbol, figure);
      return figure;
    });
    this.body.append(make("tr", {}, make("th", { scope: "row" }, name), ...figures, make("td", { class: "unit" }, unit)));
  }

  set(symbol, text) {
    const figure = this.cells.get(symbol);
    if (figure && figure.textContent !== text) figure.textContent = text;
  }
}

export class Values {
  constructor(now, energies, aboutNow, aboutEnergy, vocabulary) {
    [this.aboutNow, this.aboutEnergy, this.live] = [aboutNow, aboutEnergy, vocabulary.live];
    const { tariffs, partials } = vocabulary;
    this.now = new Table(now, "Instantaneous values", ["", "L1", "L2", "L3", "Σ", ""]);
    for (const { symbol, ends, unit } of this.live) {
      const all = ends.map((end) => symbol + end);
      this.now.row(ends[0].length > 1 ? all.join(" ") : symbol, unit, [...all, symbol]);
    }
    this.now.row("IN", "A", ["", "", "", "IN"]);
    this.energies = new Table(energies, "Energies, in total and by tariff", ["", "total", ...tariffs, ""]);
    const units = new Map(vocabulary.energies.map(({ symbol, unit }) => [symbol, unit]));
    const row = (kind) => [kind, ...tariffs.map((tariff) => `${kind}.${tariff}`)];
    for (const [kind, unit] of units) this.energies.row(kind, unit, row(kind));
    this.partials = new Map();
    for (const kind of [...units.keys()].map((symbol) => `par.${symbol}`).filter((symbol) => partials.includes(symbol))) {
      this.partial(kind, row(kind).map((symbol) => (partials.includes(symbol) ? symbol : "")), units.get(kind.slice(4)));
    }
    this.energies.row("balance Ea", "kWh", ["net.Ea", ...tariffs.map(() => "")]);
    this.energies.row("balance Er", "kvarh", ["net.Er", ...tariffs.map(() => "")]);
    this.columns = [...energies.querySelectorAll("thead th")];
  }

  partial(kind, symbols, unit) {
    this.energies.row(kind, unit, symbols);
    for (const symbol of symbols.filter(Boolean)) this.partials.set(symbol, this.energies.cells.get(symbol));
  }

  show(state) {
    const { values } = state;
    for (const { symbol, ends, scale, digits } of this.live) {
      for (const end of [...ends, ""]) {
        const value = values[symbol + end];
        this.now.set(symbol + end, number(value === null ? null : value / scale, digits));
      }
    }
    this.now.set("IN", number(values.IN, 2));
    for (const symbol of this.energies.cells.keys()) this.energies.set(symbol, number(values[symbol] / 1000, 2));
    const running = new Set(state.running);
    for (const [symbol, figure] of this.partials) {
      figure.classList.toggle("stopped", !running.has(symbol));
      figure.title = running.has(symbol) ? "running" : "stopped";
    }
    this.columns.forEach((column, k) => column.toggleAttribute("data-current", k === values.tariff + 1));
    const sequence = state.missing.length ? `${state.missing.join(" ")} missing` : values.sequence === null ? "no sequence" : `sequence ${values.sequence}`;
    this.aboutNow.textContent = `f ${number(values.f, 2)} Hz, ${sequence}`;
    this.aboutEnergy.textContent = `tariff T${values.tariff} by the ${state.settings.tariff_control === "com" ? "bus" : "input"}`;
  }
}
