// One treemap, timeline and table for each model; a click anywhere chooses a layer everywhere.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  data.forEach((report, number) => {
    const root = document.getElementById(`model-${number}`);
    const network = new Network(report);
    const aside = root.querySelector("aside.chosen");
    const views = [];
    const choose = (n) => {
      about(network, n, aside);
      for (const view of views) view.mark(n);
    };
    views.push(new Treemap(root.querySelector(".map"), network, choose));
    views.push(new LayerTable(root.querySelector(".layers"), network, choose));
    if (network.roofline) views.push(new RooflinePlot(root.querySelector(".roof"), network, choose));
    new Timeline(root.querySelector(".time"), network);
    about(network, 0, aside);
  });
  const parts = [...document.querySelectorAll(".part")];
  const buttons = [...document.querySelectorAll(".switch button")];
  const show = (id) => {
    for (const part of parts) part.hidden = part.id !== id;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.shows === id));
  };
  for (const button of buttons) button.addEventListener("click", () => show(button.dataset.shows));
  if (buttons.length) show(buttons[0].dataset.shows);
  document.documentElement.classList.add("ready");
})();
