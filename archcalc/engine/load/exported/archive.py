"""The archive that torch.export.save writes, a zip file: its graph and the shapes of its weights. No torch here.

Examples of inputs, and weights of classes of their own, are stored as pickles, which can run any code: no pickle is
opened. The shapes of the inputs stand in the graph; weights are not read, but for small buffers.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archcalc.engine.load.references import SCRIPTED, is_scripted
from archcalc.errors import BadReference, CannotFollow

HINT = 'write one with  torch.export.save(torch.export.export(model, inputs), "model.pt2")'
PICKLED = ("custom_obj", "opaque_obj")
"""Beginnings of the names of constants that are objects."""
BROKEN = (zipfile.BadZipFile, ValueError, KeyError, RecursionError, EOFError, OSError, NotImplementedError)
"""The exceptions that reading a damaged zip file, or JSON in it, raises."""


@dataclass(frozen=True)
class Stored:
    """One tensor: its sizes, torch's number of its type, its bytes if it is small, and whether it is trained.

    Tensors of one `place` are one tensor.
    """

    sizes: tuple[int, ...]
    dtype: int
    trained: bool
    is_parameter: bool
    raw: bytes | None = None
    place: str = ""


@dataclass(frozen=True)
class Archive:
    """A program as its file tells it: the graph as JSON has it, and the tensors of its state and its constants."""

    graph: dict[str, Any]
    state: Mapping[str, Stored]
    constants: Mapping[str, Stored]


def demand_archive(path: str) -> None:
    """BadReference for what is no file of torch.export: a folder, nothing, an empty file, or another format."""
    if os.path.isdir(path):
        raise BadReference(path, "it is a folder, and a program of torch.export is one file", HINT)
    if not os.path.isfile(path):
        raise BadReference(path, f"there is no file {path}", HINT)
    if not os.path.getsize(path):
        raise BadReference(path, "the file is empty", HINT)
    if not zipfile.is_zipfile(path):
        raise BadReference(path, "the file is no archive of torch.export, or is damaged", HINT)


def read(path: str, small: int) -> Archive:
    """The archive of a file; `small` are the most bytes of a buffer or constant that is read.

    BadReference for a file that is none; CannotFollow for one that needs a pickle or compiled code.
    """
    demand_archive(path)
    try:
        with zipfile.ZipFile(path) as file:
            return _read(path, file, small)
    except BROKEN as error:
        raise BadReference(path, f"the archive is damaged ({type(error).__name__})", HINT) from None
    except (TypeError, AttributeError):
        raise BadReference(path, "the archive is damaged (its JSON has another form)", HINT) from None


def _read(path: str, file: zipfile.ZipFile, small: int) -> Archive:
    names = file.namelist()
    root = names[0].partition("/")[0] if names else ""
    graph = f"{root}/models/model.json"
    if is_scripted(path):
        raise BadReference(path, "it is an archive of TorchScript", SCRIPTED)
    if any(f"{root}/data/aotinductor" in name for name in names):
        raise CannotFollow(f"{path} holds compiled code, which is not run here.", HINT)
    if graph not in names:
        raise BadReference(path, "the archive holds no program called model", HINT)
    state, constants = (
        _tensors(path, file, f"{root}/data/{kind}", f"model_{kind}_config.json", small)
        for kind in ("weights", "constants")
    )
    program = json.loads(file.read(graph))
    if not isinstance(program, dict):
        raise ValueError("a program is a table")
    return Archive(program, state, constants)


def _tensors(path: str, file: zipfile.ZipFile, folder: str, config: str, small: int) -> dict[str, Stored]:
    """The tensors that a table of the archive lists."""
    table = json.loads(file.read(f"{folder}/{config}"))["config"]
    return {name: _stored(path, file, folder, name, entry, small) for name, entry in table.items()}


def _stored(path: str, file: zipfile.ZipFile, folder: str, name: str, entry: Mapping[str, Any], small: int) -> Stored:
    place, meta = entry["path_name"], entry["tensor_meta"]
    if entry["use_pickle"] or meta is None or place.startswith(PICKLED):
        sentence = f"{path} keeps {name} as a pickle, which could run any code, so it is not opened."
        raise CannotFollow(sentence, "name the model that it was exported from: path/to/file.py:Net")
    sizes = tuple(int(size["as_int"]) for size in meta["sizes"])
    is_parameter = bool(entry["is_param"])
    raw = None
    if not is_parameter and file.getinfo(f"{folder}/{place}").file_size <= small:
        raw = file.read(f"{folder}/{place}")
    whole = _is_whole(sizes, meta)
    return Stored(
        sizes, int(meta["dtype"]), bool(meta["requires_grad"]), is_parameter, raw if whole else None, f"{place} {meta}"
    )


def _is_whole(sizes: tuple[int, ...], meta: Mapping[str, Any]) -> bool:
    """Whether the elements lie one after another from the beginning."""
    step, steps = 1, []
    for size in reversed(sizes):
        steps.append(step)
        step *= max(1, size)
    strides = [int(stride["as_int"]) for stride in meta["strides"]]
    matters = [(a, b) for a, b, size in zip(strides, reversed(steps), sizes, strict=True) if size > 1]
    return not int(meta["storage_offset"]["as_int"]) and all(a == b for a, b in matters)
