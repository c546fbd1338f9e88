// The faults on purpose of the meter that is open.

import { make } from "./dom.js";

export class Faults {
  constructor(form, list, error, about, url, kinds) {
    [this.form, this.list, this.error, this.about, this.url, this.rows] = [form, list, error, about, url, []];
    this.kinds = kinds; // kind -> name, default and limits of its amount, or null
    form.innerText = "";
    const kind = this.field("select", "what goes wrong", "kind");
    kind.append(...Object.keys(kinds).map((name) => new Option(name.replace("_", " "), name)));
    this.amount = this.field("input", "amount", "amount", "number");
    this.field("input", "share of replies", "share", "number").value = 1;
    this.field("input", "seconds", "for", "number").placeholder = "for good";
    const clear = make("button", { type: "button", class: "quiet" }, "End all");
    form.append(make("button", {}, "Let it happen"), clear);
    kind.addEventListener("change", () => this.offer(kind.value));
    form.addEventListener("submit", (event) => { event.preventDefault(); this.add(); });
    clear.addEventListener("click", () => this.put([]));
    this.offer(kind.value);
  }

  field(tag, text, name, type) {
    const field = make(tag, { name, ...(type && { type, step: "any" }) });
    this.form.append(make("label", {}, `${text} `, field));
    return field;
  }

  offer(kind) {
    const amount = this.kinds[kind];
    [this.amount.value, this.amount.disabled] = [amount?.default ?? "", amount === null];
    this.amount.parentElement.firstChild.textContent = `${amount?.name ?? "amount"} `;
  }

  add() {
    const { kind, amount, share, for: seconds } = this.form.elements;
    const row = { kind: kind.value, share: Number(share.value) };
    const name = this.kinds[kind.value]?.name;
    if (name) row[name] = Number(amount.value);
    if (seconds.value !== "") row.for = Number(seconds.value);
    this.put([...this.rows, row]);
  }

  async put(rows) {
    const answer = await fetch(`${this.url()}/faults`, { method: "PUT", body: JSON.stringify(rows) }).catch(() => null);
    this.error.textContent = answer === null ? "no server" : answer.ok ? "" : (await answer.text()).trim();
    if (answer?.ok) this.show(await answer.json());
  }

  show(rows) {
    this.rows = rows;
    this.about.textContent = rows.length ? "" : "none: it answers as it should";
    const texts = rows.map((row) => Object.entries(row).map(([name, value]) =>
      (name === "kind" ? value : `${name} ${typeof value === "number" ? +value.toFixed(1) : value}`)).join(", "));
    if (texts.join() === [...this.list.children].map((item) => item.textContent).join()) return;
    this.list.replaceChildren(...texts.map((text) => make("li", {}, text)));
  }
}
