"""The sweep behind docs/coverage.md: every model of timm and torchvision, every architecture of transformers.

Slow (about half an hour on 2 cores), and skipped where the libraries are not installed:

    pytest -m slow tests/test_sweep.py
"""

from __future__ import annotations

from multiprocessing import get_context
from typing import Any

import pytest

from bench.models import torchvision_ops
from bench.sweep import differences, measured, references

pytestmark = pytest.mark.slow
TOLD = ("NeedsData", "NeedsInput", "ForwardFailed", "MissingExtra", "WrongUse", "BadInput", "CannotImport")
"""What a model that cannot be analysed ends in: a sentence of archcalc's, never an error of its own."""
LEAST = {"torchvision": 109, "timm": 1371, "hf": 550}
"""How many were analysed in the versions of docs/coverage.md."""


@pytest.mark.parametrize("library", LEAST)
@pytest.mark.filterwarnings("ignore")
def test_every_model_is_analysed_or_has_a_reason(library: str) -> None:
    """Parameters equal the sum over unique ones; MACs equal torch's op by op wherever torch's counter runs."""
    torchvision_ops()
    for package in ("torchvision", "timm", "transformers"):
        pytest.importorskip(package)
    names = [name for name in references() if name.startswith(f"{library}:")]
    with get_context("spawn").Pool(2, maxtasksperchild=100) as pool:
        rows = list(pool.imap_unordered(measured, names))
    analysed = [row for row in rows if "params" in row]
    assert not [row for row in rows if "params" not in row and not row["reason"].startswith(TOLD)]
    assert not [row["reference"] for row in analysed if row["params"] != row.get("unique_params", row["params"])]
    assert not {row["reference"]: differences(row) for row in analysed if _differs(row)}
    assert len(analysed) >= LEAST[library]
    assert not [row["reference"] for row in analysed if row["macs"] == 0]


def _differs(row: dict[str, Any]) -> bool:
    return bool(row.get("torch_by_op")) and bool(differences(row))
