"""Answers of every command, stored with what a terminal prints of them: one member of each family, and odd ones.

python -m tests.documents          run the commands and write tests/data/documents.json.gz again
"""

from __future__ import annotations

import contextlib
import gzip
import json
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from archcalc.cli import main
from archcalc.networks import catalogue
from archcalc.render.document import Column, Document, Drawing, Prose, Table

FILE = Path(__file__).parent / "data" / "documents.json.gz"
OF_EACH = (
    "show", "summary", "params", "flops --backward", "shapes", "memory", "memory --train --no-changes", "traffic",
    "lint", "explain", "verify",
)  # fmt: skip
"""Commands of one model; each is run on the default member of each family, and on gpt2."""
ONCE = (
    "list",
    "devices",
    "devices h100-sxm",
    "explain conv2d",
    "explain resnet-18 layer2.0.conv1",
    "flops resnet-18 --convention thop",
    "summary resnet-50 --depth 3",
    "memory resnet-20 --train --batch 4 --per-sample --timeline",
    "memory resnet-20 --train --fit 1GiB",
    "compare resnet-18 densenet shufflenet-v2 vgg-16 gpt2 --relative",
    "law densenet-bc-cifar --over depth --figure params --figure macs",
    "law multi-head-attention --over seq_len,d_model --figure macs --figure params",
    "sweep wrn --set depth=16:28:6 --set widen_factor=1,2 --figure macs --figure peak_bytes",
    "diff resnet-18 resnet-34",
    "diff resnet-18 resnet-18",
)
KEPT = frozenset(("path", "part", "itself", "times", "modules", "calls", "default"))
"""Keys of rows that cells look at beside their own."""
SORTS: dict[str, type[str]] = {"": str, "prose": Prose, "drawing": Drawing}


def commands() -> list[str]:
    """The commands whose answers are stored."""
    defaults = [family.default for family in catalogue.families()]
    models = [*defaults, *(["gpt2"] if "gpt2" not in defaults else [])]
    each = [f"{name} {model} {' '.join(more)}".strip() for model in models for name, *more in map(str.split, OF_EACH)]
    return [*ONCE, *each]


def answers(command: str) -> list[Document]:
    """The documents that a command would print."""
    documents: list[Document] = []

    def keep(made: Sequence[Document], **_: Any) -> None:
        documents.extend(made)

    with patch("archcalc.cli.answer.emit", keep), contextlib.suppress(SystemExit):
        main([*shlex.split(command), "-q"])
    return documents


def stored() -> Iterator[tuple[str, Document]]:
    """Each stored document with its command."""
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        for command, documents in json.load(file).items():
            yield from ((command, from_plain_data(each)) for each in documents)


def write() -> None:
    """Run every command and store its documents."""
    told = {}
    for command in commands():
        told[command] = [as_plain_data(document) for document in answers(command)]
        assert told[command], command
        print(command, flush=True)
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    with tempfile.SpooledTemporaryFile() as packed:
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as file:
            file.write(text.encode("utf-8"))
        packed.seek(0)
        FILE.write_bytes(packed.read())


def as_plain_data(document: Document) -> dict[str, Any]:
    """What a terminal prints of a document, as JSON has it."""
    made = {
        "command": document.command,
        "head": [_line(line) for line in document.head],
        "tables": [_table(table) for table in document.tables],
        "foot": [_line(line) for line in document.foot],
        "recurring": [_line(line) for line in document.recurring],
    }
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]


def _line(line: str) -> list[str]:
    return [next(name for name, sort in SORTS.items() if type(line) is sort), str(line)]


def _table(table: Table) -> dict[str, Any]:
    keys = KEPT | {column.key for column in table.columns}
    rows = [{key: value for key, value in row.items() if key in keys} for row in table.rows]
    total = table.total and {key: value for key, value in table.total.items() if key in keys}
    columns = [[column.key, column.title, column.kind, column.gives_way] for column in table.columns]
    return {
        "columns": columns, "rows": rows, "total": total, "at_least": sorted(table.at_least), "title": table.title,
        "transposed": table.transposed, "stars": sorted(table.stars),
    }  # fmt: skip


def from_plain_data(made: dict[str, Any]) -> Document:
    """The document that `as_plain_data` made it from, as far as a terminal prints it."""
    lines = {key: [SORTS[sort](text) for sort, text in made[key]] for key in ("head", "foot", "recurring")}
    tables = [
        Table(
            [Column(*column) for column in table["columns"]],
            table["rows"],
            table["total"],
            frozenset(table["at_least"]),
            table["title"],
            table["transposed"],
            frozenset((number, key) for number, key in table["stars"]),
        )
        for table in made["tables"]
    ]
    return Document(made["command"], lines["head"], tables, lines["foot"], recurring=lines["recurring"])


if __name__ == "__main__":
    write()
