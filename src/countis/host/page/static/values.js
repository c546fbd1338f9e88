// Tables of what is measured and counted, filled in place so that nothing jumps.

const NOW = [["V", "V", 1, 1, "V"], ["U", "V", 1, 1, "U"], ["I", "A", 1, 2, "I"], ["P", "kW", 1000, 3, "P"], ["Q", "kvar", 1000, 3, "Q"],
  ["S", "kVA", 1000, 3, "S"], ["PF", "", 1, 3, "PF"]];
const PAIRS = ["12", "23", "31"];
const ENERGIES = [["Ea+", "kWh"], ["Ea-", "kWh"], ["Er+", "kvarh"], ["Er-", "kvarh"], ["Er+ind", "kvarh"], ["Er-ind", "kvarh"],
  ["Er+cap", "kvarh"], ["Er-cap", "kvarh"], ["Eap", "kVAh"]];
const PARTIALS = ["par.Ea+", "par.Ea-"];
const OTHERS = ["par.Er+", "par.Er-", "par.Eap"];

const number = (value, digits) => (value === null || value === undefined ? "----" : value.toFixed(digits).replace("-", "−"));

function cell(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// A table whose cells are known by symbol.
class Table {
  constructor(element, caption, heads) {
    this.cells = new Map();
    const title = cell("caption", caption, { class: "unseen" });
    const head = document.createElement("thead");
    head.append(document.createElement("tr"));
    head.firstChild.append(...heads.map((text) => cell("th", text, { scope: "col" })));
    this.body = document.createElement("tbody");
    element.replaceChildren(title, head, this.body);
  }

  row(name, unit, symbols) {
    const row = document.createElement("tr");
    row.append(cell("th", name, { scope: "row" }));
    for (const symbol of symbols) {
      const figure = cell("td", "");
      if (symbol) this.cells.set(symbol, figure);
      row.append(figure);
    }
    row.append(cell("td", unit, { class: "unit" }));
    this.body.append(row);
    return row;
  }

  set(symbol, text) {
    const figure = this.cells.get(symbol);
    if (figure && figure.textContent !== text) figure.textContent = text;
  }
}

export class Values {
  constructor(now, energies, aboutNow, aboutEnergy) {
    [this.aboutNow, this.aboutEnergy] = [aboutNow, aboutEnergy];
    this.now = new Table(now, "Instantaneous values", ["", "L1", "L2", "L3", "Σ", ""]);
    for (const [symbol, unit] of NOW) {
      const ends = symbol === "U" ? PAIRS : ["1", "2", "3"];
      this.now.row(symbol === "U" ? "U12 U23 U31" : symbol, unit, [...ends.map((end) => symbol + end), symbol]);
    }
    this.now.row("IN", "A", ["", "", "", "IN"]);
    this.energies = new Table(energies, "Energies, in total and by tariff", ["", "total", "T1", "T2", "T3", "T4", ""]);
    for (const [kind, unit] of ENERGIES) this.energies.row(kind, unit, [kind, ...[1, 2, 3, 4].map((t) => `${kind}.T${t}`)]);
    this.partials = new Map();
    for (const kind of PARTIALS) this.partial(kind, [kind, ...[1, 2, 3, 4].map((t) => `${kind}.T${t}`)], "kWh");
    for (const [k, kind] of OTHERS.entries()) this.partial(kind, [kind, "", "", "", ""], k < 2 ? "kvarh" : "kVAh");
    this.energies.row("balance Ea", "kWh", ["net.Ea", "", "", "", ""]);
    this.energies.row("balance Er", "kvarh", ["net.Er", "", "", "", ""]);
    this.columns = [...energies.querySelectorAll("thead th")];
  }

  partial(kind, symbols, unit) {
    this.energies.row(kind, unit, symbols);
    for (const symbol of symbols.filter(Boolean)) this.partials.set(symbol, this.energies.cells.get(symbol));
  }

  show(state) {
    const { values } = state;
    for (const [symbol, , scale, digits] of NOW) {
      for (const end of symbol === "U" ? [...PAIRS, ""] : ["1", "2", "3", ""]) {
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
