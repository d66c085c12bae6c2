"""archcalc diff and snapshot: what changed is named, and nothing else; files that are the same every time."""

from __future__ import annotations

import json
import random
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from archcalc import analyze
from archcalc.errors import NotASnapshot
from archcalc.studies.guard.diff import (
    CHANGED,
    GONE,
    MOVED,
    NEW,
    SAME,
    Change,
    _anchored,
    _best,
    _identity,
    _score,
    _signature,
    diff,
    totals,
)
from archcalc.studies.guard.snapshot import LAYER_FIGURES, LayerRecord, Snapshot, from_json, snapshot, to_json
from tests.helpers import ROOT, run, run_fresh
from tests.test_cli import SCHEMA

pytestmark = pytest.mark.usefixtures("shared_traces")

WIDTH = 8


def snap(layers: list[tuple[str, nn.Module]]) -> Snapshot:
    return snapshot(analyze(nn.Sequential(OrderedDict(layers)), (2, WIDTH, 4, 4)))


def kind_of(word: str, width: int = WIDTH) -> nn.Module:
    return {
        "conv": lambda: nn.Conv2d(WIDTH, width, 3, padding=1),
        "one": lambda: nn.Conv2d(WIDTH, width, 1, bias=False),
        "norm": lambda: nn.BatchNorm2d(WIDTH),
        "act": nn.ReLU,
        "gate": nn.Sigmoid,
        "pool": lambda: nn.MaxPool2d(3, 1, 1),
    }[word]()


KINDS = st.lists(st.sampled_from(["conv", "one", "norm", "act", "gate", "pool"]), min_size=2, max_size=14)


def network(words: list[str]) -> list[tuple[str, nn.Module]]:
    return [(f"{word}{number}", kind_of(word)) for number, word in enumerate(words)]


def said(changes: list[Change]) -> dict[str, list[str]]:
    """The paths below the root by what happened to them."""
    found: dict[str, list[str]] = {}
    for change in changes:
        if change.path:
            found.setdefault(change.status, []).append(change.path)
    return found


@settings(max_examples=60, deadline=None)
@given(words=KINDS, data=st.data())
def test_a_mutation_is_named_and_nothing_else(words: list[str], data: Any) -> None:
    """Insert, remove, widen, rename or replace a layer of a random network."""
    before = network(words)
    place = data.draw(st.integers(0, len(words) - 1))
    name = before[place][0]
    mutation = data.draw(st.sampled_from(["insert", "remove", "change", "rename", "replace", "nothing"]))
    after = network(words)
    expected: dict[str, list[str]] = {}
    if mutation == "insert":
        after.insert(place, ("added", kind_of(data.draw(st.sampled_from(["conv", "one", "norm", "act"])))))
        expected = {NEW: ["added"]}
    elif mutation == "remove":
        del after[place]
        expected = {GONE: [name]}
    elif mutation == "change":
        after[place] = (name, nn.Conv2d(WIDTH, WIDTH, 5, padding=2, groups=2))
        same_type = isinstance(before[place][1], nn.Conv2d)
        expected = {CHANGED: [name]} if same_type else {}
        if not same_type:
            expected = {CHANGED: [name]}  # another type in its place: the same path
    elif mutation == "rename":
        after[place] = ("renamed", after[place][1])
        expected = {MOVED: ["renamed"]}
    elif mutation == "replace":
        after[place] = (name, nn.Tanh())
        expected = {CHANGED: [name]}
    old, new = snap(before), snap(after)
    changes = diff(old, new)
    found = {status: paths for status, paths in said(changes).items() if status != SAME}
    assert found == expected, (mutation, words, place)
    sums = totals(changes)
    assert all(sums[figure] == new.totals[figure] - old.totals[figure] for figure in LAYER_FIGURES)


@settings(max_examples=40, deadline=None)
@given(words=KINDS, width=st.integers(9, 20))
def test_widening_changes_a_layer_and_those_that_read_it(words: list[str], width: int) -> None:
    """A convolution with more kernels: itself, and the one behind it that takes its channels."""
    before = [
        *network(words),
        ("wide", nn.Conv2d(WIDTH, WIDTH, 3)),
        ("act", nn.ReLU()),
        ("last", nn.Conv2d(WIDTH, 4, 1)),
    ]
    after = [
        *network(words),
        ("wide", nn.Conv2d(WIDTH, width, 3)),
        ("act", nn.ReLU()),
        ("last", nn.Conv2d(width, 4, 1)),
    ]
    changes = diff(snap(before), snap(after))
    weighed = [change.path for change in changes if change.by("params") or change.by("macs")]
    assert weighed == ["wide", "last"]
    assert [c.path for c in changes if c.status in (NEW, GONE, MOVED)] == []


def test_layers_are_matched_through_new_numbers() -> None:
    """A layer put in front shifts the names of all others: they have moved, and only one is new."""
    layers = [nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16)]
    old, new = (snapshot(analyze(nn.Sequential(*some), (2, 8, 6, 6))) for some in (layers, [nn.Sigmoid(), *layers]))
    found = said(diff(old, new))
    assert found == {NEW: ["0"], MOVED: ["1", "2", "3", "4"]}


def test_resnet_34_is_resnet_18_with_more_blocks() -> None:
    answer = json.loads(run("diff", "resnet-18", "resnet-34", "--json").out)
    jsonschema.validate(answer, SCHEMA)
    assert {row["status"] for row in answer["rows"]} == {NEW}
    assert answer["totals"]["params"] == 21_797_672 - 11_689_512
    sums = {row["key"]: row for row in answer["sums"]}
    assert sums["params"]["by"] == answer["totals"]["params"]


UNLIKE = st.lists(st.tuples(st.sampled_from("abc"), st.integers(10, 99)), max_size=14, unique=True)
TYPES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), max_size=14)


def records(kinds: list[tuple[str, int]]) -> list[LayerRecord]:
    return [LayerRecord(str(n), type_, "", (), 1, size, 0, 0, 0) for n, (type_, size) in enumerate(kinds)]


@given(old=TYPES, new=TYPES)
def test_an_alignment_cut_at_equal_layers_is_one(old: list[tuple[str, int]], new: list[tuple[str, int]]) -> None:
    """It has every layer of both sides once, in order, and is no better than the best alignment."""
    before, after = records(old), records(new)
    best = _best(before, after)
    for key in (_identity, _signature):
        for largest in (0, 4, 1000):
            pairs = _anchored(before, after, key, largest)
            assert [a for a, _ in pairs if a is not None] == before
            assert [b for _, b in pairs if b is not None] == after
            assert _score(pairs) <= _score(best)


@given(kinds=UNLIKE, place=st.integers(0, 14), change=st.sampled_from(["in", "out", "wider"]))
def test_a_cut_alignment_finds_one_change_as_the_best_does(
    kinds: list[tuple[str, int]], place: int, change: str
) -> None:
    """Among layers that differ, one put in, taken out or widened: the better cut reaches the best likeness."""
    place = min(place, len(kinds))
    after = [*kinds[:place], ("d", 9), *kinds[place + (change == "wider") :]]
    pairs = kinds, after if change != "out" else [*kinds[:place], *kinds[place + 1 :]]
    old, new = (records(side) for side in pairs)
    reached = max(_score(_anchored(old, new, key)) for key in (_identity, _signature))
    assert reached == _score(_best(old, new))


def test_thousands_of_unlike_layers() -> None:
    """2 x 2,000 layers that share nothing are told apart without comparing each with each."""
    old = records([("a", 3 * n) for n in range(2000)])
    new = [replace(layer, path=f"x{n}", params=layer.params + 1) for n, layer in enumerate(old)]
    changes = diff(Snapshot("old", (), {}, {}, tuple(old)), Snapshot("new", (), {}, {}, tuple(new)))
    assert {change.status for change in changes} == {NEW, GONE}
    assert len(changes) == 4000


def test_large_networks_take_seconds() -> None:
    ran = run("diff", "resnet-110", "resnet-1202")
    assert ran.code == 0
    assert "others]" in ran.out


@pytest.mark.parametrize("format_", ["table", "plain", "md", "json", "csv", "latex"])
def test_every_format(format_: str) -> None:
    ran = run("diff", "resnet-50-v1", "resnet-50", "-f", format_)
    assert ran.code == 0, ran.err
    assert "layer2.0.conv1" in ran.out.replace("\\_", "_")


def test_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "net.json"
    assert run("snapshot", "resnet-18", "-o", str(file)).code == 0
    assert run("diff", str(file), "resnet-18", "--exit-code").code == 0
    assert run("diff", str(file), "resnet-34", "--exit-code").code == 1
    assert run("diff", str(file), "resnet-34").code == 0


# ---- snapshots -----------------------------------------------------------------------------------


def test_a_snapshot_is_the_same_every_time_and_reads_back() -> None:
    first, second = (run_fresh("snapshot", "resnet-20", "lstm-cell", "--train", PYTHONHASHSEED=seed) for seed in "12")
    assert first.code == 0, first.err
    assert first.out == second.out
    read = from_json(first.out)
    assert to_json(read) == first.out
    assert [one.reference for one in read] == ["lstm-cell", "resnet-20"]
    assert all("/" not in line for line in first.out.splitlines() if "reference" in line)


def test_a_layer_a_line() -> None:
    text = run("snapshot", "resnet-18").out
    lines = [line for line in text.splitlines() if '"path"' in line]
    assert len(lines) == len(analyze("resnet-18").trace.modules)
    document = json.loads(text)
    assert document["made_with"]["torch"].count(".") == 1
    assert "peak_bytes" in document["may_move_with_torch"]
    (model,) = document["models"]
    for figure in LAYER_FIGURES:
        assert sum(layer[figure] for layer in model["layers"]) == model["totals"][figure]


def test_a_path_of_a_machine_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\n\ndef make():\n    return nn.Linear(4, 2)\n")
    text = run("snapshot", f"{tmp_path}/net.py:make", "-i", "1x4").out
    assert str(tmp_path) not in text
    assert '"net.py:make"' in text


def test_snapshots_of_several_models_are_paired_by_name(tmp_path: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    run("snapshot", "resnet-18", "resnet-20", "-o", str(one))
    run("snapshot", "resnet-20", "resnet-34", "-o", str(two))
    answers = json.loads(run("diff", str(one), str(two), "--json").out)
    pairs = [(answer["old"]["reference"], answer["new"]["reference"]) for answer in answers]
    assert pairs == [("resnet-18", "nothing"), ("resnet-20", "resnet-20"), ("nothing", "resnet-34")]
    assert json.loads(run("diff", str(one), "resnet-20", "--json").out)["rows"] == []
    ran = run("diff", str(one), "resnet-34")
    assert ran.code == 2
    assert "none of one name" in ran.err


def test_files_are_compared_without_torch(tmp_path: Path) -> None:
    file = tmp_path / "net.json"
    run("snapshot", "resnet-18", "-o", str(file))
    code = (
        "import sys; from archcalc.cli import main; c = main(sys.argv[1:]); sys.exit(c or ('torch' in sys.modules) * 9)"
    )
    ran = run_fresh("diff", str(file), str(file), code=code)
    assert ran.code == 0, ran.err
    assert "no layer changed" in ran.out


@pytest.mark.parametrize(
    ("text", "said_"),
    [
        ("no json", "it is not JSON"),
        ("[]", "has no 'archcalc_snapshot'"),
        ('{"archcalc_snapshot": 99}', "is not 1"),
        ('{"archcalc_snapshot": 1, "made_with": {}, "models": [{}]}', "it is damaged"),
        ('{"archcalc_snapshot": 1, "made_with": {}, "models": 7}', "it is damaged"),
    ],
)
def test_damaged_files_are_refused(text: str, said_: str, tmp_path: Path) -> None:
    with pytest.raises(NotASnapshot, match=said_.replace("'", ".")):
        from_json(text)
    file = tmp_path / "net.json"
    file.write_text(text)
    ran = run("diff", str(file), str(file))
    assert (ran.code, ran.out) == (2, "")
    assert "snapshot" in ran.err


def test_a_total_that_earlier_versions_did_not_write_is_not_compared(tmp_path: Path) -> None:
    """The other figures are; a budget of its growth says what is missing. docs/ has a file of version 0.1.0."""
    earlier = ROOT / "docs" / "examples" / "baselines" / "mynet.json"
    (before,) = from_json(earlier.read_text(encoding="utf-8"))
    assert "traffic_bytes" not in before.totals
    (tmp_path / "net.json").write_text(json.dumps(without_traffic("resnet-20")))
    ran = run("diff", str(tmp_path / "net.json"), "resnet-20")
    assert (ran.code, "bytes read and written" in ran.out) == (0, False), ran.err
    assert ran.out.startswith("no layer changed\n")
    lines = ["[[check]]", 'model = "resnet-20"', 'baseline = "net.json"']
    lines += ['max_traffic_growth = "1 %"', 'max_macs_growth = "1 %"']
    (tmp_path / "archcalc.toml").write_text("\n".join(lines))
    ran = run("check", str(tmp_path / "archcalc.toml"))
    assert ran.code == 1
    assert "not in the baseline" in ran.out
    assert "+0.0 %" in ran.out


def without_traffic(reference: str) -> dict[str, Any]:
    """A snapshot as a version wrote it that knew no traffic."""
    made = json.loads(run("snapshot", reference).out)
    for model in made["models"]:
        del model["totals"]["traffic_bytes"]
    return made


def test_a_damaged_figure_is_refused() -> None:
    text = run("snapshot", "lstm-cell").out
    keys = random.Random(1).sample(["params", "macs", "calls", "output", "path"], 3)
    for key in keys:
        with pytest.raises(NotASnapshot):
            from_json(text.replace(f'"{key}": ', f'"{key}x": ', 3))


@pytest.mark.parametrize(
    ("arguments", "code", "said_"),
    [
        (["diff", "resnet-18"], 2, "NEW"),
        (["diff", "resnet-18", "resnet-99"], 2, "did you mean"),
        (["diff", "nothing.json", "resnet-18"], 2, "cannot be read"),
        (["snapshot", "resnet-18", "-o", "nowhere/net.json"], 2, "cannot write"),
        (["snapshot"], 2, "MODEL"),
    ],
)
def test_wrong_use_ends_in_a_sentence(arguments: list[str], code: int, said_: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said_ in ran.err


# ---- descriptions and inputs ---------------------------------------------------------------------

TINY = """from torch import nn
class Net(nn.Module):
    def __init__(self, stride=2, bias=True, kernel=3):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, kernel, stride=stride, bias=bias)
    def forward(self, image, scale=None):
        return self.conv(image)
class Renamed(Net):
    def forward(self, picture):
        return self.conv(picture)
"""


@pytest.mark.parametrize(
    ("new", "what"),
    [
        ("Net(stride=(1,2))", "Conv2d: stride (2, 2) → (1, 2)"),
        ("Net(bias=False)", "Conv2d: new bias=False"),
        ("Net(kernel=(1,3),stride=1)", "Conv2d: kernel_size (3, 3) → (1, 3), stride (2, 2) → (1, 1)"),
    ],
)
def test_a_change_of_a_description_is_told_part_by_part(new: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(TINY)
    old, new = f"{tmp_path}/net.py:Net", f"{tmp_path}/net.py:{new}"
    forth = json.loads(run("diff", old, new, "-i", "1x3x9x9", "--json").out)
    assert [row["what"] for row in forth["rows"] if row["path"]] == [what]
    back = json.loads(run("diff", new, old, "-i", "1x3x9x9", "--json").out)
    assert "→ bias" not in back["rows"][0]["what"]
    if "bias" in what:
        assert back["rows"][0]["what"] == "Conv2d: gone bias=False"


@pytest.mark.parametrize("new", ["Net", "Renamed"])
def test_a_model_without_inputs_takes_those_of_the_snapshot(new: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(TINY)
    file, net = str(tmp_path / "net.json"), f"{tmp_path}/net.py"
    run("snapshot", f"{net}:Net", "-i", "2x3x9x9", "--dtype", "bfloat16", "-o", file)
    for sides in ((file, f"{net}:{new}"), (f"{net}:{new}", file)):
        ran = run("diff", *sides, "--json")
        assert ran.code == 0, ran.err
        answer = json.loads(ran.out)
        assert [side["inputs"][0].partition("=")[2] for side in (answer["old"], answer["new"])] == [
            "bfloat16:2x3x9x9"
        ] * 2
        assert answer["totals"]["changed"] == (new == "Renamed")  # the class of the root
    assert run("diff", file, f"{net}:Net", "-i", "1x3x9x9", "--exit-code").code == 1  # what is given goes first


def test_a_network_is_compared_on_the_inputs_of_its_snapshot(tmp_path: Path) -> None:
    file = str(tmp_path / "net.json")
    run("snapshot", "resnet-20", "--batch", "4", "-o", file)
    assert "no layer changed" in run("diff", file, "resnet-20").out
    assert "1x3x32x32" in run("diff", file, "resnet-20", "--batch", "1").out
