// The meters of a bus as a list, and the faults on purpose of the one that is open.

const EVERY_MS = 2000;
const AMOUNTS = { late: ["ms", 500], truncated: ["bytes", 1], extra: ["bytes", 1], exception: ["code", 4], drift: ["ppm", 100], stale: ["after", 5] };
const KINDS = ["no_reply", "late", "crc", "id", "function", "truncated", "extra", "exception", "busy", "dead", "stale", "drift"];

const number = (value, scale, digits, unit) => (value === null ? "----" : `${(value / scale).toFixed(digits)} ${unit}`);

function cells(...texts) {
  return texts.map((text) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    return cell;
  });
}

// Every meter of the server; a click opens another.
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
      [link.href, link.textContent] = [`/?address=${meter.address}`, meter.address];
      const texts = [meter.name, meter.model, meter.lcd, number(meter.P, 1000, 2, "kW"), number(meter["Ea+"], 1000, 2, "kWh"), meter.requests];
      texts.forEach((text, n) => { row.children[n + 1].textContent = text; });
      row.toggleAttribute("data-current", meter.address === this.current());
    }
  }

  row(k) {
    const [row, head, link] = [document.createElement("tr"), document.createElement("th"), document.createElement("a")];
    head.scope = "row";
    head.append(link);
    row.append(head, ...cells("", "", "", "", "", ""));
    this.body.append(row);
    this.rows.set(k, row);
    return row;
  }
}

export class Faults {
  constructor(form, list, error, about, address) {
    [this.form, this.list, this.error, this.about, this.address, this.rows] = [form, list, error, about, address, []];
    form.innerText = "";
    const kind = this.field("select", "what goes wrong", "kind");
    kind.append(...KINDS.map((name) => new Option(name.replace("_", " "), name)));
    this.amount = this.field("input", "amount", "amount", "number");
    this.field("input", "share of replies", "share", "number").value = 1;
    this.field("input", "seconds", "for", "number").placeholder = "for good";
    const add = document.createElement("button");
    add.textContent = "Let it happen";
    const clear = document.createElement("button");
    [clear.type, clear.className, clear.textContent] = ["button", "quiet", "End all"];
    form.append(add, clear);
    kind.addEventListener("change", () => this.offer(kind.value));
    form.addEventListener("submit", (event) => { event.preventDefault(); this.add(); });
    clear.addEventListener("click", () => this.put([]));
    this.offer(kind.value);
  }

  field(tag, text, name, type) {
    const [label, field] = [document.createElement("label"), document.createElement(tag)];
    field.name = name;
    if (type) [field.type, field.step] = [type, "any"];
    label.append(`${text} `, field);
    this.form.append(label);
    return field;
  }

  offer(kind) {
    const [unit, value] = AMOUNTS[kind] ?? ["", ""];
    [this.amount.value, this.amount.disabled] = [value, unit === ""];
    this.amount.parentElement.firstChild.textContent = unit ? `${unit} ` : "amount ";
  }

  add() {
    const { kind, amount, share, for: seconds } = this.form.elements;
    const row = { kind: kind.value, share: Number(share.value) };
    if (AMOUNTS[kind.value]) row[AMOUNTS[kind.value][0]] = Number(amount.value);
    if (seconds.value !== "") row.for = Number(seconds.value);
    this.put([...this.rows, row]);
  }

  async put(rows) {
    const answer = await fetch(`/api/meters/${this.address()}/faults`, { method: "PUT", body: JSON.stringify(rows) }).catch(() => null);
    this.error.textContent = answer === null ? "no server" : answer.ok ? "" : (await answer.text()).trim();
    if (answer?.ok) this.show(await answer.json());
  }

  show(rows) {
    this.rows = rows;
    this.about.textContent = rows.length ? "" : "none: it answers as it should";
    const texts = rows.map((row) => Object.entries(row).map(([name, value]) =>
      (name === "kind" ? value : `${name} ${typeof value === "number" ? +value.toFixed(1) : value}`)).join(", "));
    if (texts.join() === [...this.list.children].map((item) => item.textContent).join()) return;
    this.list.replaceChildren(...texts.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
  }
}
