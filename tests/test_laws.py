"""Laws: rediscovered from traces alone, exact where they say they hold, refused where there are none."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from archcalc import engine
from archcalc.analyses import analyze
from archcalc.analyses.metrics import LAW, TABLE, Metric, analyses_for
from archcalc.engine import Setup, Training
from archcalc.render.formulas import as_sympy, as_written
from archcalc.studies.law.interpolation import Law, closed_law, law, passes
from archcalc.studies.law.lattice import CALLS, Lattice, Refused, lattices
from archcalc.studies.law.polynomials import Powers, expression, fewest_powers, leading, powers_in, through, value
from tests.helpers import run, run_fresh, totals
from tests.regenerate import all_networks

pytestmark = pytest.mark.usefixtures("shared_traces")

# ---- interpolation -------------------------------------------------------------------------------

COEFFICIENTS = st.fractions(-9, 9, max_denominator=6)
FORMULAS = st.dictionaries(st.tuples(st.integers(-1, 3), st.integers(-1, 3)), COEFFICIENTS, max_size=6)


@given(formula=FORMULAS)
def test_interpolation_gives_the_formula_back(formula: dict[tuple[int, int], Fraction]) -> None:
    wanted = {powers: c for powers, c in formula.items() if c}
    assert through([[1, 2, 3, 5, 8], [2, 3, 4, 7, 9]], [1, 1], lambda point: value(wanted, point)) == wanted


def test_the_powers_of_a_figure() -> None:
    nodes = [1, 2, 3, 4, 5, 6, 7]
    assert powers_in(nodes, [7] * 7) == Powers(0)
    assert powers_in(nodes, [n**4 for n in nodes]) == Powers(4)
    assert powers_in(nodes, [n**5 for n in nodes]) is None
    assert powers_in(nodes, [2**n for n in nodes]) is None
    assert powers_in([1, 2, 4, 8, 16], [64, 32, 16, 8, 4]) == Powers(0, 1)


@given(formula=st.dictionaries(st.tuples(st.integers(0, 3)), st.integers(1, 99).map(Fraction), min_size=1, max_size=4))
def test_texts_mean_the_formula(formula: dict[tuple[int], Fraction]) -> None:
    assert sympy.expand(sympy.sympify(as_sympy(formula, ["depth"]))) == sympy.expand(
        expression(formula, ["depth"])
    ).subs({sympy.Symbol("depth", positive=True): sympy.Symbol("depth")})
    assert as_written(formula, ["depth"])


def test_big_o_and_where_a_term_takes_over() -> None:
    assert leading({(2, 1): Fraction(2), (1, 2): Fraction(4), (1, 1): Fraction(9)}) == [(2, 1), (1, 2)]
    assert passes({(2,): Fraction(1), (1,): Fraction(6143)}) == (2, 6144)
    assert passes({(3,): Fraction(5)}) is None


# ---- the search for a lattice --------------------------------------------------------------------


def test_a_lattice_is_found_where_members_exist() -> None:
    """Depth 6n + 4, as three equal blocks need it."""

    def evaluate(point: tuple[int, ...]) -> dict[str, int] | None:
        (depth,) = point
        return {"params": depth**2} if depth >= 10 and depth % 6 == 4 else None

    assert lattices(evaluate, {"depth": 100}) == (Lattice("depth", 10, 6),)


def test_a_knob_that_divides_another_has_powers_of_two() -> None:
    def evaluate(point: tuple[int, ...]) -> dict[str, int] | None:
        channels, groups = point
        return {"params": channels**2 // groups} if channels % groups == 0 else None

    channels, groups = lattices(evaluate, {"channels": 64, "groups": 1})
    assert (groups.start, groups.step) == (1, 0)
    assert channels.step == groups.nodes()[-1]
    found = law("params", evaluate, (channels, groups))
    assert isinstance(found, Law)
    assert dict(found.formula) == {(2, -1): 1}


def test_a_law_that_a_far_member_breaks_is_refused() -> None:
    """A figure that is a line up to 60 and a curve beyond: no law, and the member is named."""

    def evaluate(point: tuple[int, ...]) -> dict[str, int]:
        (depth,) = point
        return {"macs": depth if depth < 60 else depth**2 + 17 * (depth % 5)}

    found = law("macs", evaluate, (Lattice("depth", 1, 3),))
    assert isinstance(found, Refused)
    assert "depth" in found.reason


def test_a_peak_of_two_moments_has_its_law_where_one_of_them_stays_the_highest() -> None:
    def evaluate(point: tuple[int, ...]) -> dict[str, int]:
        return {"peak_bytes": max(1000, 50 * point[0] + 7)}

    found = law("peak_bytes", evaluate, (Lattice("batch", 1, 1),))
    assert isinstance(found, Law)
    assert dict(found.formula) == {(1,): 50, (0,): 7}
    assert found.lattice[0].start > 19


def test_the_law_of_moments_that_cannot_be_told_apart_ends_at_the_farthest_member_checked() -> None:
    """A peak of two moments whose ops repeat: 50 n + 7 from n = 20 on, known up to the members that were traced."""

    def evaluate(point: tuple[int, ...]) -> dict[str, int]:
        return {"peak_bytes": max(1000, 50 * point[0] + 7)}

    found = closed_law("peak_bytes", evaluate, (Lattice("depth", 10, 6),))
    assert isinstance(found, Law)
    (lattice,) = found.lattice
    assert dict(found.formula) == {(1,): 50, (0,): 7}
    assert (lattice.start, lattice.until) == (22, 22 + 6 * 25)  # 7 nodes and 18 steps more
    assert [found.has((number,)) for number in (16, 22, 23, 172, 178)] == [False, True, False, True, False]


def test_the_network_itself_is_a_witness() -> None:
    """Small members of max(32, d // 16) are a line that the network's own width is not on."""

    def evaluate(point: tuple[int, ...]) -> dict[str, int]:
        return {"params": point[0] * max(32, point[0] // 16)}

    on = (Lattice("d", 16, 16),)
    assert isinstance(law("params", evaluate, on), Law)
    found_ = law("params", evaluate, on, (1024,))
    assert isinstance(found_, Refused) or value(found_.formula, [1024]) == 1024 * 64


# ---- members by their cost -----------------------------------------------------------------------


@given(formula=st.dictionaries(st.tuples(st.integers(-2, 4)), COEFFICIENTS, max_size=3), start=st.integers(1, 9))
def test_few_nodes_tell_the_powers_that_many_tell(formula: dict[tuple[int], Fraction], start: int) -> None:
    """Of a formula of powers: no more nodes are asked than its degree needs, with two witnesses."""
    nodes = [start + 6 * n for n in range(7)]
    values = {node: value(formula, [node]) * 5**6 * 6**6 for node in nodes}
    asked: list[int] = []

    def values_at(node: int) -> tuple[Fraction]:
        asked.append(node)
        return (values[node],)

    wanted = powers_in(nodes, list(values.values()))  # type: ignore[arg-type]
    assert fewest_powers(nodes, values_at) == (None if wanted is None else [wanted])  # type: ignore[arg-type]
    if wanted is not None:
        assert len(asked) == max(5, wanted.degree + 3)


def test_values_that_no_formula_fits_are_given_up_before_the_last_node() -> None:
    asked: list[int] = []

    def values_at(node: int) -> tuple[int]:
        asked.append(node)
        return (7 if node == 1 else node**2,)

    assert fewest_powers([1, 2, 3, 4, 5, 6, 7], values_at) is None
    assert asked == [1, 2, 3, 4, 5, 6]  # six points on no formula of powers up to 4: a seventh cannot help


@pytest.mark.parametrize(
    ("calls", "own", "checked"),
    [
        (100, (), {4, 5, 26, 501}),  # members cost alike: the far one, and one 20 times as far
        (30_000, (), {4, 5, 26, 501}),  # all of them dear
        (lambda n: 100 * n, (), {4, 5, 26}),  # 2,600 calls are cheap
        (lambda n: 1500 * n, (), {4, 5, 10}),  # 26 would take 39,000, 14 takes 21,000
        (lambda n: 1500 * n, (12,), {4, 5, 12}),  # the network itself is farther, and is traced anyway
        (lambda n: 1500 * n, (14,), {4, 5, 14}),  # what it takes is allowed
        (lambda n: 10 * n**2, (40,), {4, 5, 26, 40}),
    ],
)
def test_far_members_are_no_dearer_than_the_network_itself(calls: Any, own: tuple[int, ...], checked: set[int]) -> None:
    def evaluate(point: tuple[int, ...]) -> dict[str, int]:
        return {"macs": 3 * point[0] ** 2, CALLS: calls if isinstance(calls, int) else calls(point[0])}

    found = law("macs", evaluate, (Lattice("layers", 1, 1),), own)
    assert isinstance(found, Law)
    assert {point[0] for point in found.checked_at} == checked


def test_without_a_far_member_all_nodes_are_checked() -> None:
    """A line that bends at the seventh node, where there are no more members than that."""

    def evaluate(point: tuple[int, ...]) -> dict[str, int] | None:
        return {"macs": point[0] + (point[0] == 7)} if point[0] <= 7 else None

    assert isinstance(law("macs", evaluate, (Lattice("layers", 1, 1),)), Refused)


@pytest.mark.parametrize("metric", [metric for metric in TABLE if LAW in metric.uses], ids=lambda metric: metric.name)
def test_a_figure_is_read_from_the_analyses_that_it_names(metric: Metric) -> None:
    trace = engine.trace("resnet-20", Setup(training=Training() if metric.trains else None))
    assert metric.of(analyze(trace, analyses_for([metric]))) == metric.of(analyze(trace))


# ---- laws of networks ----------------------------------------------------------------------------


def found(*arguments: str) -> dict[str, dict[str, Any]]:
    ran = run("law", *arguments, "--json")
    assert ran.code == 0, ran.err
    return {row["figure"]: row for row in json.loads(ran.out)["rows"]}


def same(one: str, other: str) -> bool:
    return bool(sympy.simplify(sympy.sympify(one) - sympy.sympify(other)) == 0)


PLAIN_BLOCK = ("dense-block", "--set", "bottleneck=false", "--over", "layers,growth_rate=in_channels,size")
CASES = [
    ("conv", "--over in_channels,out_channels", "params", "9*in_channels*out_channels", "O(Cin·Cout)"),
    ("conv", "--over in_channels,groups", "params", "9*in_channels*64/groups", "O(Cin/g)"),
    ("conv", "--over in_channels,size", "macs", "9*64*in_channels*size**2", "O(Cin·S²)"),
    ("conv", "--over kernel", "params", "64*64*kernel**2", "O(k²)"),
    ("separable-conv", "--over in_channels,out_channels", "weights", "9*in_channels + in_channels*out_channels", "O(Cin·Cout)"),
    ("low-rank-conv", "--over in_channels=out_channels", "weights", "6*in_channels**2", "O(Cin²)"),
    ("se-block", "--over channels,reduction", "weights", "2*channels**2/reduction", "O(C²/r)"),
    ("lstm-cell", "--over input_size,hidden_size", "params", "4*hidden_size*(input_size + hidden_size + 2)", "O(I·H + H²)"),
    ("rnn-cell", "--over input_size,hidden_size", "params", "hidden_size*(input_size + hidden_size + 2)", "O(I·H + H²)"),
    ("multi-head-attention", "--over seq_len,d_model", "macs", "4*seq_len*d_model**2 + 2*seq_len**2*d_model", "O(n²·d + n·d²)"),
    ("recurrent-layer", "--over n,d", "macs", "n*d**2", "O(n·d²)"),
    ("convolutional-layer", "--over n,d,k", "macs", "k*n*d**2", "O(n·d²·k)"),
    ("restricted-attention-layer", "--over n,d,r", "macs", "2*r*n*d + 4*n*d**2", "O(n·d² + n·d·r)"),
    ("recurrent-layer", "--over n", "sequential_operations", "n", "O(n)"),
    ("self-attention-layer", "--over n", "sequential_operations", "4", "O(1)"),
]  # fmt: skip


@pytest.mark.parametrize(("network", "over", "figure", "formula", "order"), CASES)
def test_laws_that_papers_print(network: str, over: str, figure: str, formula: str, order: str) -> None:
    row = found(network, *over.split(), "--figure", figure)[figure]
    assert same(row["expression"], formula), row["expression"]
    assert row["big_o"] == order
    assert len(row["checked_at"]) >= 3


def test_dense_blocks_grow_with_the_square_of_their_layers_or_not() -> None:
    """Temporaries W·H·k·L(L+1) against 2·W·H·k·L with shared buffers; weights 9k²·L(L+1)/2."""
    live = "live:cat+native_batch_norm"
    naive = found(*PLAIN_BLOCK, "--figure", live, "--figure", "weights")
    assert same(naive[live]["expression"], "size**2*growth_rate*layers*(layers + 1)")
    assert same(naive["weights"]["expression"], "9*growth_rate**2*layers*(layers + 1)/2")
    shared = found(*PLAIN_BLOCK, "--set", "memory_efficient=true", "--figure", live)
    assert same(shared[live]["expression"], "2*size**2*growth_rate*layers")


def test_the_unit_costs_of_shufflenet_v1() -> None:
    """Section 3.2, hw times: ResNet's 2cm + 9m², ResNeXt's 2cm + 9m²/g, ShuffleNet's 2cm/g + 9m with m = c/4."""
    resnet = found("bottleneck-block", "--over", "in_channels=out_channels,width,size", "--figure", "macs")["macs"]
    assert same(resnet["expression"], "size**2*(2*in_channels*width + 9*width**2)")
    resnext = found("bottleneck-block", "--over", "width,groups", "--figure", "macs", "--size", "8")["macs"]
    assert same(resnext["expression"], "64*(2*256*width + 9*width**2/groups)")
    shufflenet = found(
        "shuffle-unit-v1", "--over", "in_channels=out_channels,groups", "--size", "8", "--figure", "macs"
    )
    assert same(shufflenet["macs"]["expression"], "64*(2*in_channels*(in_channels/4)/groups + 9*in_channels/4)")


@pytest.mark.parametrize(
    ("network", "knob", "members"),
    [("densenet-bc-cifar", "depth", (34, 130)), ("resnet-18", "size", (160, 352)), ("resnet-20", "batch", (3, 57))],
)
def test_a_law_holds_at_members_it_has_not_seen(network: str, knob: str, members: tuple[int, int]) -> None:
    row = found(network, "--over", knob, "--figure", "macs", "--figure", "params")
    for member in members:
        option = ["--set", f"depth={member}"] if knob == "depth" else [f"--{knob}", str(member)]
        for figure, command in (("macs", "flops"), ("params", "summary")):
            by_law = sympy.sympify(row[figure]["expression"]).subs({knob: member})
            assert by_law == totals(command, network, *option)[figure]


def test_training_laws_of_densenet_by_depth() -> None:
    """Quadratic as written, linear with shared buffers; both equal to the bytes at a depth they have not seen."""
    for efficient, power in (("false", 2), ("true", 1)):
        options = ("--set", f"memory_efficient={efficient}")
        row = found(
            "densenet-cifar", *options, "--over", "depth", "--figure", "saved_total_bytes", "--optimizer", "sgd"
        )
        kept = sympy.sympify(row["saved_total_bytes"]["expression"])
        assert sympy.degree(kept) == power
        step = ("--train", "--optimizer", "sgd", *options, "--set", "depth=46")
        assert kept.subs({"depth": 46}) == totals("memory", "densenet-cifar", *step)["saved_total_bytes"]


def test_the_whole_set_of_figures() -> None:
    rows = found("resnet-20", "--over", "batch")
    assert list(rows) == ["params", "macs", "saved_total_bytes", "peak_bytes", "graph_depth"]
    assert rows["params"]["big_o"] == "O(1)"
    assert rows["macs"]["big_o_in"] == {"batch": "O(B)"}
    out = run("law", "resnet-20", "--over", "batch").out
    assert "40,551,040·B" in out
    assert "letters: B = batch" in out


def test_a_figure_that_is_nothing_has_a_law_too() -> None:
    rows = found("batch-norm", "--over", "channels")
    assert (rows["macs"]["expression"], rows["macs"]["big_o"]) == ("0", "O(1)")
    assert rows["params"]["expression"] == "2*channels"


def test_where_attention_takes_over() -> None:
    """A GPT-2 block: 2n²d against 12nd² with d = 768 and the head: attention is more than the rest from there."""
    out = run("law", "encoder-layer", "--over", "seq_len", "--figure", "macs").out
    assert (
        "MACs: the term in n² (ScaledDotProductAttention) passes the rest at n = 3,073" in out
    )  # 2d·n > 6·d²: n > 6·512
    assert "2·d·n" not in out


def test_latex_measure_and_plot(tmp_path: Path) -> None:
    out = run("law", "encoder-layer", "--over", "seq_len", "--figure", "macs", "--latex").out
    assert "n^{2}" in out or "n \\left(" in out
    answer = json.loads(
        run("law", "resnet-20", "--over", "size", "--figure", "macs", "--measure", "32:80:16", "--json").out
    )
    (row,) = answer["rows"]
    assert [one["size"] for one in answer["measured"]] == [32, 48, 64, 80]
    for one in answer["measured"]:
        by_law = sympy.sympify(row["expression"]).subs({"size": one["size"]})
        assert (by_law == one["macs"]) == (
            (one["size"] - row["lattice"]["size"]["start"]) % row["lattice"]["size"]["step"] == 0
        )
    drawn = run("law", "resnet-20", "--over", "batch", "--figure", "macs", "--plot")
    assert "┤" in drawn.out
    assert "B = batch" in drawn.out
    for ending, begins in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        file = tmp_path / f"law.{ending}"
        ran = run("law", "resnet-20", "--over", "batch", "--figure", "macs", "-o", str(file))
        assert ran.code == 0, ran.err
        assert file.read_bytes().startswith(begins)
    assert "resnet-20" in (tmp_path / "law.svg").read_text() or "<path" in (tmp_path / "law.svg").read_text()


def test_a_measured_member_refutes_a_law(tmp_path: Path) -> None:
    """A step at width 50,000, beyond every member that was looked at."""
    file = tmp_path / "step.py"
    file.write_text("from torch import nn\n\ndef make(width=4):\n    return nn.Linear(4, width + (width > 50_000))\n")
    options = (f"{file}:make", "-i", "1x4", "--over", "width", "--figure", "params")
    assert run("law", *options).code == 0
    ran = run("law", *options, "--measure", "40000:60000:10000")
    assert ran.code == 3
    assert "fails at width = 60000" in ran.out


def test_every_format_has_the_laws() -> None:
    for format_, wanted in (
        ("csv", "40551040*batch"),
        ("md", "40,551,040·B"),
        ("latex", "B$\\cdot$".replace("\\\\", "\\")),
    ):
        ran = run("law", "resnet-20", "--over", "batch", "--figure", "macs", "-f", format_)
        assert ran.code == 0, ran.err
        assert wanted in ran.out or format_ == "latex"


@pytest.mark.parametrize("missing", ["plotext", "matplotlib"])
def test_a_missing_extra_tells_what_to_install(missing: str, tmp_path: Path) -> None:
    (tmp_path / missing).mkdir()
    (tmp_path / missing / "__init__.py").write_text("raise ImportError('not here')")
    options = ["--plot"] if missing == "plotext" else ["-o", str(tmp_path / "law.svg")]
    code = "import sys; from archcalc.cli import main; sys.exit(main(sys.argv[1:]))"
    ran = run_fresh(
        "law",
        "conv",
        "--over",
        "kernel",
        "--figure",
        "params",
        *options,
        code=f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}",
    )
    assert ran.code == 2, ran.err
    assert f"pip install --force-reinstall {missing}" in ran.err.replace("'", "")


def test_the_classic_comparison_is_computed() -> None:
    """Vaswani et al. 2017, Table 1: complexity, sequential operations and longest path of each kind of layer."""
    answer = json.loads(run("law", "--table", "self-attention", "--json").out)
    rows = {row["layer"]: row for row in answer["rows"]}
    orders = {name: (row["macs_big_o"], row["sequential_big_o"], row["path_big_o"]) for name, row in rows.items()}
    assert orders == {
        "self-attention": ("O(n²·d + n·d²)", "O(1)", "O(1)"),
        "self-attention, products alone": ("O(n²·d)", "O(1)", "O(1)"),
        "recurrent": ("O(n·d²)", "O(n)", "O(n)"),
        "recurrent, with its input matrix": ("O(n·d²)", "O(n)", "O(n)"),
        "convolutional": ("O(n·d²·k)", "O(1)", "O(n/k)"),
        "convolutional, dilated": ("O(n·d²·k)", "O(1)", "O(log_k n)"),
        "convolutional, separable": ("O(n·d² + n·d·k)", "O(1)", "O(n/k)"),
        "self-attention, restricted": ("O(n·d² + n·d·r)", "O(1)", "O(n/r)"),
        "feed-forward (d -> 4d -> d)": ("O(n·d²)", "O(1)", ""),
        "self-attention + feed-forward": ("O(n²·d + n·d²)", "O(1)", "O(1)"),
    }
    assert rows["recurrent"]["path"] == "n - 1"
    assert rows["feed-forward (d -> 4d -> d)"]["path"] == "none"
    # 2n²d against 2nd²: n against d; 4nd² + 2n²d is always more; n²d + nd², a separable kernel of n, always less
    met = {(row["first"], row["second"]): row["more_where"] for row in answer["crossings"]}
    assert met == {
        ("self-attention, products alone", "recurrent, with its input matrix"): "n > d",
        ("self-attention", "recurrent, with its input matrix"): "1 > 0",
        ("convolutional, separable", "self-attention + feed-forward"): "0 > 1",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["law"], 2, "law needs a model"),
        (["law", "resnet-18"], 2, "--over"),
        (["law", "resnet-18", "--over", "depht"], 2, "no knob 'depht'"),
        (["law", "densenet-121", "--over", "block_config"], 2, "needs a number that can grow"),
        (["law", "resnet-18", "--over", "batch,batch"], 2, "twice"),
        (["law", "resnet-18", "--over", "batch", "--figure", "mcas"], 2, "no figure 'mcas'"),
        (["law", "resnet-18", "--over", "batch", "--measure", "9:1:2"], 2, "--measure 10:100:10"),
        (["law", "resnet-18", "--over", "batch,size", "--measure", "1:9:2"], 2, "does not name each knob"),
        (["law", "resnet-18", "--over", "batch,size", "--measure", "batch=2"], 2, "says nothing of size"),
        (["law", "resnet-18", "--over", "batch,size", "--measure", "batch=2,batch=3"], 2, "batch=64,size=64"),
        (["law", "resnet-18", "--over", "batch,size", "--measure", "batch=1:99,size=1:99"], 2, "more than 500 members"),
        (
            ["law", "resnet-18", "--over", "batch", "--figure", "params", "--optimizer", "sgd"],
            2,
            "--optimizer has no effect",
        ),
        (["law", "resnet-18", "--over", "batch", "--over", "size"], 2, "--over is given twice"),
        (["law", "conv", "--over", "kernel", "--figure", "live:notanop"], 2, "conv runs no op 'notanop'"),
        (
            ["law", "conv", "--over", "kernel", "--figure", "live:aten.convolution+"],
            2,
            "no figure 'live:aten.convolution+'",
        ),
        (["law", "--table", "self-attention", "--batch", "3"], 2, "--batch has no effect on --table"),
        (["law", "--table", "attention"], 2, "--table self-attention"),
        (["law", "resnet-18", "--over", "seq_len"], 2, "--seq-len does not apply"),
        (["law", "lstm-cell", "--over", "size"], 2, "size"),
    ],
)
def test_wrong_use_ends_in_a_sentence(arguments: list[str], code: int, said: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (code, ""), ran.out
    assert said in ran.err


STAIRS = """
from torch import nn

def make(width=4):
    return nn.Sequential(*(nn.Linear(4, 4) for _ in range(2 ** (width % 7))))
"""


def test_what_has_no_law_is_refused_with_exit_code_3(tmp_path: Path) -> None:
    """Layers that come and go with width % 7: no formula, none printed."""
    file = tmp_path / "stairs.py"
    file.write_text(STAIRS)
    ran = run("law", f"{file}:make(width=4)", "--over", "width", "-i", "1x4", "--figure", "params")
    assert ran.code == 3, ran.out
    assert "no law" in ran.out
    assert "O(" not in ran.out.replace("op graph", "")


def test_a_default_figure_without_a_law_is_a_note(tmp_path: Path) -> None:
    """Bytes of a step that grow by steps of 4 rows have no formula; the other figures have, and are printed."""
    file = tmp_path / "rounded.py"
    file.write_text(ROUNDED)
    options = (f"{file}:Net", "-i", "1x4", "--over", "batch")
    ran = run("law", *options)
    assert ran.code == 0, ran.err
    assert "kept for backward: no law:" in ran.out
    assert "MACs" in ran.out
    named = run("law", *options, "--figure", "macs", "--figure", "saved_total_bytes")
    assert named.code == 3
    assert "kept for backward: no law:" in named.out


ROUNDED = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        y = self.linear(x)
        rows = (len(x) % 5) ** 2
        return (y.unsqueeze(0).expand(rows + 1, *y.shape) * 2).exp()
"""


def test_a_peak_law_of_two_knobs_is_the_highest_of_its_pieces() -> None:
    """Attention: weights, gradients and state of AdamW, or the n² of the heads' scores, whichever is more."""
    row = found("multi-head-attention", "--over", "seq_len,d_model", "--figure", "peak_bytes")["peak_bytes"]
    n, d = sympy.symbols("seq_len d_model")
    law_ = sympy.sympify(row["expression"])
    assert isinstance(law_, sympy.Max)
    assert len(law_.args) == len(row["pieces"]) == 2
    assert row["big_o"] == "O(n² + n·d + d²)"
    assert row["big_o_in"] == {"seq_len": "O(n²)", "d_model": "O(d²)"}
    for point in ({n: 16384, d: 8192}, {n: 16, d: 8192}, {n: 65536, d: 64}):
        step = ("--train", "--seq-len", str(point[n]), "--set", f"d_model={point[d]}")
        assert law_.subs(point) == totals("memory", "multi-head-attention", *step)["peak_bytes"]
        (highest,) = [
            piece["expression"]
            for piece in row["pieces"]
            if all(sympy.sympify(where).subs(point) for where in piece["where"])
        ]
        assert sympy.sympify(highest).subs(point) == law_.subs(point)


def test_a_peak_law_of_one_knob_begins_at_the_first_value() -> None:
    """Each piece from its first to its last value, together the whole lattice."""
    row = found("encoder-layer", "--over", "batch", "--figure", "peak_bytes")["peak_bytes"]
    numbers = range(row["lattice"]["batch"]["start"], 100)
    for number in numbers:
        where = [[sympy.sympify(text).subs({"batch": number}) for text in piece["where"]] for piece in row["pieces"]]
        assert [all(each) for each in where].count(True) == 1
    assert row["lattice"]["batch"] == {"start": 2, "step": 1, "until": None}


def test_two_knobs_are_measured_beside_the_law() -> None:
    options = ("--over", "in_channels=out_channels,size", "--figure", "macs", "--json")
    answer = json.loads(run("law", "conv", *options, "--measure", "size=8:12:4,in_channels=3").out)
    # 9·3² MACs at each of 8² and 12² positions
    assert answer["measured"] == [
        {"in_channels": 3, "size": 8, "macs": 9 * 3**2 * 8**2},
        {"in_channels": 3, "size": 12, "macs": 9 * 3**2 * 12**2},
    ]


@pytest.mark.parametrize("name", ["convolution", "aten.convolution", "aten.convolution.default"])
def test_ops_have_the_names_that_memory_prints(name: str) -> None:
    """Feature maps of the convolution are the model's own output, which is not counted; its gradients are other ops'."""
    live = f"live:{name}+aten.relu_"
    options = ("--over", "size", "--figure", live)
    expected = found("dense-block", *options[:2], "--figure", "live:convolution+relu_")["live:convolution+relu_"]
    assert found("dense-block", *options)[live]["expression"] == expected["expression"] != "0"


class SymbolicMacs(TorchDispatchMode):  # type: ignore[misc]
    """MACs of convolutions and matrix products from shapes with symbols in them."""

    def __init__(self) -> None:
        super().__init__()
        self.macs: Any = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            self.macs += out.numel() * args[1].shape[1:].numel()
        elif func in (torch.ops.aten.mm.default, torch.ops.aten.bmm.default):
            self.macs += out.numel() * args[0].shape[-1]
        elif func is torch.ops.aten.addmm.default:
            self.macs += out.numel() * args[1].shape[-1]
        return out


@pytest.mark.parametrize(
    ("network", "knob", "axes"), [("multi-head-attention", "batch", [0]), ("multi-head-attention", "seq_len", [1])]
)
def test_symbolic_tracing_gives_the_same_law(network: str, knob: str, axes: list[int]) -> None:
    """The other way to a law: torch's fake tensors whose sizes are symbols, through the same definition.

    Convolutions turn such symbols into numbers, so that this way ends where images begin.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    definition = all_networks()[network]
    (wanted,) = definition.inputs_for(definition.config)
    shape = [7 if axis in axes else size for axis, size in enumerate(wanted.shape)]
    dynamic = [DimDynamic.DYNAMIC if axis in axes else DimDynamic.STATIC for axis in range(len(shape))]
    mode = FakeTensorMode(shape_env=ShapeEnv(), static_shapes=False)
    with mode:
        module = definition.build(**definition.config).eval()
    x = mode.from_tensor(torch.zeros(shape), symbolic_context=StatelessSymbolicContext(dynamic_sizes=dynamic))
    counter = SymbolicMacs()
    with mode, counter, torch.no_grad():
        module(x)
    symbolic = counter.macs.node.expr
    (symbol,) = symbolic.free_symbols
    by_law = sympy.sympify(found(network, "--over", knob, "--figure", "macs")["macs"]["expression"])
    assert sympy.expand(symbolic.subs({symbol: sympy.Symbol(knob)}) - by_law) == 0
