"""The networks of each table: drawn by a hash of their names, with the published time of a batch."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TRACES = HERE.parent / "speed_traces"
DRAWN = HERE / "published.csv"


@dataclass(frozen=True)
class PublishedTable:
    """A table of timm: its file, the device it was measured on, what ran, and how many rows are drawn."""

    name: str
    file: str
    source: str
    device: str
    prefix: str
    rows: int

    @property
    def trains(self) -> bool:
        """Whether its figures are of training steps."""
        return self.prefix == "train"


RESULTS = "huggingface/pytorch-image-models, results/benchmark-"
TABLES = (
    PublishedTable(
        "eager", "timm_infer_rtx4090_amp_nchw.csv", f"{RESULTS}infer-amp-nchw-pt240-cu124-rtx4090.csv",
        "rtx4090", "infer", 220,
    ),
    PublishedTable(
        "compiled", "timm_infer_rtx4090_amp_compiled.csv", f"{RESULTS}infer-amp-nchw-pt240-cu124-rtx4090-dynamo.csv",
        "rtx4090", "infer", 220,
    ),
    PublishedTable(
        "training", "timm_train_rtx3090_amp.csv", f"{RESULTS}train-amp-nchw-pt112-cu113-rtx3090.csv",
        "rtx3090", "train", 90,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One row: the network, its image size and batch, and the milliseconds of a batch that were published."""

    table: str
    model: str
    size: int
    batch: int
    milliseconds: float

    @property
    def file(self) -> Path:
        """Where its trace is kept."""
        return TRACES / self.table / f"{self.model}@{self.size}x{self.batch}.json.gz"


def drawn_from(folder: Path) -> Iterator[Case]:
    """The rows whose hashes of model and size are the smallest, of each table, in the order of the table."""
    for table in TABLES:
        rows = list(csv.DictReader((folder / table.file).read_text(encoding="utf-8").splitlines()))
        kept = sorted(rows, key=lambda row: _hash(row, table))[: table.rows]
        yield from (_case(row, table) for row in rows if row in kept)


def _hash(row: dict[str, Any], table: PublishedTable) -> str:
    return sha256(f"{row['model']}@{row[f'{table.prefix}_img_size']}".encode()).hexdigest()


def _case(row: dict[str, Any], table: PublishedTable) -> Case:
    of = table.prefix
    return Case(
        table.name,
        row["model"],
        int(row[f"{of}_img_size"]),
        int(row[f"{of}_batch_size"]),
        float(row[f"{of}_step_time"]),
    )


def write(cases: Sequence[Case]) -> None:
    """Keep the drawn rows in published.csv."""
    with DRAWN.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Case)])
        writer.writerows([case.table, case.model, case.size, case.batch, case.milliseconds] for case in cases)


def all_cases() -> list[Case]:
    """The drawn rows."""
    return [
        Case(row["table"], row["model"], int(row["size"]), int(row["batch"]), float(row["milliseconds"]))
        for row in csv.DictReader(DRAWN.read_text(encoding="utf-8").splitlines())
    ]
