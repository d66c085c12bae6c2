"""`law --cross` and `compare --relative`: where one figure passes another, and how many times it is another's."""

import json

import pytest

from tests.helpers import report, run

pytestmark = pytest.mark.usefixtures("shared_traces")

BLOCK = ("law", "dense-block", "--set", "bottleneck=false", "--set", "layers=2")
TEMPORARIES = "live:cat+native_batch_norm"


def test_parameters_pass_temporaries_at_nine_halves_of_the_growth_rate() -> None:
    """Weights 9k²·L(L+1)/2 against temporaries S²·k·L(L+1): more where 9k > 2S²."""
    ran = run(
        *BLOCK, "--over", "growth_rate=in_channels,size", "--cross", "weights,live:cat+native_batch_norm", "--json"
    )
    assert json.loads(ran.out)["cross"]["more_where"] == "9*growth_rate > 2*size**2"


def test_one_knob_is_told_to_the_value() -> None:
    """(9k/2 + 1)·k·L(L+1) parameters with BN's two a channel, 4 bytes each: 9k + 2 > 2·64 from k = 15."""
    ran = run(*BLOCK, "--over", "growth_rate=in_channels", "--size", "8", "--cross", f"params_bytes,{TEMPORARIES}")
    assert "pass elements of cat and native_batch_norm alive from k = 15 on" in ran.out  # at 14 both are 128
    assert "elements and parameters at 4 bytes" in ran.out


@pytest.mark.parametrize(
    ("cross", "said"),
    [
        ("weights", "does not name two figures"),
        ("macs,macs", "does not name two figures"),
        ("params,macs", "params counts parameters and macs counts MACs"),
        ("weights,mcas", "no figure 'mcas'"),
        ("weights,params --figure macs", "--cross names its figures itself"),
    ],
)
def test_what_cannot_cross_is_refused(cross: str, said: str) -> None:
    ran = run(*BLOCK, "--over", "growth_rate", "--cross", *cross.split())
    assert ran.code == 2
    assert said in ran.err


def test_relative_figures_against_the_first() -> None:
    """714.2 M of AlexNet are 19.0 times 37.59 M; groups of 4 are a quarter."""
    out = run("compare", "alexnet", "shufflenet-v1-0.5x-g3", "--relative").out
    assert "19.0x less" in out
    first, second = (report(name).macs for name in ("alexnet", "shufflenet-v1-0.5x-g3"))
    assert round(first / second, 1) == 19.0
    rows = json.loads(run("compare", "conv", "conv[groups=4]", "--relative", "--json").out)["rows"]
    assert [row["params_ratio"] for row in rows] == [1.0, 0.25]
    assert [row["elementwise_flops_ratio"] for row in rows] == [None, None]
    assert "peak_bytes_ratio" not in json.loads(run("compare", "conv", "conv", "--json").out)["rows"][0]
    alone = run("compare", "conv", "--relative")
    assert (alone.code, "one alone" in alone.err) == (2, True)
