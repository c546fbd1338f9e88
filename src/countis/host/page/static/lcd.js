// The LCD as SVG: every segment and sign is an element with data-seg, lit or faint; the frame says which.

const NS = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const points = (...list) => `M${list.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}Z`;

// A bar between two points, its ends cut to a point, as LCDs have them.
function bar([x0, y0], [x1, y1], width) {
  const length = Math.hypot(x1 - x0, y1 - y0);
  const [ux, uy] = [(x1 - x0) / length, (y1 - y0) / length];
  const [nx, ny] = [-uy * width / 2, ux * width / 2];
  const cut = width / 2;
  const [ax, ay, bx, by] = [x0 + ux * cut, y0 + uy * cut, x1 - ux * cut, y1 - uy * cut];
  return points([x0, y0], [ax + nx, ay + ny], [bx + nx, by + ny], [x1, y1], [bx - nx, by - ny], [ax - nx, ay - ny]);
}

// The fourteen segments of a character w wide and h high.
function character(w, h, thick) {
  const [l, r, t, m, b, c, gap] = [0, w, 0, h / 2, h, w / 2, thick * 0.08 + 0.4];
  const across = (x0, x1, y) => bar([x0 + gap, y], [x1 - gap, y], thick);
  const down = (x, y0, y1) => bar([x, y0 + gap], [x, y1 - gap], thick);
  const inset = thick * 0.95;
  const spoke = (x0, y0, x1, y1) => bar([x0, y0], [x1, y1], thick * 0.62);
  return {
    a: across(l, r, t), b: down(r, t, m), c: down(r, m, b), d: across(l, r, b), e: down(l, m, b), f: down(l, t, m),
    g: across(l, c, m), h: across(c, r, m), j: down(c, t + thick * 0.5, m), m: down(c, m, b - thick * 0.5),
    i: spoke(l + inset, t + inset, c - inset * 0.6, m - inset * 0.7), k: spoke(r - inset, t + inset, c + inset * 0.6, m - inset * 0.7),
    l: spoke(l + inset, b - inset, c - inset * 0.6, m + inset * 0.7), n: spoke(r - inset, b - inset, c + inset * 0.6, m + inset * 0.7),
  };
}

function zone(name, count, x, y, w, h, pitch, thick) {
  const group = svg("g", { transform: `translate(${x} ${y}) skewX(-5)` });
  const shapes = character(w, h, thick);
  for (let place = 0; place < count; place += 1) {
    const at = svg("g", { transform: `translate(${place * pitch} 0)` });
    for (const [letter, d] of Object.entries(shapes)) {
      at.append(svg("path", { d, "data-seg": `${name}.${place}.${letter}` }));
    }
    const [dot, dx] = [thick * 0.62, w + (pitch - w) / 2];
    at.append(svg("circle", { cx: dx, cy: h, r: dot, "data-seg": `${name}.${place}.point` }));
    group.append(at);
  }
  return group;
}

const word = (seg, text, x, y, size, more = {}) =>
  svg("text", { x, y, "font-size": size, "data-seg": seg, ...more }, document.createTextNode(text));

function icon(seg, x, y, d, more = {}) {
  return svg("path", { d, transform: `translate(${x} ${y})`, "data-seg": seg, ...more });
}

const TURN = "M9 3a7 7 0 1 1-6 3.4l-2.6-1.2 6-4.2.6 7-2-1a5 5 0 1 0 4-2z";
const WRENCH = "M17 4l-4 4-3-3 4-4a6 6 0 0 0-8 8l-6 6 3 3 6-6a6 6 0 0 0 8-8z";
const SPEAK = "M1 4h16v9H9l-4 4v-4H1zM4 7v1.6h10V7zM4 10v1.6h6V10z";
const PULSE = "M0 14h4V3h6v11h3V3h6v2.4h-3.6v11H7.6v-11H6.4v11H0z";
const FAULT = "M10 0l10 18H0zM9 6v6h2V6zM9 14v2h2v-2z";
const FLASH = "M11 0L2 11h5L4 20 15 8H9l5-8z";

// Pieces of the unit, in the order in which they are read.
const PIECES = [["k", 534, 84], ["M", 549, 84], ["V", 534, 108], ["W", 552, 108], ["var", 534, 130], ["VA", 566, 130], ["A", 573, 108],
  ["PF", 569, 84], ["Hz", 534, 149], ["h", 580, 149]];
function pieces(unit) {
  const rest = /^[kM]./.test(unit) ? [unit[0], unit.slice(1)] : [unit];
  const last = rest.pop();
  return last.endsWith("h") ? [...rest, last.slice(0, -1), "h"] : [...rest, last];
}

export class Lcd {
  // units: all that the LCD can show
  constructor(units) {
    this.pieces = Object.fromEntries(units.map((unit) => [unit, pieces(unit)]));
    this.element = svg("svg", { viewBox: "0 0 606 200", class: "lcd", role: "img" });
    this.element.append(svg("rect", { class: "glass", width: 606, height: 200, rx: 5 }), this.signs(),
      zone("menu", 7, 150, 16, 13, 27, 21, 3.6), zone("code", 5, 316, 16, 13, 27, 21, 3.6), zone("digits", 8, 131, 66, 34, 75, 49.5, 8.4));
    this.parts = new Map([...this.element.querySelectorAll("[data-seg]")].map((part) => [part.dataset.seg, part]));
  }

  signs() {
    const group = svg("g", { class: "signs" });
    group.append(
      icon("sign.123", 8, 14, TURN), word("sign.123", "123", 26, 30, 15), icon("sign.132", 62, 14, TURN),
      word("sign.132", "132", 80, 30, 15), icon("sign.!", 118, 12, FLASH),
      icon("sign.setup", 442, 14, WRENCH), icon("sign.com", 478, 14, SPEAK), icon("sign.pulse", 514, 14, PULSE),
      icon("sign.fault", 556, 12, FAULT, { "fill-rule": "evenodd" }),
      word("sign.Σ", "Σ", 8, 84, 22), word("sign.L1", "L1", 30, 80, 15), word("sign.L2", "L2", 52, 80, 15), word("sign.L3", "L3", 74, 80, 15),
      word("sign.L1 2 3", "L1 2 3", 8, 110, 15), word("sign.L12 23 31", "L12 23 31", 8, 130, 15),
      icon("sign.→", 78, 98, "M0 4h14V0l10 7-10 7v-4H0z"), icon("sign.←", 78, 136, "M24 4H10V0L0 7l10 7v-4h14z"),
      svg("rect", { x: 107, y: 101, width: 14, height: 6, "data-seg": "sign.-" }));
    ["Ea", "Er", "Eap", "ind", "cap", "par", "bal"].forEach((name, k) => {
      group.append(word(`sign.${name}`, name, [8, 40, 72, 128, 168, 226, 262][k], 186, 17));
    });
    ["T1", "T2", "T3", "T4"].forEach((name, k) => group.append(word(`sign.${name}`, name, 340 + 38 * k, 186, 18)));
    group.append(svg("path", { d: "M332 168h156v24H332zM334.500 170.500v19h151v-19z", "fill-rule": "evenodd", "data-seg": "sign.own" }));
    PIECES.forEach(([piece, x, y]) => group.append(word(`unit.${piece}`, piece, x, y, 18)));
    return group;
  }

  // Show a frame: which segments are lit, which of them flash and are off just now.
  show(frame) {
    const lit = new Set(frame.segments.flatMap((name) =>
      name.startsWith("unit.") ? this.pieces[name.slice(5)].map((piece) => `unit.${piece}`) : [name]));
    const hidden = new Set(frame.phase ? [] : frame.flashes);
    for (const part of this.element.querySelectorAll("[data-seg]")) {
      const name = part.dataset.seg;
      part.classList.toggle("lit", lit.has(name) && !hidden.has(name));
      part.classList.toggle("flashed", hidden.has(name));
    }
    this.element.dataset.lcd = frame.text;
    this.element.classList.toggle("light", frame.light);
    this.element.setAttribute("aria-label", frame.text === "" ? "LCD: blank" : `LCD: ${frame.text}`);
  }
}
