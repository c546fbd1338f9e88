// The event log: fetched when the meter has noted something, newest at the top.

export class Events {
  constructor(body, about, address) {
    [this.body, this.about, this.address, this.seen] = [body, about, address, null];
  }

  async show(state) {
    const now = `${state.address} ${state.events}`;
    if (now === this.seen) return;
    this.seen = now;
    const answer = await fetch(`/api/meters/${this.address()}/events`);
    if (!answer.ok) { this.seen = null; return; }
    const rows = await answer.json();
    this.about.textContent = rows.length ? `${state.events} in all${rows.length < state.events ? `, the last ${rows.length}` : ""}` : "none yet";
    this.body.replaceChildren(...rows.map((row) => this.line(row)));
  }

  line({ time, kind, subject, old, new: value, whence }) {
    const row = document.createElement("tr");
    for (const text of [time, kind, subject, [old, value].filter((part) => part !== "").join(" → "), whence]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    return row;
  }
}
