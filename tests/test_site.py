"""What a visitor sees first: README's picture and figures are current, and every link leads somewhere."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from archcalc.engine.meta.empty_modules import without_data
from archcalc.networks import catalogue
from bench import models
from tests import readme
from tests.helpers import ROOT
from tests.regenerate import pages

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
PLACEHOLDER = "ci.md"
"""The page that has OWNER in place of an account, and says so."""
WRITTEN = [*pages(), ROOT / "CHANGELOG.md"]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, by GitHub's rule: lower case, without punctuation, '-' for a space."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {slug if not number else f"{slug}-{number}" for slug, last in found.items() for number in range(last + 1)}


def links(page: Path) -> Iterator[str]:
    """Where a page's links and pictures lead, those in code apart."""
    yield from LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))


def broken(page: Path, root: Path = ROOT) -> list[str]:
    """The links of a page that lead to no file below `root`, or to no heading of it."""
    missing = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(root) or not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    return missing


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_anchor_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_pages_of_the_site_link_to_nothing_outside_of_it() -> None:
    """The site is built from docs/ alone."""
    for page in (ROOT / "docs").rglob("*.md"):
        outside = [link for link in links(page) if not re.match(r"[a-z]+:|#", link)]
        outside = [link for link in outside if ROOT / "docs" not in (page.parent / link).resolve().parents]
        assert outside == [], page.name


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    """The check itself: a missing file, a missing heading; code is no link."""
    assert {"in-archcalc-itself", "an-op", "a-format"} <= anchors(ROOT / "docs" / "extend.md")
    lost = tmp_path / "lost.md"
    lost.write_text(
        f"# A *b*: c\n[x](none.md) [y](#a-b-c) [z](#d) `[w](w.md)`\n```\n[v](v.md)\n```\n[s]({ROOT}/README.md)"
    )
    assert anchors(lost) == {"a-b-c"}
    assert broken(lost, tmp_path) == ["none.md", "#d", f"{ROOT}/README.md"]


def test_the_site_has_every_page_in_the_order_of_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    order = [link for link in LINK.findall(index) if link.endswith(".md")]
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    first, *sections = site["nav"]
    assert first == "index.md"
    assert [page for section in sections for listed in section.values() for page in listed] == order
    assert [name for section in sections for name in section] == re.findall(r"^(To .*):$", index, re.MULTILINE)
    assert len(set(order)) == len(order) == len(list((ROOT / "docs").rglob("*.md"))) - 1


def test_metadata_names_no_address_that_does_not_exist() -> None:
    """OWNER stands for an account in recipes that people copy; a package or an action that names it leads nowhere."""
    files = [ROOT / "pyproject.toml", ROOT / "mkdocs.yml", ROOT / "README.md", *(ROOT / ".github").rglob("*.yml")]
    files += [*(ROOT / "archcalc").rglob("*.py"), *(page for page in pages() if page.name != PLACEHOLDER)]
    assert [str(path) for path in files if "OWNER/" in path.read_text(encoding="utf-8")] == []
    told = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    published = "urls" in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert published != ("`[project.urls]`" in told), "docs/contributing.md says that there are no addresses yet"


def test_the_terminal_in_readme_shows_what_the_command_prints() -> None:
    """Its texts are today's, each digit; and the picture asks no network for letters."""
    svg = readme.SVG.read_text(encoding="utf-8")
    assert readme.written(svg) == readme.written(readme.terminal(readme.today()))
    assert "145.8 M MACs · 291.6 M FLOPs" in readme.written(svg)
    assert "url(http" not in svg
    assert "@import" not in svg
    assert "](docs/terminal.svg)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_both_tables_of_other_tools_say_the_same() -> None:
    """A tool counts as many models right as it has plain cells; README has the first table."""
    page = readme.page("peers.md")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    summary = [row for row in cells if re.fullmatch(r"\d+ of \d+", row[1])]
    head = next(row for row in cells if row[0] == "model")
    counts = cells[cells.index(head) + 2 :]
    assert len(counts) == 10
    assert len(summary) == len(head) - 4 == 8
    for column, row in enumerate(summary, start=4):
        right = sum("**" not in count[column] for count in counts)
        assert row[1] == f"{right} of {len(counts)}", row
    assert readme.peers() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_figures_in_readme_are_those_of_their_pages() -> None:
    """Each with its date; the pages say when they were measured."""
    told = readme.figures()
    assert told in (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("coverage.md", "accuracy.md"):
        assert readme.measured_on(readme.page(name)) in told


def test_the_benches_find_their_models() -> None:
    """Those of the catalogue, by name, with the inputs that the catalogue states."""
    for name, shape in models.OURS.items():
        entry = catalogue.entries()[name]
        assert [tuple(given.shape) for given in catalogue.load(entry).inputs] == [shape], name
    with without_data():
        module, shape = models.build("resnet-50")
    assert shape == (1, 3, 224, 224)
    assert sum(p.numel() for p in module.parameters()) == 25_557_032
