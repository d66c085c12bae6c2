"""Bounds of the stored traces beside the published times, kept as rows; and how well they agree."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from math import exp, log
from pathlib import Path
from statistics import median

from archcalc.analyses.bound import bounded, peak_of
from archcalc.analyses.op_work import works_of
from archcalc.hardware import device
from archcalc.tracing import Trace
from bench.speed_truth.cases import HERE, TABLES, Case, all_cases

ROWS = HERE / "bounds.csv"
FEMTO = 1e15


@dataclass(frozen=True)
class Row:
    """One network: published milliseconds of a batch or step, its bounds, and the time of its products alone."""

    table: str
    model: str
    size: int
    batch: int
    milliseconds: float
    eager: float
    fused: float
    products: float
    memory_share: float

    @property
    def bound(self) -> float:
        """The bound of the way that the table's networks ran."""
        return self.fused if self.table == "compiled" else self.eager

    @property
    def ratio(self) -> float:
        """Measured over bound: below 1 the run was faster than its bound."""
        return self.milliseconds / self.bound


def compared(case: Case) -> Row:
    """The bounds of a case from its stored trace."""
    hardware = device({table.name: table.device for table in TABLES}[case.table])
    works = works_of(Trace.from_json(gzip.decompress(case.file.read_bytes()).decode(), str(case.file)))
    works = works.beside(hardware.cache)
    kernels, compiled = bounded(works, hardware)
    eager = sum(time for _, time, _ in kernels)
    memory = sum(time for _, time, cause in kernels if cause == "memory")
    fused = sum(time for _, time, _ in compiled)
    products = sum(work.flops / peak_of(work, hardware) for work in works.eager.works if work.flops)
    in_ms = [round(1e3 * time, 4) for time in (eager / FEMTO, fused / FEMTO, products)]
    return Row(case.table, case.model, case.size, case.batch, case.milliseconds, *in_ms, round(memory / eager, 4))


def compare_all(again: bool = True) -> list[Row]:
    """The rows of all cases with a trace, which replace those kept; cases without one keep theirs.

    Without `again` only cases that have no row are compared.
    """
    known = {(row.table, row.model, row.size): row for row in kept()}
    for case in all_cases():
        if case.file.exists() and (again or (case.table, case.model, case.size) not in known):
            known[case.table, case.model, case.size] = compared(case)
    order = [(case.table, case.model, case.size) for case in all_cases()]
    rows = [known[key] for key in order if key in known]
    with ROWS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows([getattr(row, field.name) for field in fields(Row)] for row in rows)
    return rows


def kept(path: Path = ROWS) -> list[Row]:
    """The rows of the file."""
    if not path.exists():
        return []
    kinds: dict[str, Callable[[str], object]] = {"table": str, "model": str, "size": int, "batch": int}
    read = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return [Row(**{key: kinds.get(key, float)(value) for key, value in row.items()}) for row in read]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Agreement:
    """How well bounds agree with measured times.

    `spearman` is of the speeds; `scale` the typical measured time over its bound; factors are those by which a measured
    time and `scale` times its bound differ, the median one and the one that 90 % do not pass; `beaten` are the networks
    that ran faster than their bound.
    """

    networks: int
    spearman: float
    scale: float
    median_factor: float
    factor_90: float
    beaten: tuple[Row, ...]


def agreement(rows: Sequence[Row], bound: Callable[[Row], float]) -> Agreement:
    """The agreement of some bound of each row with what was measured."""
    ratios = [row.milliseconds / bound(row) for row in rows]
    scale = exp(median(map(log, ratios)))
    factors = sorted(max(ratio / scale, scale / ratio) for ratio in ratios)
    beaten = sorted((row for row, ratio in zip(rows, ratios, strict=True) if ratio < 1), key=lambda row: row.ratio)
    speeds = [row.batch / row.milliseconds for row in rows], [row.batch / bound(row) for row in rows]
    at_90 = factors[min(len(factors) - 1, int(0.9 * len(factors)))]
    return Agreement(len(rows), spearman(*speeds), scale, median(factors), at_90, tuple(beaten))


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The correlation of the ranks of two lists of numbers, equal ones with their mean rank.

    >>> spearman([1, 2, 3], [10, 30, 20]), spearman([1, 1, 2], [4, 4, 5])
    (0.5, 1.0)
    """
    a, b = _ranks(xs), _ranks(ys)
    mean = (len(a) + 1) / 2
    product = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    squares = sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)
    return round(product / squares**0.5, 12)


def _ranks(numbers: Sequence[float]) -> list[float]:
    places: dict[float, list[int]] = {}
    for place, number in enumerate(sorted(numbers), 1):
        places.setdefault(number, []).append(place)
    return [sum(places[number]) / len(places[number]) for number in numbers]
