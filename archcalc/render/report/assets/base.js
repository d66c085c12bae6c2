"use strict";
// Elements, numbers as text, and the network of one report. Texts reach the page as text nodes alone.
const SVG = "http://www.w3.org/2000/svg";

function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function atWidth(drawing, draw) {
  // Draw for the width that the page gives, now and whenever it changes, so that letters keep their size and nothing is
  // cut off; a part that is hidden has no width yet.
  let width = 0;
  const renew = () => {
    const now = Math.round(drawing.clientWidth) || width || 1000;
    if (now !== width) draw((width = now));
  };
  renew();
  new ResizeObserver(renew).observe(drawing);
}

function scaled(value, base, units) {
  // Four significant figures in the largest unit that keeps the number below the base; whole numbers stay whole.
  if (Math.abs(value) < base) return `${value} ${units[0]}`.trim();
  let number = value;
  let place = 0;
  while (Number(Math.abs(number).toPrecision(4)) >= base && place < units.length - 1) {
    number /= base;
    place += 1;
  }
  const digits = Math.max(0, 4 - String(Math.trunc(Number(Math.abs(number).toPrecision(4)))).length);
  const text = Number(number.toPrecision(4)).toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return `${text} ${units[place]}`.trim();
}

const PRINT = {
  exact: (value) => value.toLocaleString("en-US"),
  si: (value) => scaled(value, 1000, ["", "k", "M", "G", "T", "P", "E"]),
  bytes: (value) => scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]),
  time: (femtoseconds) => duration(femtoseconds / 1e15),
};

function duration(seconds) {
  // Three significant figures in the largest unit that the time reaches.
  if (!seconds) return "0 s";
  const rounded = Number(seconds.toPrecision(3));
  const [unit, size] = [["s", 1], ["ms", 1e-3], ["µs", 1e-6], ["ns", 1e-9]].find((pair) => rounded >= pair[1]) || ["ns", 1e-9];
  const number = Number((seconds / size).toPrecision(3));
  const digits = number >= 1 ? Math.max(0, 3 - String(Math.trunc(number)).length) : 4;
  const text = number.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${text} ${unit}`;
}

function percent(part, whole) {
  return whole ? `${((100 * part) / whole).toFixed(1)}\u00a0%` : "0.0\u00a0%"; // a number and its unit stay in one line
}

class Network {
  // Layers by number, parents first. own[key] are a layer's own figures, total[key] those with all layers inside.
  constructor(data) {
    Object.assign(this, data.layers);
    this.name = data.name;
    this.texts = data.texts;
    this.figures = data.figures;
    this.live = data.live;
    this.roofline = data.roofline;
    this.lowerBounds = new Set(data.lowerBounds);
    this.size = this.path.length;
    this.children = this.path.map(() => []);
    this.depth = new Array(this.size).fill(0);
    for (let n = 1; n < this.size; n += 1) {
      this.children[this.parent[n]].push(n);
      this.depth[n] = this.depth[this.parent[n]] + 1;
    }
    this.total = {};
    for (const { key } of this.figures) {
      const sums = this.own[key].slice();
      for (let n = this.size - 1; n > 0; n -= 1) sums[this.parent[n]] += sums[n];
      this.total[key] = sums;
    }
  }

  label(n) {
    return this.path[n] || this.name;
  }

  short(n) {
    // The last part of a path, below its parent's.
    if (n === 0) return this.name;
    const above = this.path[this.parent[n]];
    return above && this.path[n].startsWith(`${above}.`) ? this.path[n].slice(above.length + 1) : this.path[n];
  }

  typeOf(n) {
    return this.texts[this.type[n]];
  }

  words(figure) {
    return this.figures.find(({ key }) => key === figure).words;
  }

  print(figure, value) {
    return PRINT[this.figures.find(({ key }) => key === figure).kind](value);
  }

  above(n) {
    // The layers that hold a layer, the whole model first, and the layer itself.
    const path = [];
    for (let at = n; at >= 0; at = this.parent[at]) path.unshift(at);
    return path;
  }
}
