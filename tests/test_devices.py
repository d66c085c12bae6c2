"""The data sheets of devices: names, facts derived a second time, and the command that lists them."""

from __future__ import annotations

import json

import pytest

from archcalc import hardware
from archcalc.errors import UnknownDevice
from archcalc.hardware.catalogue import _normal
from tests.helpers import run, run_fresh

ALL = {device.name: device for device in hardware.devices()}


@pytest.mark.parametrize("typed", ["rtx4090", "RTX 4090", "NVIDIA rtx-4090", "GeForce_RTX_4090"])
def test_spelling_does_not_matter(typed: str) -> None:
    assert hardware.device(typed).name == "NVIDIA RTX 4090"


def test_no_name_means_two_devices() -> None:
    """Names and aliases as they are compared; each is found again."""
    owners: dict[str, str] = {}
    for device in ALL.values():
        for name in (device.name, *device.aliases):
            assert owners.setdefault(_normal(name), device.name) == device.name, name
            assert hardware.device(name) is device


@pytest.mark.parametrize(
    ("typed", "near", "could"),
    [
        ("a100", ["a100-80g", "a100-40g", "a100-pcie-80g", "a100-pcie-40g"], 4),
        ("V100", ["v100-32g", "v100-16g", "v100-pcie-32g", "v100-pcie-16g"], 4),
        ("h100", ["h100-sxm", "h100-nvl", "h100-pcie"], 3),
        ("mi300", ["mi300x"], 1),
        ("rtx4091", ["rtx4090"], 0),
        ("abacus", [], 0),
        ("", [], 0),
    ],
)
def test_another_name_is_never_guessed(typed: str, near: list[str], could: int) -> None:
    with pytest.raises(UnknownDevice) as error:
        hardware.device(typed)
    assert error.value.near[: len(near)] == near
    assert ("could mean" in error.value.message) == (could > 1)
    assert ("did you mean" in error.value.hint) == (could < 2 and bool(near))
    assert "archcalc devices" in error.value.hint


@pytest.mark.parametrize(
    ("name", "ridge"),
    [("NVIDIA H100 SXM", 295), ("NVIDIA A100 SXM 80GB", 153), ("AMD MI300X", 247), ("NVIDIA RTX 4090", 164)],
)
def test_ridge_points(name: str, ridge: int) -> None:
    """FLOP a byte at which bf16 peak and bandwidth meet, as published."""
    device = ALL[name]
    assert device.bandwidth
    assert round(device.peaks["bf16"] / device.bandwidth) == ridge


@pytest.mark.parametrize(
    ("name", "bits", "rate"),
    [
        ("NVIDIA GTX 1080 Ti", 352, 11), ("NVIDIA RTX 3090", 384, 19.5), ("NVIDIA RTX 4090", 384, 21),
        ("NVIDIA RTX 5090", 512, 28), ("NVIDIA RTX A6000", 384, 16), ("NVIDIA L40S", 384, 18), ("NVIDIA L4", 192, 12.5),
        ("NVIDIA A10", 384, 12.5), ("NVIDIA A40", 384, 14.5), ("NVIDIA T4", 256, 10),
    ],
)  # fmt: skip
def test_bandwidth_is_bus_width_times_rate(name: str, bits: int, rate: float) -> None:
    """Bits of the bus · 10^9 transfers a second / 8."""
    assert ALL[name].bandwidth == pytest.approx(bits * rate * 1e9 / 8, rel=1e-3)


def test_capacities_are_near_what_is_sold() -> None:
    """What nvidia-smi prints is the sold number of GiB less what error correction takes, at most 7 %, or of 10^9 B."""
    reported = [device for device in ALL.values() if device.reported]
    assert len(reported) > 20
    for device in reported:
        assert device.capacity
        sold = float(device.sold_as.split()[0])
        assert 0.93 * sold * 1e9 < device.capacity < 1.01 * sold * 2**30, device.name


def test_peaks_are_dense() -> None:
    """A figure for sparse matrices among dense ones stands out: each halving of the width doubles the peak at most."""
    for device in ALL.values():
        peaks = device.peaks
        for wide, narrow in (("bf16", "fp8"), ("bf16", "int8"), ("fp16", "fp8"), ("tf32", "bf16")):
            if wide in peaks and narrow in peaks and not device.name.startswith("NVIDIA RTX"):
                assert peaks[narrow] / peaks[wide] <= 2.03, (device.name, narrow)
        if {"bf16", "fp16"} <= set(peaks):
            assert peaks["bf16"] == peaks["fp16"], device.name


def test_every_fact_has_a_source_and_recalled_ones_are_named() -> None:
    for device in ALL.values():
        assert device.source, device.name
        facts = {*device.peaks, *(["memory"] if device.capacity else []), *(["bandwidth"] if device.bandwidth else [])}
        assert set(device.recalled) <= facts, device.name
    assert ALL["NVIDIA RTX 4090"].provenance == "read"
    assert ALL["NVIDIA A10G"].provenance == "in part"
    assert ALL["AMD EPYC 7763 (64 cores, AVX2)"].provenance == "recalled"


def test_the_command_lists_and_shows_one() -> None:
    answer = json.loads(run("devices", "--json").out)
    assert answer["totals"]["devices"] == len(answer["rows"]) == len(ALL)
    row = next(row for row in answer["rows"] if "rtx4090" in row["aliases"])
    assert (row["memory_bytes"], row["bandwidth_bytes_per_second"]) == (24_564 * 2**20, 1_008 * 10**9)
    assert row["reserve_bytes"] == 2**30 + round(0.05 * 24_564 * 2**20)
    assert [row["aliases"][0] for row in json.loads(run("devices", "h100-*", "--json").out)["rows"]] == [
        "h100-sxm",
        "h100-nvl",
        "h100-pcie",
    ]
    assert run("devices", "a100").out.startswith("4 devices")
    one = run("devices", "A10G").out
    assert "dense peaks in TFLOP/s (int8: TOP/s): fp32 35 (recalled), bf16 70" in one
    assert "source: cli99/llm-analysis" in one


def test_a_glob_without_devices_ends_in_a_sentence() -> None:
    ran = run("devices", "rtx409O")
    assert (ran.code, ran.out) == (2, "")
    assert "did you mean  rtx4090" in ran.err


def test_the_list_needs_no_torch_and_fits_80_columns() -> None:
    from archcalc.render.formats.as_table import as_table
    from archcalc.render.pages.devices import devices

    lines = as_table([devices(hardware.matching("*"))], 80, False).splitlines()
    assert all(len(line) <= 80 for line in lines[2 : 3 + len(ALL)])
    code = "import sys; from archcalc.cli import main; main(['devices', 't4']); sys.exit('torch' in sys.modules)"
    assert run_fresh(code=code).code == 0
