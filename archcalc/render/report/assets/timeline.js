// Live bytes during each op call, and who holds them at the cursor.
const TIME = { h: 240, left: 4, right: 4, top: 18, bottom: 20 };
const SHOWN = 12;

class Timeline {
  constructor(root, network) {
    this.network = network;
    this.live = network.live;
    this.slider = root.querySelector("input");
    this.moment = root.querySelector(".moment");
    this.holders = root.querySelector(".holders");
    if (!this.live.ops.length) {
      this.moment.textContent = "No op ran.";
      this.slider.disabled = true;
      return;
    }
    this.slider.max = this.live.ops.length - 1;
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
    this.at = Math.max(0, this.live.peak);
    const drawing = root.querySelector(".drawing");
    atWidth(drawing, (width) => {
      this.width = width;
      drawing.replaceChildren(this.drawing());
      this.show(this.at);
    });
  }

  across(call) {
    return TIME.left + ((this.width - TIME.left - TIME.right) * call) / this.live.ops.length;
  }

  up(bytes) {
    return TIME.h - TIME.bottom - ((TIME.h - TIME.top - TIME.bottom) * bytes) / Math.max(1, this.most);
  }

  drawing() {
    const { bytes, peak, phases } = this.live;
    this.most = bytes.reduce((most, each) => Math.max(most, each), 0);
    const edges = bytes.map((each, call) => `V${this.up(each).toFixed(1)}H${this.across(call + 1).toFixed(1)}`);
    const svg = drawn("svg", {
      viewBox: `0 0 ${this.width} ${TIME.h}`, role: "img",
      "aria-label": `${bytes.length} op calls; at most ${PRINT.bytes(this.most)}, during op call ${peak + 1}`,
      mousemove: (event) => this.follow(event), click: (event) => this.follow(event),
    });
    svg.append(drawn("path", { class: "area", d: `M${TIME.left} ${this.up(0)}${edges.join("")}V${this.up(0)}Z` }));
    let from = 0;
    for (const [phase, calls] of phases) {
      const [x, end] = [this.across(from), this.across(from + calls)];
      svg.append(drawn("line", { class: "phase", x1: x, x2: x, y1: TIME.top, y2: TIME.h - TIME.bottom }));
      if (end - x > 6.5 * phase.length) svg.append(drawn("text", { class: "axis", x: x + 3, y: TIME.h - 6 }, phase));
      from += calls;
    }
    const top = this.up(this.most);
    svg.append(
      drawn("line", { class: "peakline", x1: TIME.left, x2: this.width - TIME.right, y1: top, y2: top }),
      drawn("text", { class: "axis", x: TIME.left + 3, y: top - 5 }, `peak ${PRINT.bytes(this.most)}`),
    );
    this.line = drawn("line", { class: "cursorline", y1: TIME.top, y2: TIME.h - TIME.bottom });
    svg.append(this.line);
    this.svg = svg;
    return svg;
  }

  follow(event) {
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.width;
    const call = Math.floor(((x - TIME.left) / (this.width - TIME.left - TIME.right)) * this.live.ops.length);
    this.show(Math.min(this.live.ops.length - 1, Math.max(0, call)));
  }

  show(call) {
    const { ops, layer, bytes } = this.live;
    const { network } = this;
    this.at = call;
    const x = this.across(call + 0.5);
    this.line.setAttribute("x1", x);
    this.line.setAttribute("x2", x);
    this.slider.value = call;
    const phase = this.phase(call);
    const text = `op call ${call + 1} of ${ops.length} · ${phase} · ${network.label(layer[call])} · ${network.texts[ops[call]]} · ${PRINT.bytes(bytes[call])} live, ${percent(bytes[call], this.most)} of the peak`;
    this.moment.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
    const held = this.heldAt(call);
    this.holders.replaceChildren(
      this.table("Held, by the op that made it or by role", held.by, (by) => network.texts[by], bytes[call]),
      this.table("Held, by layer", held.layer, (n) => network.label(n), bytes[call]),
    );
  }

  phase(call) {
    let from = 0;
    for (const [phase, calls] of this.live.phases) {
      from += calls;
      if (call < from) return phase;
    }
    return "";
  }

  heldAt(call) {
    // Bytes and tensors by maker and by layer; the scratch of the kernel that runs belongs to its layer.
    const sums = { by: new Map(), layer: new Map() };
    const add = (map, key, amount) => {
      const [tensors, held] = map.get(key) || [0, 0];
      map.set(key, [tensors + 1, held + amount]);
    };
    for (const [amount, birth, death, by, layer] of this.live.storages) {
      if (birth <= call && call < death) {
        add(sums.by, by, amount);
        add(sums.layer, layer, amount);
      }
    }
    for (const [at, amount, by] of this.live.scratch) {
      if (at === call) {
        add(sums.by, by, amount);
        add(sums.layer, this.live.layer[call], amount);
      }
    }
    return sums;
  }

  table(title, sums, name, whole) {
    const rows = [...sums].sort((a, b) => b[1][1] - a[1][1]);
    const shown = rows.length > SHOWN + 1 ? rows.slice(0, SHOWN) : rows;
    const rest = rows.slice(shown.length);
    const lines = shown.map(([key, [tensors, held]]) => [name(key), tensors, held]);
    if (rest.length) lines.push([`${rest.length} others`, ...[0, 1].map((n) => rest.reduce((sum, row) => sum + row[1][n], 0))]);
    const head = element("tr", {}, ...["", "tensors", "size", "share"].map((text, n) => element("th", { scope: "col", class: n ? "number" : null }, text)));
    const body = lines.map(([text, tensors, held]) =>
      element("tr", {}, element("td", {}, text), element("td", { class: "number" }, PRINT.exact(tensors)), element("td", { class: "number" }, PRINT.bytes(held)),
        element("td", { class: "number" }, percent(held, whole))));
    return element("div", { class: "wide" }, element("table", {}, element("caption", {}, title), element("thead", {}, head), element("tbody", {}, ...body)));
  }
}
