// The meters of the server as a list; a click opens another.

import { cells, make } from "./dom.js";

const EVERY_MS = 2000;

const number = (value, scale, digits, unit) => (value === null ? "----" : `${(value / scale).toFixed(digits)} ${unit}`);

export class MeterList {
  constructor(card, body, about, current) {
    [this.card, this.body, this.about, this.current] = [card, body, about, current];
    this.rows = new Map();
    this.look();
  }

  async look() {
    const meters = await fetch("/api/meters").then((answer) => answer.json(), () => []);
    this.card.hidden = meters.length < 2;
    if (meters.length > 1) this.show(meters);
    if (meters.length !== 1) setTimeout(() => this.look(), EVERY_MS);
  }

  show(meters) {
    this.about.textContent = `${meters.length} meters`;
    for (const [k, meter] of meters.entries()) {
      const row = this.rows.get(k) ?? this.row(k);
      const link = row.firstChild.firstChild;
      [link.href, link.textContent] = [`/?meter=${encodeURIComponent(meter.name)}`, meter.address];
      const texts = [meter.name, meter.model, meter.lcd, number(meter.P, 1000, 2, "kW"), number(meter["Ea+"], 1000, 2, "kWh"), meter.requests];
      texts.forEach((text, n) => { row.children[n + 1].textContent = text; });
      row.toggleAttribute("data-current", meter.name === this.current());
    }
  }

  row(k) {
    const row = make("tr", {}, make("th", { scope: "row" }, make("a")), ...cells("", "", "", "", "", ""));
    this.body.append(row);
    this.rows.set(k, row);
    return row;
  }
}
