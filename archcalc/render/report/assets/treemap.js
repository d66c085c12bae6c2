// Where a figure goes: rectangles whose areas are the figure, two levels of modules at a time.
const HEAD = 18;
let maps = 0;

function squarified(items, box) {
  // Bruls, Huizing and van Wijk 2000: rows along the shorter side, as long as the worst ratio of sides gets better.
  const places = [];
  let { x, y, w, h } = box;
  let rest = items.slice().sort((a, b) => b.value - a.value);
  let left = rest.reduce((sum, item) => sum + item.value, 0);
  while (rest.length && w > 0 && h > 0) {
    const side = Math.min(w, h);
    const scale = (w * h) / left;
    let row = [];
    let sum = 0;
    let worst = Infinity;
    for (const item of rest) {
      const next = sum + item.value;
      const values = [...row, item].map((each) => each.value * scale);
      const area = next * scale;
      const ratio = Math.max((side * side * Math.max(...values)) / (area * area), (area * area) / (side * side * Math.min(...values)));
      if (ratio > worst) break;
      row = [...row, item];
      sum = next;
      worst = ratio;
    }
    const thick = (sum * scale) / side;
    let at = 0;
    for (const item of row) {
      const long = (item.value * scale) / thick;
      places.push(w >= h ? { ...item, x, y: y + at, w: thick, h: long } : { ...item, x: x + at, y, w: long, h: thick });
      at += long;
    }
    if (w >= h) [x, w] = [x + thick, w - thick];
    else [y, h] = [y + thick, h - thick];
    left -= sum;
    rest = rest.slice(row.length);
  }
  return places;
}

class Treemap {
  constructor(root, network, choose) {
    this.network = network;
    this.choose = choose;
    this.drawing = root.querySelector(".drawing");
    this.crumbs = root.querySelector(".crumbs");
    this.select = root.querySelector(".figure");
    for (const { key, words } of network.figures) {
      if (network.total[key][0] > 0) this.select.append(element("option", { value: key }, words));
    }
    this.area = root.querySelector(".area-is");
    this.select.addEventListener("change", () => this.show(this.at));
    maps += 1;
    this.hatch = `hatch-${maps}`;
    this.types = [...new Set(network.type)];
    this.chosen = 0;
    this.at = 0;
    atWidth(this.drawing, (width) => {
      this.width = width;
      this.height = Math.round(Math.min(520, Math.max(300, 0.56 * width)));
      this.show(this.at);
    });
  }

  get figure() {
    return this.select.value;
  }

  parts(n) {
    // What a module is made of: the layers inside, and what it does itself.
    const { network, figure } = this;
    if (!figure) return [];
    const inside = network.children[n].map((child) => ({ n: child, value: network.total[figure][child], itself: false }));
    const own = { n, value: network.own[figure][n], itself: network.children[n].length > 0 };
    return [...inside, own].filter(({ value }) => value > 0);
  }

  show(n) {
    this.at = n;
    const svg = drawn("svg", {
      viewBox: `0 0 ${this.width} ${this.height}`,
      role: "group",
      "aria-label": this.figure ? `${this.network.words(this.figure)} inside ${this.network.label(n)}` : "nothing to draw",
      keydown: (event) => this.pressed(event),
    });
    svg.append(drawn("defs", {}, drawn("pattern", { id: this.hatch, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      drawn("line", { x1: 0, y1: 0, x2: 0, y2: 7, class: "hatch" }))));
    for (const place of squarified(this.parts(n), { x: 0, y: 0, w: this.width, h: this.height })) this.draw(svg, place);
    this.drawing.replaceChildren(svg);
    this.area.textContent = this.figure ? this.network.words(this.figure) : "nothing";
    this.crumbs.replaceChildren(...this.network.above(n).map((each) => this.crumb(each, each === n)));
    this.tiles = [...svg.querySelectorAll(".tile")];
    if (this.tiles.length) this.tiles[0].setAttribute("tabindex", "0");
    this.mark(this.chosen);
  }

  crumb(n, here) {
    const shown = () => this.go(n, false);
    return element("button", { type: "button", "aria-current": here ? "location" : null, click: shown }, n ? `› ${this.network.short(n)}` : this.network.name);
  }

  draw(svg, place) {
    const inner = place.itself ? [] : this.parts(place.n);
    const divided = inner.length > 1 || (inner.length === 1 && inner[0].n !== place.n);
    if (divided && place.w > 60 && place.h > 50) {
      svg.append(this.tile(place, true));
      const box = { x: place.x + 3, y: place.y + HEAD, w: place.w - 6, h: place.h - HEAD - 3 };
      for (const part of squarified(inner, box)) svg.append(this.tile(part, false));
    } else {
      svg.append(this.tile(place, false));
    }
  }

  tile(place, group) {
    const { network, figure } = this;
    const { n, x, y, w, h, value, itself } = place;
    const name = itself ? `${network.short(n)} (itself)` : network.short(n);
    const amount = network.print(figure, value);
    const said = `${network.label(n)}${itself ? " (itself)" : ""}, ${network.typeOf(n)}, ${amount} ${network.words(figure)}, ${percent(value, network.total[figure][0])} of the model`;
    const tile = drawn("g", {
      class: `tile${group ? " group" : ""}`, role: "button", tabindex: "-1", "aria-label": said, "data-layer": n, "data-itself": itself,
      click: () => this.go(n, itself),
    });
    const colour = `t${this.types.indexOf(network.type[n]) % 8}`;
    const box = { x, y, width: Math.max(w, 0), height: Math.max(h, 0) };
    tile.append(drawn("title", {}, said), drawn("rect", { ...box, class: group ? null : colour }));
    if (itself) tile.append(drawn("rect", { ...box, fill: `url(#${this.hatch})` }));
    const room = Math.floor((w - 8) / 6.6);
    if (room >= 3 && h >= 16) tile.append(drawn("text", { x: x + 4, y: y + 13 }, cut(group ? `${name} · ${amount}` : name, room)));
    if (!group && h >= 32 && room >= amount.length) tile.append(drawn("text", { x: x + 4, y: y + 27, class: "value" }, amount));
    return tile;
  }

  go(n, itself) {
    // Into a module that has something inside; any layer is chosen.
    this.choose(n);
    if (!itself && this.network.children[n].length && n !== this.at) {
      this.show(n);
      if (this.tiles.length) this.tiles[0].focus({ preventScroll: true });
    }
  }

  mark(n) {
    this.chosen = n;
    for (const tile of this.tiles) tile.classList.toggle("chosen", n > 0 && Number(tile.dataset.layer) === n);
  }

  pressed(event) {
    const place = this.tiles.indexOf(document.activeElement);
    const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    if (event.key in moves) this.focus((place + moves[event.key] + this.tiles.length) % this.tiles.length);
    else if (event.key === "Home") this.focus(0);
    else if (event.key === "End") this.focus(this.tiles.length - 1);
    else if (event.key === "Enter" || event.key === " ") this.tiles[place]?.dispatchEvent(new MouseEvent("click"));
    else if (event.key === "Escape" && this.at > 0) this.go(this.network.parent[this.at], false);
    else return;
    event.preventDefault();
  }

  focus(place) {
    for (const tile of this.tiles) tile.setAttribute("tabindex", "-1");
    this.tiles[place].setAttribute("tabindex", "0");
    this.tiles[place].focus();
  }
}

function cut(text, room) {
  return text.length <= room ? text : `${text.slice(0, Math.max(1, room - 1))}…`;
}
