"""What README takes from other pages, and its terminal, docs/terminal.svg, which rich draws from a real run."""

from __future__ import annotations

import html
import re

from tests.helpers import ROOT

SVG = ROOT / "docs" / "terminal.svg"
SHOWN = "flops shufflenet-v2"
"""The command in the picture."""
COLUMNS = 88
PEERS = re.compile(r"(?<=<!-- peers -->\n).*?(?=<!-- end of peers -->)", re.DOTALL)
FIGURES = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)
DATE = re.compile(r"on (\d{4}-\d\d-\d\d)")


def page(name: str) -> str:
    """The text of a page of docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def measured_on(text: str) -> str:
    """The date that a page says its figures are of."""
    found = DATE.search(text)
    assert found, "the page says no date"
    return found[1]


def peers() -> str:
    """The first table of docs/peers.md."""
    found = PEERS.search(page("peers.md"))
    assert found
    return found[0]


def figures() -> str:
    """Coverage and accuracy in two sentences, from their pages' own tables."""
    coverage, accuracy = page("coverage.md"), page("accuracy.md")
    rows = re.findall(r"^\| (torchvision|timm|transformers) \| ([\d,]+) \| ([\d,]+) \|", coverage, re.MULTILINE)
    of = ", ".join(f"{analysed} of {models} models of {library}" for library, models, analysed in rows)
    cells = re.search(r"^\| all \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", accuracy, re.MULTILINE)
    assert len(rows) == 3
    assert cells
    cases, exact, tenth, percent = map(int, cells.groups())
    lines = [
        f"* [Coverage](docs/coverage.md), {measured_on(coverage)}: {of} are analysed.",
        f"* [Accuracy](docs/accuracy.md), {measured_on(accuracy)}: of {cases} real runs on a CPU the computed peak of "
        f"memory is equal to the byte in {exact} and within 1 % in {exact + tenth + percent}.",
    ]
    return "\n".join([*lines, ""])


def with_figures(text: str) -> str:
    """README with the parts that stand in other pages."""
    return FIGURES.sub(lambda _: figures(), PEERS.sub(lambda _: peers(), text))


def terminal(answer: str) -> str:
    """A terminal with the command and its coloured answer as an SVG that asks no network for its letters."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    with console.file:
        console.print(Text.assemble(("$ ", "bold"), f"archcalc {SHOWN}"))
        console.print(Text.from_ansi(answer.rstrip()))
        drawn = console.export_svg(title="archcalc")
    return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL) + "\n"


def written(svg: str) -> list[str]:
    """The lines of text in such a picture."""
    lines: dict[float, str] = {}
    for at, text in re.findall(r'<text [^>]*?y="([\d.]+)"[^>]*?clip-path[^>]*>(.*?)</text>', svg):
        lines[float(at)] = lines.get(float(at), "") + html.unescape(text).replace("\xa0", " ")
    return [" ".join(lines[at].split()) for at in sorted(lines) if lines[at].strip()]


def today() -> str:
    """The answer of the command at the picture's width, in colour."""
    from archcalc.render.formats.as_table import as_table
    from tests.documents import answers

    return as_table(answers(SHOWN), COLUMNS, True)


def write() -> None:
    """Draw the picture again, unless it shows what the command prints."""
    drawn = terminal(today())
    if not SVG.exists() or written(SVG.read_text(encoding="utf-8")) != written(drawn):
        SVG.write_text(drawn, encoding="utf-8")
