"""A program of torch.export as a module without weights: torch's own reader makes it of what the archive says."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.engine.load.declaration import Declaration
from archcalc.engine.load.exported.archive import BROKEN, HINT, Archive, Stored, read
from archcalc.engine.load.exported.vetting import Refused, vetted
from archcalc.engine.meta.known_values import LIMIT
from archcalc.engine.setup import Setup
from archcalc.engine.torch_private import exported_program, scalar_type, structured
from archcalc.errors import BadInput, BadReference, CannotFollow, WrongUse, one_line
from archcalc.networks.spec import Input
from archcalc.text.units import shape

OWN = "its example inputs"
FIXED = "other sizes are fixed: export it with dynamic_shapes, or name the model itself"
AXES = {4: {2: "height", 3: "width"}, 2: {1: "seq_len"}, 3: {1: "seq_len"}}
"""Names of axes by the rank of an input; the first one of any is its batch."""


@dataclass(frozen=True)
class Given:
    """An input of the program: its name, and its sizes and type; or, if it is no tensor, its value.

    A size is a number if it is fixed, or else the name of a symbol; `hints` are the sizes that it was exported with.
    """

    name: str
    sizes: tuple[int | str, ...] = ()
    hints: tuple[int, ...] = ()
    dtype: str = ""
    value: Any = None


def build(path: str, setup: Setup) -> tuple[nn.Module, Declaration, str]:
    """The module of a program, the inputs that it was exported with, and the type of its weights.

    Errors of exit code 2 for a file that is no program and for settings that it cannot have, 3 for one that would need
    a pickle, or whose graph says more than ops and sizes.
    """
    _demand_none(path, setup)
    archive = read(path, 8 * LIMIT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _built(archive)
    except Refused as error:
        hint = "name the model itself: path/to/file.py:Net"
        raise CannotFollow(f"{path} has {error}, which is not read.", hint) from None
    except BROKEN as error:
        raise BadReference(path, f"torch cannot read its program ({one_line(error)[:120]})", HINT) from None
    except Exception as error:  # of torch's reader, which has many kinds
        raise CannotFollow(f"torch cannot read {path}: {one_line(error)[:200]}.", HINT) from error


def _built(archive: Archive) -> tuple[nn.Module, Declaration, str]:
    """The module of an archive; what torch's reader raises for one that is wrong, and Refused."""
    graph = vetted(archive.graph)
    state, constants = (_tensors(stored) for stored in (archive.state, archive.constants))
    program = torch.export.unflatten(exported_program(graph, state, constants))
    inputs, ranges = list(_inputs(graph)), _ranges(graph)
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in state.values() if tensor.is_floating_point()}
    module = _with_inputs(program, _root_spec(graph), inputs, ranges)
    _name_types(module, graph)
    declared = Declaration(tuple(_declared(given) for given in inputs if given.dtype), OWN, fixed=FIXED)
    return module, declared, kinds.pop() if len(kinds) == 1 else "float32"


def _demand_none(path: str, setup: Setup) -> None:
    """WrongUse for settings that an exported program does not have."""
    for given, option, why in (
        (setup.knobs, "--set", "has no knobs"),
        (setup.dtype, "--dtype", "has the types that it was exported with"),
        (setup.mode != Setup.mode, "--mode train", "has the mode that it was exported in"),
        (setup.data, "--data", "is read without its weights"),
    ):
        if given:
            raise WrongUse(f"{option} does not apply: {path} {why}.", "leave it out, or name the model itself")


def _tensors(stored: Mapping[str, Stored]) -> dict[str, Tensor]:
    """Tensors without elements, and small buffers with theirs."""
    made: dict[str, Tensor] = {}
    by_place: dict[str, Tensor] = {}
    for name, entry in stored.items():
        if entry.place in by_place:
            made[name] = by_place[entry.place]
            continue
        dtype = scalar_type(entry.dtype)
        empty = torch.empty(entry.sizes, dtype=dtype, device="meta")
        if entry.raw is not None and len(entry.raw) == empty.numel() * dtype.itemsize and entry.raw:
            empty = torch.frombuffer(bytearray(entry.raw), dtype=dtype).reshape(entry.sizes)
        made[name] = nn.Parameter(empty, entry.trained) if entry.is_parameter else empty
        by_place[entry.place] = made[name]
    return made


def _inputs(graph: Mapping[str, Any]) -> Iterator[Given]:
    """What the program receives, in the order of its flat arguments."""
    tensors = graph["graph_module"]["graph"]["tensor_values"]
    for spec in graph["graph_module"]["signature"]["input_specs"]:
        if "constant_input" in spec:
            ((_, value),) = spec["constant_input"]["value"].items()
            yield Given(
                spec["constant_input"]["name"], value=None if "as_none" in spec["constant_input"]["value"] else value
            )
        elif "user_input" in spec:
            ((kind, argument),) = spec["user_input"]["arg"].items()
            if kind != "as_tensor":
                raise Refused("an input that is a size of another kind")
            meta = tensors[argument["name"]]
            sizes = [(_size(size), int(size.get("as_int", 0) or _hint(size))) for size in meta["sizes"]]
            dtype = str(scalar_type(meta["dtype"])).removeprefix("torch.")
            yield Given(argument["name"], tuple(s for s, _ in sizes), tuple(h for _, h in sizes), dtype)


def _size(size: Mapping[str, Any]) -> int | str:
    """A fixed size, or the symbol of one that may change; an expression of symbols by its text."""
    if "as_int" in size:
        return int(size["as_int"])
    text = str(size["as_expr"]["expr_str"])
    symbol = re.match(r"Symbol\('(\w+)'", text)
    return symbol[1] if symbol else text


def _hint(size: Mapping[str, Any]) -> int:
    hint = (size.get("as_expr") or {}).get("hint") or {}
    return int(hint.get("as_int") or 0)


def _ranges(graph: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The least and most that each symbol may be."""
    return {
        name: (bounds["min_val"] or 0, math.inf if bounds["max_val"] is None else bounds["max_val"])
        for name, bounds in graph["range_constraints"].items()
    }


def _root_spec(graph: Mapping[str, Any]) -> str:
    root = next(entry for entry in graph["graph_module"]["module_call_graph"] if not entry["fqn"])
    return str(root["signature"]["in_spec"])


def _declared(given: Given) -> Input:
    """The input as the program was exported with it; only sizes that may change have names that shorthands know."""
    names = {0: "batch", **AXES.get(len(given.sizes), {})}
    axes = [
        names.get(at, f"axis{at}") if isinstance(size, str) else f"fixed{at}" for at, size in enumerate(given.sizes)
    ]
    return Input(given.name, tuple(axes), given.hints, given.dtype)


def _with_inputs(program: Any, spec: str, inputs: list[Given], ranges: Mapping[str, tuple[float, float]]) -> Any:
    """The program, which takes its tensors in a row or by their names, and refuses sizes that it does not have."""
    kind = type(program)

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the program on its inputs."""
        tensors = [given.name for given in inputs if given.dtype]
        unknown = [name for name in kwargs if name not in tensors]
        values = {**dict(zip(tensors, args, strict=False)), **kwargs}
        if unknown or len(args) + len(kwargs) != len(tensors) or set(values) != set(tensors):
            raise BadInput("the exported program has other inputs.", f"its inputs are  {', '.join(tensors)}")
        _demand_sizes([given for given in inputs if given.dtype], values, ranges)
        flat = [values[given.name] if given.dtype else given.value for given in inputs]
        args, kwargs = structured(flat, spec)
        return kind.forward(self, *args, **kwargs)

    program.__class__ = type("ExportedProgram", (kind,), {"forward": forward})
    return program


def _demand_sizes(inputs: list[Given], values: Mapping[str, Tensor], ranges: Mapping[str, tuple[float, float]]) -> None:
    """BadInput for a size that the program does not have: one that is fixed, out of its range, or unlike its like."""
    known: dict[str, int] = {}
    for given in inputs:
        sizes = tuple(values[given.name].shape)
        fits = len(sizes) == len(given.sizes)
        for has, may in zip(sizes, given.sizes, strict=False):
            if isinstance(may, int):
                fits = fits and has == may
            else:
                least, most = ranges.get(may, (0, math.inf))
                fits = fits and least <= has <= most and known.setdefault(may, has) == has
        if not fits:
            wanted = ", ".join(str(size) if isinstance(size, int) else _range(size, ranges) for size in given.sizes)
            hint = f"it was exported with {given.name}={shape(given.hints)}; its sizes may be  {wanted}\n{FIXED}"
            raise BadInput(f"the exported program does not take {given.name}={shape(sizes)}.", hint)


def _range(symbol: str, ranges: Mapping[str, tuple[float, float]]) -> str:
    """A size that may change, in words: 's77 up to 64'."""
    least, most = ranges.get(symbol, (0, math.inf))
    return f"{symbol}{f' from {least}' if least else ''}{f' up to {most}' if most < math.inf else ''}"


def _name_types(module: nn.Module, graph: Mapping[str, Any]) -> None:
    """Give the modules the names of the classes that they were."""
    classes: dict[str, str] = {}
    for node in graph["graph_module"]["graph"]["nodes"]:
        for entry in str(node["metadata"].get("nn_module_stack", "")).split(";"):
            _, _, rest = entry.partition(",")
            path, _, name = rest.partition(",")
            classes[path.partition("@")[0]] = name.rpartition(".")[2]
    for path, member in module.named_modules():
        if path and classes.get(path, "").isidentifier():
            kind = type(member)
            member.__class__ = type(classes[path], (kind,), {"__module__": kind.__module__})
