"""The documentation is what the tool prints, and what is generated is up to date."""

import json
import re
from pathlib import Path

import pytest

from archcalc.engine.meta.empty_modules import without_data
from archcalc.networks import catalogue
from tests.helpers import ROOT, run_fresh
from tests.regenerate import all_networks, catalogue_json, pages, regenerated

pytestmark = pytest.mark.usefixtures("shared_traces")
STALE = "is out of date: run  python -m tests.regenerate"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_what_the_tool_prints(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert regenerated(text) == text, f"{page.name} {STALE}"


def test_the_catalogue_file_is_what_the_definitions_give() -> None:
    assert catalogue.FILE.read_text(encoding="utf-8") == catalogue_json(), f"catalogue.json {STALE}"


def test_the_index_names_pages_by_their_titles() -> None:
    """Every page stands in docs/index.md, under its own title; those of networks by a shorter name."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    named = {target: text for text, target in re.findall(r"\[([^\]]+)\]\(([^)#:]+\.md)\)", index)}
    for page in sorted((ROOT / "docs").rglob("*.md")):
        target = str(page.relative_to(ROOT / "docs"))
        if target == "index.md":
            continue
        title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert target in named, f"{target} is not in the index"
        assert named[target] == title or target.startswith("networks/"), target


ALONE = """
import json, os, sys
import torch  # of all that the files need, the part that takes long
from archcalc.networks import catalogue
for file, members in json.loads(sys.argv[1]).items():
    child = os.fork()
    if not child:
        for member in members:
            catalogue.load(catalogue.entries()[member])
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(file)
"""
"""Loads the members of each file in a process in which no other file was imported; prints the files that fail."""


def test_the_file_of_a_member_registers_it() -> None:
    """A command imports that file and no other."""
    files: dict[str, list[str]] = {}
    for entry in catalogue.entries().values():
        files.setdefault(entry.file, []).append(entry.name)
    ran = run_fresh(json.dumps(files), code=ALONE)
    assert (ran.code, ran.out) == (0, ""), ran.err
    ran = run_fresh(json.dumps({"vision.vgg": ["resnet-18", "no-such-network"]}), code=ALONE)
    assert ran.out == "vision.vgg\n"  # what fails is seen


def test_names_are_kebab_case_and_distinct() -> None:
    """docs/add-a-network.md: names are kebab-case, and stay apart without case, '-' and '_'."""
    names = catalogue.names()
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9.]+)*", name) for name in names), "see docs/add-a-network.md"
    assert len({catalogue.normal(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", all_networks())
def test_a_definition_says_where_it_comes_from(name: str) -> None:
    """docs/add-a-network.md: a paper, a default member, and a docstring on every module class of its file."""
    network = all_networks()[name]
    assert network.source.year > 1980
    assert network.family.default in all_networks()
    assert network.build.__doc__, "see docs/add-a-network.md"
    with without_data():
        built = network.build(**network.config)
    for module in built.modules():
        if type(module).__module__.startswith("archcalc"):
            assert type(module).__doc__, f"{type(module).__name__}: see docs/add-a-network.md"
