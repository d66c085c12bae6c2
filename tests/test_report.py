"""The page of `archcalc report`: its figures are the report's, its texts are texts, and it works in a real browser."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import archcalc
from archcalc import Setup, Training
from archcalc.analyses.memory import LiveBytes
from archcalc.render.report.page import ASSETS
from archcalc.render.report.payload import FIGURES, payload
from archcalc.text import units
from tests.helpers import in_rows, run, run_fresh

HOSTILE = '</script><img src=x onerror="document.title=1"><!--'


class Elements(HTMLParser):
    """The elements of a page, and the text of its data element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self.open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open = tag == "script" and dict(attrs).get("id") == "data"

    def handle_data(self, data: str) -> None:
        self.data += data if self.open else ""

    def handle_endtag(self, tag: str) -> None:
        self.open = False


@pytest.fixture(scope="module")
def trained() -> archcalc.Report:
    """A training step, in which memory has every kind of holder."""
    return archcalc.analyze("resnet-20", setup=Setup(batch=4, training=Training("adam")))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages: of one model, of two, and of a stored trace whose names are hostile, and which asks for no torch."""
    folder = tmp_path_factory.mktemp("pages")
    assert run("report", "resnet-50", "-q", "-o", str(folder / "one.html")).code == 0
    assert run("report", "resnet-20", "resnet-32", "-q", "-o", str(folder / "two.html")).code == 0
    (folder / "hostile.json").write_text(json.dumps(hostile_trace()), encoding="utf-8")
    return folder


def hostile_trace() -> dict[str, Any]:
    """A trace as a file whose author wishes the reader ill: names of modules, types, descriptions and the model."""
    stored: dict[str, Any] = json.loads(in_rows(archcalc.trace("resnet-20")))
    stored["trace"]["model"]["name"] = HOSTILE
    for module in stored["trace"]["modules"]:
        module["type"] = module["extra"] = HOSTILE
    return stored


# ---- the figures ---------------------------------------------------------------------------------


def test_own_figures_add_up_to_the_totals(trained: archcalc.Report) -> None:
    """The page has a layer's own figures alone; its script adds them up, as here."""
    data = payload(trained)
    for key in FIGURES:
        assert sum(data["layers"]["own"][key]) == trained.totals[key] == data["totals"][key], key
        sums = list(data["layers"]["own"][key])
        for n in reversed(range(1, len(sums))):
            assert data["layers"]["parent"][n] < n
            sums[data["layers"]["parent"][n]] += sums[n]
        assert sums == [layer.total[key] for layer in trained.root.walk()], key


def test_storages_add_up_to_the_live_bytes_of_each_op_call(trained: archcalc.Report) -> None:
    """The timeline is kept as numbers, the holders as storages: two derivations of one figure, at every moment."""
    live = payload(trained)["live"]
    scratch = {call: amount for call, amount, _ in live["scratch"]}
    for call, expected in enumerate(live["bytes"]):
        held = sum(amount for amount, birth, death, *_ in live["storages"] if birth <= call < death)
        assert held + scratch.get(call, 0) == expected, call
    assert max(live["bytes"]) == live["bytes"][live["peak"]] == trained.peak_bytes
    assert sum(calls for _, calls in live["phases"]) == len(live["ops"])


def test_holders_at_the_peak_are_those_of_the_command_memory(trained: archcalc.Report) -> None:
    data = payload(trained)
    live = data["live"]
    sums: dict[str, list[int]] = {}
    for amount, birth, death, by, _ in live["storages"]:
        if birth <= live["peak"] < death:
            sums.setdefault(data["texts"][by], []).append(amount)
    holders = {h.by: (h.tensors, h.bytes) for h in trained.record(LiveBytes).holders}
    assert {by: (len(sizes), sum(sizes)) for by, sizes in sums.items()} == {
        by: held for by, held in holders.items() if held[1]
    }


def test_a_layer_says_its_rule_and_its_formula() -> None:
    data = payload(archcalc.analyze("resnet-20"))
    place = data["layers"]["path"].index("layer2.0.conv1")
    said = [data["texts"][n] for n in (*data["layers"]["rules"][place], *data["layers"]["formulas"][place])]
    assert any("32" in line and "16" in line for line in said)
    assert any("4,608" in line for line in said)  # 3·3·16·32


def test_a_module_that_is_never_called_has_no_shape() -> None:
    """ModuleList only holds its blocks; a loss has an output, which is a scalar."""
    from torch import nn

    class Scored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.loss = nn.ModuleList([nn.Linear(4, 4)]), nn.MSELoss()

        def forward(self, x):
            return self.loss(self.layers[0](x), x)

    data = payload(archcalc.analyze(Scored(), (2, 4)))
    shapes = {path: data["texts"][n] for path, n in zip(data["layers"]["path"], data["layers"]["output"], strict=True)}
    assert shapes == {"": "scalar", "layers": "", "layers.0": "2x4", "loss": "scalar"}


def test_a_page_with_times_says_what_they_leave_out() -> None:
    page = archcalc.report("resnet-20", on="fp32=10,gbps=100").to_page()
    assert "left out: data that stay in a cache, convolutions with fewer products (Winograd" in page
    assert "{" not in page[page.index("left out:") :].splitlines()[0]


def test_the_least_time_of_layers_adds_up_and_lies_under_the_roof() -> None:
    (on,) = archcalc.report("resnet-20", on="h100").on
    data = payload(archcalc.analyze(on.report.trace), on)
    assert data["figures"][-1]["words"] == "time at least on h100"
    assert sum(data["layers"]["own"]["bound_fs"]) == data["totals"]["bound_fs"] == round(on.bounds.seconds * 10**15)
    roof = data["roofline"]
    assert sum(flops for _, flops, _, _ in roof["points"]) == 2 * archcalc.analyze(on.report.trace).macs
    for place, flops, moved, time in roof["points"]:
        at_most = min(roof["peak"], flops / moved * roof["bandwidth"])
        assert flops * 10**15 / time <= at_most * (1 + 1e-6), data["layers"]["path"][place]


# ---- the file ------------------------------------------------------------------------------------


def test_a_page_asks_for_nothing_and_is_small(files: Path) -> None:
    page = (files / "one.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 400_000
    for tag, attributes in Elements(page).found:
        assert tag not in ("link", "img", "iframe", "object", "embed") or attributes.get("href") == "data:,"
        assert "src" not in attributes
    assert "default-src 'none'" in page
    assert "archcalc report resnet-50 -q -o" not in page  # what does not change the page is no part of its command
    assert f"archcalc report resnet-50 -o {files / 'one.html'}" in page


def test_the_page_is_the_same_every_time(files: Path) -> None:
    again = archcalc.report("resnet-20", "resnet-32").to_page()
    text = (files / "two.html").read_text(encoding="utf-8")
    assert Elements(text).data == Elements(again).data
    assert "Made from Python" in again


def test_hostile_names_are_text(files: Path) -> None:
    """No element of the page comes from a name."""
    ran = run("report", str(files / "hostile.json"))
    assert ran.code == 0, ran.err
    parsed = Elements(ran.out)
    assert "img" not in {tag for tag, _ in parsed.found}
    assert json.loads(parsed.data)[0]["name"] == HOSTILE
    assert ran.out.count("<script") == 2


def test_a_stored_trace_needs_no_torch(files: Path) -> None:
    code = "import sys; from archcalc.cli import main; sys.exit(main(sys.argv[1:]) or 9 * ('torch' in sys.modules))"
    ran = run_fresh("report", str(files / "hostile.json"), "-o", str(files / "stored.html"), code=code)
    assert (ran.code, ran.out) == (0, "")
    assert (files / "stored.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("report resnet-18 -o report.docx", "type  archcalc report resnet-18 -o report.html"),
        ("report resnet-18 --json", "the answer is HTML and has no form as json"),
        ("report resnet-18 resnet-34 resnet-50 -o x.html", "archcalc compare  takes any number"),
        ("report resnet-81 -o x.html", "did you mean"),
        ("report resnet-18 --optimizer adam -o x.html", "add  --train"),
        ("report resnet-18 --on h1000 -o x.html", "devices  archcalc devices"),
    ],
)
def test_wrong_use_is_a_sentence(typed: str, said: str) -> None:
    ran = run(*typed.split())
    assert (ran.code, ran.out if "--json" not in typed else "") == (2, "")
    assert said in ran.err


def test_without_jinja2_it_says_what_to_install(files: Path) -> None:
    code = "import sys; sys.modules['jinja2'] = None; from archcalc.cli import main; sys.exit(main(sys.argv[1:]))"
    ran = run_fresh("report", str(files / "hostile.json"), code=code)
    assert ran.code == 2
    assert "pip install jinja2" in ran.err


def test_python_saves_and_shows_it(files: Path) -> None:
    full = archcalc.report("resnet-20", batch=2)
    full.save(files / "saved.html")
    assert (files / "saved.html").read_text(encoding="utf-8") == full.to_page()
    assert "<table>" in full._repr_html_()
    assert repr(full) == "<FullReport of resnet-20>"


def test_a_training_step_can_be_compared() -> None:
    full = archcalc.report("residual-block", "bottleneck-block", train=True)
    assert full.comparison is not None
    peaks = [side.totals["train_peak_bytes"] for side in (full.comparison.old, full.comparison.new)]
    assert peaks == [report.peak_bytes for report in full.reports]


# ---- the script, in node and in a browser -----------------------------------------------------------


def test_the_script_prints_numbers_as_the_tables_do() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("the script's numbers are compared in node:  apt-get install nodejs")
    draws = random.Random(7)
    values = [0, 1, 999, 1000, 1023, 1024, 999_949, 999_951, 1_048_575, *(draws.randrange(10**n) for n in range(1, 16))]
    script = (ASSETS / "base.js").read_text(encoding="utf-8")
    printed = "JSON.stringify([PRINT.exact(v), PRINT.si(v), PRINT.bytes(v)])"
    code = f"{script}\nfor (const v of {values}) console.log({printed});"
    told = subprocess.run([node, "-e", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [json.loads(line) for line in told] == [[units.exact(v), units.si(v), units.size(v)] for v in values]


AREAS = """tiles => tiles.filter(tile => /^layer[1-4],/.test(tile.getAttribute('aria-label'))).map(tile => {
  const {width, height} = tile.querySelector('rect');
  return [tile.getAttribute('aria-label'), width.baseVal.value * height.baseVal.value];
})"""
"""The names and areas of the four stages of a residual network."""

WIDTHS = "each => [each.clientWidth, each.scrollWidth, each.firstChild.viewBox.baseVal.width]"
"""The width that a picture has, that it needs, and that it is drawn for."""


class Opened:
    """A page in a browser, with what it asked for and what it complained of."""

    def __init__(self, browser: Any, file: Path, **how: Any) -> None:
        self.page = browser.new_page(viewport={"width": 1300, "height": 900}, **how)
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(file.as_uri())

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).first.text_content())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium: Debian's, or the one that Playwright installs."""
    how = "pip install 'archcalc[browser]' && (apt-get install -y chromium || playwright install --with-deps chromium)"
    api = pytest.importorskip("playwright.sync_api", reason=how)
    with api.sync_playwright() as started:
        place = shutil.which("chromium")
        if place is None and not Path(started.chromium.executable_path).exists():
            pytest.skip(how)
        opened = started.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_it_opens_from_a_disk_and_asks_for_nothing(browser: Any, files: Path) -> None:
    for name in ("one", "two"):
        opened = Opened(browser, files / f"{name}.html", color_scheme="dark" if name == "two" else "light")
        assert opened.asked == [(files / f"{name}.html").as_uri()]
        assert opened.said == []


def test_the_treemap_zooms_by_mouse_and_keyboard(browser: Any, files: Path) -> None:
    opened = Opened(browser, files / "one.html")
    page = opened.page
    shown = page.locator(".map svg")
    assert shown.get_attribute("aria-label") == "parameters inside resnet-50"
    page.locator('.tile[data-layer]:has(> text:has-text("layer4"))').first.click(position={"x": 8, "y": 6})
    assert shown.get_attribute("aria-label") == "parameters inside layer4"
    assert opened.text("aside.chosen h3") == "layer4"
    page.keyboard.press("Enter")
    assert str(shown.get_attribute("aria-label")).startswith("parameters inside layer4.")
    focused = "document.activeElement.getAttribute('aria-label')"
    first = page.evaluate(focused)
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) != first
    page.keyboard.press("Home")
    assert page.evaluate(focused) == first
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert shown.get_attribute("aria-label") == "parameters inside resnet-50"
    page.locator("select.figure").select_option("macs")
    assert shown.get_attribute("aria-label") == "MACs inside resnet-50"
    areas = page.eval_on_selector_all(".tile", AREAS)
    report = archcalc.analyze("resnet-50")
    width, height = map(int, str(shown.get_attribute("viewBox")).split()[2:])
    for label, area in areas:  # the area is the figure
        macs = report.layers[label.split(",")[0]].macs
        assert area == pytest.approx(width * height * macs / report.macs, rel=1e-6)
    assert len(areas) == 4
    assert opened.text(".area-is") == "MACs"


def test_pictures_have_the_width_of_the_page(browser: Any, tmp_path: Path) -> None:
    """On a telephone as on a desk letters keep their size and nothing is cut off; a turn of it draws them anew."""
    archcalc.report("resnet-20", on="h100").save(tmp_path / "on.html")
    page = Opened(browser, tmp_path / "on.html").page
    page.locator(".roof circle").last.click()
    chosen = page.locator(".roof circle.chosen").get_attribute("data-layer")
    for width in (1300, 400, 900):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("width => document.querySelector('.time svg').viewBox.baseVal.width < width", arg=width)
        for part in (".map", ".time", ".roof"):
            drawing = page.locator(f"{part} .drawing")
            room, needed, drawn = drawing.evaluate(WIDTHS)
            assert room == needed == pytest.approx(drawn, abs=1), (width, part)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".roof circle.chosen").get_attribute("data-layer") == chosen


LINES = """cells => [...document.querySelectorAll(cells)].map(
    cell => cell.getClientRects()[0].height / parseFloat(getComputedStyle(cell).fontSize)
)"""
"""The height of cells in sizes of their letters, asked for at once: at a new width the page draws a table anew."""


def test_on_paper_nothing_is_there_to_press(browser: Any, files: Path) -> None:
    """What a reader of paper needs is text: which figure the treemap is of, the headings; not what a mouse does."""
    page = Opened(browser, files / "one.html").page
    page.emulate_media(media="print")
    assert page.locator(".area-is").inner_text() == "parameters"
    for gone in (".map select", ".fold", ".search", ".time input", ".hint", ".layers thead button", ".twist"):
        assert not page.locator(gone).first.is_visible(), gone
    heads = page.locator(".layers thead th").all_inner_texts()
    assert heads[:4] == ["layer", "type", "output", "parameters"]
    assert all(heads)
    page.set_viewport_size({"width": 700, "height": 1000})  # about the width of A4
    assert max(page.evaluate(LINES, ".layers tbody td, .layers tbody th, td.number")) < 2.5  # one line each


def test_the_cursor_tells_who_holds_the_bytes(browser: Any, files: Path) -> None:
    opened = Opened(browser, files / "one.html")
    report = archcalc.analyze("resnet-50")
    peak = report.record(LiveBytes).peak
    assert peak is not None
    assert f"op call {peak.call + 1} of" in opened.text(".moment")
    largest = report.record(LiveBytes).holders[0]
    share = units.share(largest.bytes, report.peak_bytes).replace(" ", "\xa0")  # a number keeps its unit
    assert opened.text(".holders tbody tr") == f"{largest.by}{largest.tensors}{units.size(largest.bytes)}{share}"
    opened.page.locator(".time svg").hover(position={"x": 5, "y": 100})
    assert opened.text(".moment").startswith("op call 1 of")
    opened.page.locator(".time input").focus()
    opened.page.keyboard.press("ArrowRight")
    assert opened.text(".moment").startswith("op call 2 of")


def test_the_layer_table_folds_sorts_and_finds(browser: Any, files: Path) -> None:
    opened = Opened(browser, files / "one.html")
    page = opened.page
    report = archcalc.analyze("resnet-50")
    rows = page.locator(".layers tbody tr")
    assert rows.count() == 1 + len(report.root.children)
    page.locator('tr .twist[aria-label="unfold layer1"]').click()
    assert rows.count() == 1 + len(report.root.children) + 3
    page.locator(".unfold").click()
    assert rows.count() == len(report.layers)
    page.locator('thead button[data-key="params"]').click()
    largest = max(report.root.walk(), key=lambda layer: layer.own["params"])
    assert opened.text(".layers tbody tr .open") == largest.path
    page.locator(".search").fill("layer2 conv2d")
    found = [layer for layer in report.root.walk() if layer.type == "Conv2d" and layer.path.startswith("layer2.")]
    assert rows.count() == len(found)
    foot = page.locator('.layers tfoot td[data-key="params"]').get_attribute("data-sum")
    assert int(str(foot)) == sum(layer.own["params"] for layer in found)
    page.locator(".layers tbody .open").first.click()
    assert "why this shape" in opened.text("aside.chosen")


def test_a_point_of_the_roofline_chooses_its_layer(browser: Any, tmp_path: Path) -> None:
    archcalc.report("resnet-20", on="h100").save(tmp_path / "on.html")
    opened = Opened(browser, tmp_path / "on.html")
    opened.page.locator(".roof circle[tabindex='0']").focus()
    opened.page.keyboard.press("ArrowRight")
    label = str(opened.page.evaluate("document.activeElement.getAttribute('aria-label')"))
    opened.page.keyboard.press("Enter")
    assert label.startswith(f"{opened.text('aside.chosen h3')}, Conv2d: ")
    assert "time at least on h100" in opened.text("aside.chosen")
    assert opened.said == []


def test_two_models_begin_with_what_changed(browser: Any, files: Path) -> None:
    page = Opened(browser, files / "two.html").page
    assert page.locator("#changes").is_visible()
    assert not page.locator("#model-0").is_visible()
    page.get_by_role("button", name="resnet-32").first.click()
    assert page.locator("#model-1 .map svg").is_visible()
    assert not page.locator("#changes").is_visible()
    page.emulate_media(media="print")
    assert page.locator("#changes").is_visible()


def test_a_browser_takes_hostile_names_for_text(browser: Any, files: Path) -> None:
    assert run("report", str(files / "hostile.json"), "-q", "-o", str(files / "hostile.html")).code == 0
    opened = Opened(browser, files / "hostile.html")
    assert (opened.said, opened.asked) == ([], [(files / "hostile.html").as_uri()])
    assert opened.page.locator("img").count() == 0
    opened.page.locator(".layers .open").nth(1).click()
    assert HOSTILE in opened.text("aside.chosen")
    assert opened.page.title() != "1"


def test_without_scripts_the_figures_stand_there(browser: Any, files: Path) -> None:
    opened = Opened(browser, files / "one.html", java_script_enabled=False)
    assert opened.page.locator("noscript table").first.is_visible()
    assert not opened.page.locator(".scripted").is_visible()


def test_a_model_without_ops_has_a_page(browser: Any, tmp_path: Path) -> None:
    from torch import nn

    archcalc.report(nn.Identity(), inputs=(1, 3)).save(tmp_path / "nothing.html")
    opened = Opened(browser, tmp_path / "nothing.html")
    assert opened.said == []
    assert opened.text(".moment") == "No op ran."
