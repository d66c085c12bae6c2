// The roof of a device, and each layer that multiplies as a point under it; both axes are logarithms.
const ROOF = { h: 340, left: 60, right: 12, top: 14, bottom: 34 };

class RooflinePlot {
  constructor(root, network, choose) {
    Object.assign(this, { network, choose });
    this.roof = network.roofline;
    this.points = this.roof.points.map(([n, flops, bytes, time]) => ({ n, x: flops / bytes, y: (flops * 1e15) / time }));
    const ridge = this.roof.peak / this.roof.bandwidth;
    const xs = [ridge, ...this.points.map(({ x }) => x)];
    const ys = [this.roof.peak, ...this.points.map(({ y }) => y)];
    this.box = { x0: Math.min(...xs) / 2, x1: Math.max(...xs) * 2, y0: Math.min(...ys) / 2, y1: this.roof.peak * 1.6 };
    this.chosen = 0;
    const drawing = root.querySelector(".drawing");
    atWidth(drawing, (width) => {
      this.width = width;
      drawing.replaceChildren(this.drawing(ridge));
      this.mark(this.chosen);
    });
  }

  across(x) {
    const { x0, x1 } = this.box;
    return ROOF.left + ((this.width - ROOF.left - ROOF.right) * Math.log(x / x0)) / Math.log(x1 / x0);
  }

  up(y) {
    const { y0, y1 } = this.box;
    return ROOF.h - ROOF.bottom - ((ROOF.h - ROOF.top - ROOF.bottom) * Math.log(y / y0)) / Math.log(y1 / y0);
  }

  drawing(ridge) {
    const { peak, bandwidth, device } = this.roof;
    const { x0, x1, y0, y1 } = this.box;
    const low = Math.max(x0, y0 / bandwidth);
    const svg = drawn("svg", {
      viewBox: `0 0 ${this.width} ${ROOF.h}`, role: "group", keydown: (event) => this.pressed(event),
      "aria-label": `roofline of ${device}: ${this.points.length} layers, ridge at ${ridge.toPrecision(3)} FLOP a byte`,
    });
    for (const x of decades(x0, x1)) svg.append(...this.tick(this.across(x), ROOF.h - ROOF.bottom + 14, "middle", String(x), [this.across(x), this.across(x), ROOF.top, ROOF.h - ROOF.bottom]));
    for (const y of decades(y0, y1)) svg.append(...this.tick(ROOF.left - 5, this.up(y) + 4, "end", PRINT.si(y).replace(/\.0+(?= |$)/, ""), [ROOF.left, this.width - ROOF.right, this.up(y), this.up(y)]));
    svg.append(
      drawn("text", { class: "axis", x: this.width - ROOF.right, y: ROOF.h - 5, "text-anchor": "end" }, "FLOP a byte"),
      drawn("text", { class: "axis", x: ROOF.left + 6, y: ROOF.top + 10 }, "FLOP/s at most"),
      drawn("polyline", { class: "roofedge", points: [[low, low * bandwidth], [ridge, peak], [x1, peak]].map(([x, y]) => `${this.across(x)},${this.up(y)}`).join(" ") }),
      drawn("line", { class: "peakline", x1: this.across(ridge), x2: this.across(ridge), y1: this.up(peak), y2: ROOF.h - ROOF.bottom }),
    );
    this.marks = this.points.map((point) => this.mark_of(point));
    if (this.marks.length) this.marks[0].setAttribute("tabindex", "0");
    svg.append(...this.marks);
    return svg;
  }

  tick(x, y, anchor, text, [x1, x2, y1, y2]) {
    return [drawn("line", { class: "phase", x1, x2, y1, y2 }), drawn("text", { class: "axis", x, y, "text-anchor": anchor }, text)];
  }

  mark_of({ n, x, y }) {
    const { network } = this;
    const said = `${network.label(n)}, ${network.typeOf(n)}: ${x.toPrecision(3)} FLOP a byte, ${PRINT.si(Math.round(y))} FLOP/s at most`;
    return drawn("circle", {
      class: "point", cx: this.across(x), cy: this.up(y), r: 5, role: "button", tabindex: "-1", "aria-label": said, "data-layer": n,
      click: () => this.choose(n),
    }, drawn("title", {}, said));
  }

  mark(n) {
    this.chosen = n;
    for (const each of this.marks) each.classList.toggle("chosen", n > 0 && Number(each.dataset.layer) === n);
  }

  pressed(event) {
    const place = this.marks.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && place >= 0) {
      const next = this.marks[(place + step + this.marks.length) % this.marks.length];
      this.marks[place].setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    } else if ((event.key === "Enter" || event.key === " ") && place >= 0) this.choose(this.points[place].n);
    else return;
    event.preventDefault();
  }
}

function decades(low, high) {
  const found = [];
  for (let power = Math.ceil(Math.log10(low)); 10 ** power <= high; power += 1) found.push(Number(`1e${power}`));
  return found;
}
