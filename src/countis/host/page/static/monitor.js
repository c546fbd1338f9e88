// The frames on the meter's ports, a line each, newest at the top.

import { cells, make } from "./dom.js";

const MOST = 200;

const clock = (seconds) => {
  const time = new Date(seconds * 1000);
  return `${time.toLocaleTimeString("en-GB")}.${String(time.getMilliseconds()).padStart(3, "0")}`;
};

function written([symbol, value]) {
  if (value === null) return symbol;
  return `${symbol}=${typeof value === "number" ? +value.toPrecision(9) : value}`;
}

export class Monitor {
  constructor(body, about, pause, clear) {
    [this.body, this.about, this.paused, this.seen] = [body, about, false, 0];
    pause.addEventListener("click", () => {
      this.paused = !this.paused;
      pause.setAttribute("aria-pressed", String(this.paused));
    });
    clear.addEventListener("click", () => { this.body.replaceChildren(); this.seen = 0; this.count(); });
    this.count();
  }

  count() {
    this.about.textContent = this.seen ? `${this.seen} frames` : "no frame yet: connect a master to see what it says";
  }

  show(frames) {
    for (const frame of frames) this.seen += frame.skipped ? 2 * frame.skipped : 1;
    this.count();
    if (this.paused) return;
    for (const frame of frames) this.body.prepend(frame.skipped ? this.skipped(frame) : this.line(frame));
    while (this.body.children.length > MOST) this.body.lastChild.remove();
  }

  skipped(frame) {
    return make("tr", {}, make("td", { colspan: 6, class: "about" }, `${frame.skipped} more exchanges in between`));
  }

  line(frame) {
    const values = frame.direction === "request" && frame.function === 3 ? frame.values.map(([symbol]) => symbol).join(" ")
      : frame.values.map(written).join("  ");
    const direction = frame.direction === "request" ? "→ request" : "← reply";
    return make("tr", { class: frame.exception === null ? frame.direction : "exception", title: frame.bytes },
      ...cells(clock(frame.time), frame.port, frame.unit, direction, `FC${frame.function}`, values ? `${frame.text}: ${values}` : frame.text));
  }
}
