// The event log: fetched when the meter has noted something, newest at the top.

import { cells, make } from "./dom.js";

export class Events {
  constructor(body, about, url) {
    [this.body, this.about, this.url, this.seen] = [body, about, url, null];
  }

  async show(state) {
    const now = `${state.name} ${state.events}`;
    if (now === this.seen) return;
    this.seen = now;
    let rows = null;
    try {
      const answer = await fetch(`${this.url()}/events`);
      if (answer.ok) rows = await answer.json();
    } catch { /* the server is gone; the next state asks again */ }
    if (this.seen !== now) return; // it is another meter by now, or there is more
    if (rows === null) { this.seen = null; return; }
    this.about.textContent = rows.length ? `${state.events} in all${rows.length < state.events ? `, the last ${rows.length}` : ""}` : "none yet";
    this.body.replaceChildren(...rows.map(({ time, kind, subject, old, new: value, whence }) =>
      make("tr", {}, ...cells(time, kind, subject, [old, value].filter((part) => part !== "").join(" → "), whence))));
  }
}
