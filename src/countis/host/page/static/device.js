// The meter as it stands in a cabinet: housing of four modules, terminals with their labels, plate, lamps; the LCD in its window.

import { Lcd, svg } from "./lcd.js";

const TOP = [["1", "NC"], ["2", "−"], ["3", "+"], ["4", "−"], ["5", "+"], ["6", ""], ["7", ""]];
const TOP_GROUPS = [["RS485", 0, 2], ["PULSE 5…27 V DC", 3, 4], ["TARIFF 80…276 V", 5, 6]];
const BOTTOM = [["A", "S1"], ["A", "S2"], ["V", ""], ["A", "S1"], ["A", "S2"], ["V", ""], ["A", "S1"], ["A", "S2"], ["V", ""], ["N", ""]];

const label = (x, y, text, size = 15, more = {}) =>
  svg("text", { x, y, "font-size": size, "text-anchor": "middle", class: "print", ...more }, document.createTextNode(text));

function screw(x, y, turn) {
  return svg("g", { transform: `translate(${x} ${y})` }, svg("circle", { r: 23, class: "well" }), svg("circle", { r: 17, class: "screw" }),
    svg("rect", { x: -14, y: -2.4, width: 28, height: 4.8, rx: 1.5, class: "slot", transform: `rotate(${turn})` }));
}

function terminals() {
  const group = svg("g");
  TOP.forEach(([number, sign], k) => {
    const x = 90 + k * 90;
    group.append(screw(x, 66, 20 + 37 * k), label(x, 118, number, 17), label(x, 137, sign, 14));
  });
  TOP_GROUPS.forEach(([name, first, last]) => {
    const [x0, x1] = [62 + first * 90, 118 + last * 90];
    group.append(svg("path", { d: `M${x0} 152v-6H${x1}v6`, class: "bracket" }), label((x0 + x1) / 2, 168, name, 14));
  });
  BOTTOM.forEach(([kind, sign], k) => {
    const x = 58 + k * 67;
    group.append(screw(x, 832, 70 + 53 * k), label(x, 786, kind, 16), label(x, 803, sign, 11));
  });
  ["L1", "L2", "L3"].forEach((phase, k) => {
    const [x0, x1] = [34 + k * 201, 216 + k * 201];
    group.append(svg("path", { d: `M${x0} 762v6H${x1}v-6`, class: "bracket" }), label((x0 + x1) / 2, 757, phase, 17));
  });
  return group;
}

function plate({ mid, plate: lines }) {
  const group = svg("g", { class: "plate" });
  const line = (x, y, text, size = 14) => label(x, y, text, size, { "text-anchor": "start" });
  group.append(svg("rect", { x: 56, y: 566, width: 424, height: 132, rx: 4, class: "sticker" }));
  lines.forEach((text, k) => group.append(line(70, 590 + 22 * k, text)));
  group.append(line(70, 678, "", 13));
  group.lastChild.id = "serial";
  if (mid) {
    group.append(svg("rect", { x: 376, y: 580, width: 90, height: 50, rx: 3, class: "frame" }),
      label(421, 603, "MID", 21), label(421, 622, "2014/32/EU", 13));
  }
  group.append(label(421, 652, "virtual meter", 13), label(421, 668, "no legal value", 13));
  return group;
}

function sealed() {
  return svg("g", { id: "sealing", class: "seal", transform: "translate(640 726)" },
    svg("path", { d: "M-34 22C-30-8-8-8 0 4s28 4 30-20", class: "wire" }), svg("circle", { r: 19, class: "lead" }),
    svg("path", { d: "M-8 0h16M0-8v16", class: "mark" }));
}

export class Device {
  constructor(host, vocabulary) {
    this.models = vocabulary.models;
    this.lcd = new Lcd(vocabulary.lcd_units);
    this.drawing = svg("svg", { viewBox: "0 0 720 900", class: "housing", "aria-hidden": "true" });
    host.prepend(this.drawing);
    this.window = document.createElement("div");
    this.window.className = "window";
    this.window.append(this.lcd.element);
    host.append(this.window);
    this.model = null;
  }

  // Draw the housing of a model; again only when it is another.
  draw(model) {
    if (this.model === model) return;
    this.model = model;
    const known = this.models[model];
    const body = [
      svg("rect", { x: 4, y: 4, width: 712, height: 892, rx: 14, class: "case" }),
      svg("rect", { x: 4, y: 4, width: 712, height: 176, rx: 14, class: "cover" }), svg("rect", { x: 4, y: 730, width: 712, height: 166, rx: 14, class: "cover" }),
      ...[184, 362, 540].flatMap((x) => [svg("path", { d: `M${x} 8v22M${x} 868v22`, class: "module" })]),
      svg("rect", { x: 22, y: 190, width: 676, height: 530, rx: 10, class: "front" }),
      label(58, 232, "COUNTIS", 30, { "text-anchor": "start", class: "print brand" }), label(214, 232, model, 30, { "text-anchor": "start", class: "print" }),
      label(662, 222, known.reference, 14, { "text-anchor": "end" }), label(662, 240, "3-phase energy meter", 13, { "text-anchor": "end" }),
      svg("rect", { x: 48, y: 254, width: 624, height: 216, rx: 8, class: "bezel" }),
      svg("circle", { cx: 600, cy: 592, r: 10, class: "led", id: "led" }), label(600, 628, "1000 imp/kWh", 14),
      svg("circle", { cx: 600, cy: 674, r: 8, class: "lamp", id: "lamp" }), label(600, 702, "output 4-5", 13),
      label(160, 548, "SET", 16), label(360, 548, "▲", 18), label(560, 548, "↵", 20), plate(known), terminals(),
    ];
    if (known.sealable) body.push(sealed());
    this.drawing.replaceChildren(...body);
  }

  state(state) {
    this.draw(state.model);
    const serial = this.drawing.querySelector("#serial");
    serial.textContent = state.settings.serial_number === "" ? "" : `No. ${state.settings.serial_number}`;
    this.drawing.querySelector("#sealing")?.classList.toggle("closed", state.settings.sealed === 1);
  }

  // Flash what flashed, each as long ago as it was, a little later so that all can be shown in their rhythm.
  lights(lights) {
    for (const [output, ago] of lights) {
      const lamp = output === "led" ? "#led" : "#lamp";
      setTimeout(() => this.flash(lamp, output === "led" ? 40 : 80), Math.max(0, 600 - ago));
    }
  }

  flash(id, ms) {
    const lamp = this.drawing.querySelector(id);
    if (!lamp) return;
    lamp.classList.add("on");
    clearTimeout(lamp.timer);
    lamp.timer = setTimeout(() => lamp.classList.remove("on"), ms);
  }
}
