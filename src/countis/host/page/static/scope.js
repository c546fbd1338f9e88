// The six waveforms, and the phasors of their fundamentals, on two canvases.

const CHANNELS = ["V1", "V2", "V3", "I1", "I2", "I3"];
const V_STEP = 0.1, I_STEP = 0.001; // what one count of the server's integers is

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, sans-serif";
  return [pen, width, height];
}

// The next 1, 2 or 5 above a value, so that the scale stands still.
function rounded(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((k) => k * power).find((top) => top >= value);
}

export class Scope {
  constructor(canvas, span) {
    [this.canvas, this.span, this.scope] = [canvas, span, null];
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(scope) {
    this.scope = scope;
    this.draw();
  }

  draw() {
    const [pen, width, height] = fit(this.canvas);
    if (!this.scope) return;
    const half = height / 2;
    this.panel(pen, CHANNELS.slice(0, 3), V_STEP, "V", 6, half - 12, width, 10);
    this.panel(pen, CHANNELS.slice(3), I_STEP, "A", half + 6, half - 12, width, 0.05);
    this.span.textContent = `${this.scope.ms.toFixed(1)} ms, secondary A`;
  }

  panel(pen, names, step, unit, top, height, width, least) {
    const waves = names.map((name) => this.scope.waves[name].map((value) => value * step));
    const peak = rounded(Math.max(least, ...waves.flat().map(Math.abs)));
    const middle = top + height / 2;
    const y = (value) => middle - (value / peak) * (height / 2 - 2);
    pen.lineWidth = 1;
    pen.strokeStyle = colour("--line");
    pen.beginPath();
    for (const value of [-peak, -peak / 2, 0, peak / 2, peak]) { pen.moveTo(0, y(value)); pen.lineTo(width, y(value)); }
    for (let k = 1; k < 8; k += 1) { pen.moveTo((width * k) / 8, top); pen.lineTo((width * k) / 8, top + height); }
    pen.stroke();
    waves.forEach((wave, k) => {
      pen.strokeStyle = colour(`--phase-${k + 1}`);
      pen.lineWidth = 1.8;
      pen.beginPath();
      wave.forEach((value, n) => pen[n ? "lineTo" : "moveTo"]((width * n) / (wave.length - 1), y(value)));
      pen.stroke();
    });
    pen.fillStyle = colour("--quiet");
    pen.fillText(`±${peak} ${unit}`, 4, top + 12);
    names.forEach((name, k) => {
      pen.fillStyle = colour(`--phase-${k + 1}`);
      pen.fillText(name, width - 84 + 28 * k, top + 12);
    });
  }
}

// The fundamental of a wave that holds whole cycles: RMS and angle.
function fundamental(wave, cycles) {
  let [re, im] = [0, 0];
  wave.forEach((value, n) => {
    const angle = (2 * Math.PI * cycles * n) / wave.length;
    re += value * Math.sin(angle);
    im += value * Math.cos(angle);
  });
  return [Math.hypot(re, im) * Math.SQRT2 / wave.length, Math.atan2(im, re)];
}

export class Phasors {
  constructor(canvas) {
    [this.canvas, this.scope] = [canvas, null];
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(scope) {
    this.scope = scope;
    this.draw();
  }

  draw() {
    const [pen, width, height] = fit(this.canvas);
    if (!this.scope) return;
    const found = CHANNELS.map((name) => fundamental(this.scope.waves[name], this.scope.cycles));
    const reference = found[0][0] > 50 ? found[0][1] : 0;
    const [x, y, radius] = [width / 2 - 40, height / 2, Math.min(width / 2 - 44, height / 2 - 12)];
    this.grid(pen, x, y, radius);
    const volts = Math.max(...found.slice(0, 3).map(([rms]) => rms)), amperes = Math.max(...found.slice(3).map(([rms]) => rms));
    found.forEach(([rms, angle], k) => {
      const whole = k < 3 ? volts : amperes;
      const least = k < 3 ? 1 / V_STEP : 0.002 / I_STEP;
      const turned = angle - reference;
      if (rms > least) this.arrow(pen, x, y, turned, (rms / whole) * radius * (k < 3 ? 1 : 0.66), colour(`--phase-${(k % 3) + 1}`), k < 3);
      const degrees = ((turned * 180) / Math.PI + 540) % 360 - 180;
      pen.fillStyle = colour(`--phase-${(k % 3) + 1}`);
      pen.fillText(`${CHANNELS[k]} ${rms > least ? `${degrees.toFixed(1)}°` : "–"}`, width - 76, 20 + 19 * k + (k > 2 ? 8 : 0));
    });
  }

  grid(pen, x, y, radius) {
    pen.strokeStyle = colour("--line");
    pen.lineWidth = 1;
    pen.beginPath();
    for (const part of [1, 0.5]) { pen.moveTo(x + radius * part, y); pen.arc(x, y, radius * part, 0, 2 * Math.PI); }
    for (let k = 0; k < 6; k += 1) {
      const [dx, dy] = [Math.cos((k * Math.PI) / 6) * radius, Math.sin((k * Math.PI) / 6) * radius];
      pen.moveTo(x - dx, y - dy);
      pen.lineTo(x + dx, y + dy);
    }
    pen.stroke();
  }

  arrow(pen, x, y, angle, length, ink, thin) {
    const [dx, dy] = [Math.cos(angle), -Math.sin(angle)];
    const [tx, ty] = [x + dx * length, y + dy * length];
    pen.strokeStyle = pen.fillStyle = ink;
    pen.lineWidth = thin ? 1.6 : 3.4;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(tx - dx * 7, ty - dy * 7);
    pen.stroke();
    pen.beginPath();
    pen.moveTo(tx, ty);
    pen.lineTo(tx - dx * 11 - dy * 5, ty - dy * 11 + dx * 5);
    pen.lineTo(tx - dx * 11 + dy * 5, ty - dy * 11 - dx * 5);
    pen.fill();
  }
}
