// The layer table: a tree that folds, or a list that a figure sorts; and the words about a chosen layer.
const ROWS = 1500;

class LayerTable {
  constructor(root, network, choose) {
    Object.assign(this, { network, choose });
    const find = (name) => root.querySelector(name);
    this.table = find("table");
    this.count = find(".count");
    this.search = find(".search");
    this.sort = null;
    this.search.addEventListener("input", () => this.show());
    find(".fold").addEventListener("click", () => this.openTo(1));
    find(".unfold").addEventListener("click", () => this.openTo(1e9));
    this.order = find(".order");
    this.order.addEventListener("click", () => this.sortBy(null));
    this.openTo(network.size > 60 ? 1 : network.size);
  }

  openTo(depth) {
    this.open = new Set([...this.network.path.keys()].filter((n) => this.network.depth[n] < depth));
    this.show();
  }

  sortBy(key) {
    this.sort = key;
    this.show();
  }

  found() {
    // The layers that the search names by path or type; all of them without one.
    const words = this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const { network } = this;
    const all = [...network.path.keys()];
    return all.filter((n) => words.every((word) => `${network.label(n)} ${network.typeOf(n)}`.toLowerCase().includes(word)));
  }

  rows() {
    const { network, sort } = this;
    const found = this.found();
    if (sort) {
      const own = network.own[sort];
      return found.filter((n) => own[n] > 0 || !network.children[n].length).sort((a, b) => own[b] - own[a]);
    }
    if (this.search.value.trim()) {
      const shown = new Set(found.flatMap((n) => network.above(n)));
      return [...shown].sort((a, b) => a - b);
    }
    return [...network.path.keys()].filter((n) => network.above(n).slice(0, -1).every((each) => this.open.has(each)));
  }

  show() {
    const { network, sort } = this;
    const rows = this.rows();
    const found = this.found();
    const searching = this.search.value.trim() !== "";
    this.order.disabled = sort === null;
    const figures = sort ? "each layer's own figures, without the layers inside it" : "figures with everything inside";
    this.table.querySelector("caption").textContent = `${sort ? `sorted by ${network.words(sort)}` : "in the order of the network"}; ${figures}`;
    this.table.querySelector("thead").replaceChildren(this.head());
    this.table.querySelector("tbody").replaceChildren(...rows.slice(0, ROWS).map((n) => this.row(n)));
    this.table.querySelector("tfoot").replaceChildren(this.foot(searching ? found : [...network.path.keys()], searching));
    const beyond = rows.length > ROWS ? `; the first ${PRINT.exact(ROWS)} rows are shown: search to see the others` : "";
    this.count.textContent = searching ? `${PRINT.exact(found.length)} of ${PRINT.exact(network.size)} layers match${beyond}` : `${PRINT.exact(network.size)} layers${beyond}`;
    this.mark(this.chosen || 0);
  }

  head() {
    const { network, sort } = this;
    const fixed = ["layer", "type", "output"].map((text) => element("th", { scope: "col" }, text));
    const sorts = network.figures.map(({ key, words }) =>
      element("th", { scope: "col", class: "number", "aria-sort": sort === key ? "descending" : "none" },
        element("button", { type: "button", "data-key": key, title: `sort by ${words}`, click: () => this.sortBy(key) }, `${words}${sort === key ? " ▼" : ""}`),
        element("span", { class: "paper", "aria-hidden": "true" }, words))); // browsers do not repeat buttons at the head of a page
    return element("tr", {}, ...fixed, ...sorts);
  }

  row(n) {
    const { network, sort } = this;
    const values = sort ? network.own : network.total;
    const flat = sort !== null || this.search.value.trim() !== "";
    const inside = network.children[n].length > 0;
    const opened = this.open.has(n);
    const twist = !flat && inside
      ? element("button", { type: "button", class: "twist", "aria-expanded": String(opened), "aria-label": `${opened ? "fold" : "unfold"} ${network.label(n)}`, click: () => this.turn(n) }, opened ? "▾" : "▸")
      : element("span", { class: "gap" });
    const name = flat ? network.label(n) : network.short(n);
    const indent = flat ? 0 : network.depth[n] * 1.1;
    const title = element("th", { scope: "row", style: `padding-left:${indent}rem;font-weight:400` }, twist,
      element("button", { type: "button", class: "open", click: () => this.choose(n) }, name));
    const cells = network.figures.map(({ key }) => element("td", { class: "number" }, network.print(key, values[key][n])));
    const type = network.typeOf(n) + (network.calls[n] > 1 ? `, ${network.calls[n]} calls` : "");
    return element("tr", { "data-layer": n }, title, element("td", {}, type), element("td", {}, network.texts[network.output[n]]), ...cells);
  }

  foot(layers, searching) {
    const { network } = this;
    const sums = network.figures.map(({ key }) => {
      const sum = layers.reduce((total, n) => total + network.own[key][n], 0);
      const mark = network.lowerBounds.has(key) ? "≥ " : "";
      return element("td", { class: "number", "data-sum": sum, "data-key": key }, mark + network.print(key, sum));
    });
    return element("tr", {}, element("th", { scope: "row", colspan: "3" }, searching ? "the layers that match, themselves" : "total"), ...sums);
  }

  turn(n) {
    if (this.open.has(n)) this.open.delete(n);
    else this.open.add(n);
    this.show();
    this.table.querySelector(`tr[data-layer="${n}"] .twist`)?.focus();
  }

  mark(n) {
    this.chosen = n;
    for (const row of this.table.querySelectorAll("tbody tr")) row.classList.toggle("chosen", n > 0 && Number(row.dataset.layer) === n);
  }
}

function about(network, n, into) {
  // Shapes, rules, formulas and figures of one layer.
  const part = (title, ...content) => [element("dt", {}, title), element("dd", {}, ...content)];
  const list = (numbers) => element("ul", {}, ...numbers.map((number) => element("li", {}, network.texts[number])));
  const extra = network.texts[network.extra[n]];
  const calls = network.calls[n];
  const shapes = calls ? `${network.texts[network.input[n]] || "nothing"} → ${network.texts[network.output[n]] || "nothing"}` : "never called";
  const figures = network.figures.map(({ key, words, kind }) => {
    const [own, total] = [network.own[key][n], network.total[key][n]];
    const inside = own && own !== total ? `, ${PRINT[kind](own)} itself` : "";
    return element("li", {}, `${words}: ${PRINT[kind](total)} (${percent(total, network.total[key][0])})${inside}`);
  });
  into.classList.toggle("whole", n === 0);
  into.replaceChildren(
    element("h3", {}, network.label(n)),
    element("dl", {},
      ...part("type", extra ? `${network.typeOf(n)}(${extra})` : network.typeOf(n)),
      ...part("shapes", shapes + (calls > 1 ? `, the last of ${calls} calls` : "")),
      ...(network.rules[n].length ? part("why this shape", list(network.rules[n])) : []),
      ...(network.formulas[n].length ? part("formulas of one call", list(network.formulas[n])) : []),
      ...part("figures", element("ul", {}, ...figures)),
    ),
  );
}
