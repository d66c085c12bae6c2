"""Check a stored graph before torch reads it: it may hold plain names, known ops and arithmetic of sizes.

The reader makes Python code of names, evaluates the expressions of sizes, and finds whatever an op's name leads
to, such as torch.os.system. So each of these is checked here; what no figure needs (stack traces, guards) is left out.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

NAME = re.compile(r"([A-Za-z_]\w*)?", re.ASCII)  # an argument of an op of ops has none
PATH = re.compile(r"[\w.@$-]*", re.ASCII)
STACK = re.compile(r"[^\"\\\n]*")
KEY = re.compile(r"[\w ./-]*")
OP = re.compile(
    r"torch\.ops\.(aten|prims|higher_order|torchvision|quantized_decomposed)\.((?!__)\w+|__i?(and|or|xor|[lr]shift)__)(\.(?!__)\w+)?"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|neg|pow|abs|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt)|torch\.sym_\w+|torch\._sym_\w+",
    re.ASCII,
)
MOVES = ("torch.ops.aten.to.", "torch.ops.aten._to_copy.")
"""Ops that change the type of a tensor, and its device only if one is given."""
CHECK = "torch.ops.aten._assert_tensor_metadata.default"
"""An op that compares the type and device of a tensor with those of the export; it gives nothing."""
TO_DEVICE, TO_TYPE = "torch.ops.aten.to.device", "torch.ops.aten.to.dtype"
HERE = {"type": "cpu", "index": None}
READS_FILES = ("torch.ops.aten.from_file",)
SIZES = frozenset(
    "Symbol Integer Float Rational Add Mul Pow Max Min Mod Abs Eq Ne Lt Le Gt Ge And Or Not FloorDiv ModularIndexing "
    "Where PythonMod CleanDiv CeilToInt FloorToInt CeilDiv LShift RShift PowByNatural FloatTrueDiv IntTrueDiv "
    "TruncToInt RoundToInt ToFloat Identity floor ceiling".split()
)
"""Functions that an expression of sizes may call."""
PLAIN = (
    ast.Expression, ast.Load, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.operator, ast.unaryop, ast.cmpop,
    ast.boolop, ast.keyword,
)  # fmt: skip
CONTAINERS = ("builtins.tuple", "builtins.list", "builtins.dict", None)


FORMS = {
    **dict.fromkeys(("name", "as_name", "user_input_name", "forward_arg_names"), NAME),
    **dict.fromkeys(("parameter_name", "buffer_name", "tensor_constant_name", "fqn"), PATH),
    "nn_module_stack": STACK,
}
"""What the values of keys that name something look like."""


class Refused(ValueError):
    """A part of a graph that is not passed on; its argument says which, in words."""


def vetted(graph: dict[str, Any]) -> dict[str, Any]:
    """The graph without what no figure needs; Refused for what could do anything but compute."""
    kept: dict[str, Any] = _without_extras(graph)
    for key, value in _entries(kept):
        if key in ("target", "as_operator"):
            _demand(value, OP, "an op that is not read from a file")
            if str(value).startswith(READS_FILES):
                raise Refused(f"the op {value}")
        elif key in FORMS:
            _demand(value, FORMS[key], "a name that is none")
        elif key == "expr_str":
            _demand_sizes(str(value))
        elif key in ("as_custom_obj", "custom_obj"):
            raise Refused("an object of a class of its own")
        elif key == "in_spec":
            _demand_inputs(json.loads(value)[1])
    return kept


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth, and the names that are keys themselves."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for key, inner in value.items():
                if isinstance(inner, dict | list):
                    waiting.append(inner)
                    yield from ((key, text) for text in inner if isinstance(inner, list) and isinstance(text, str))
                elif inner is not None:
                    yield key, inner
        elif isinstance(value, list):
            waiting += value


def _without_extras(graph: dict[str, Any]) -> dict[str, Any]:
    """The graph without guards, traces of stacks and notes of tools; results in a class become tuples."""
    module = {**graph["graph_module"], "metadata": {}}
    module["graph"] = _without_notes(module["graph"])
    module["module_call_graph"] = [_plain_results(entry) for entry in module["module_call_graph"]]
    if "treespec_namedtuple_fields" in module:
        module["treespec_namedtuple_fields"] = {}
    return {**graph, "graph_module": module, "guards_code": [], "verifiers": ["TRAINING"]}


def _without_notes(value: Any) -> Any:
    """A graph, and graphs in it, with the path of modules as the only note of each op, on one device."""
    if isinstance(value, list):
        return [
            _without_notes(inner) for inner in value if not (isinstance(inner, dict) and inner.get("target") == CHECK)
        ]
    if not isinstance(value, dict):
        return value
    if "target" in value and "metadata" in value:
        path = value["metadata"].get("nn_module_stack")
        value = {**value, "metadata": {"nn_module_stack": path} if path else {}}
        if str(value["target"]).startswith(MOVES):  # tensors without data stay where they are
            value["inputs"] = [given for given in value["inputs"] if given["name"] != "device"]
            value["target"] = TO_TYPE if value["target"] == TO_DEVICE else value["target"]
    return {
        key: HERE if key in ("device", "as_device") and inner else _without_notes(inner) for key, inner in value.items()
    }


def _plain_results(entry: dict[str, Any]) -> dict[str, Any]:
    signature = entry["signature"]
    if not signature:
        return entry
    protocol, spec = json.loads(signature["out_spec"])
    return {**entry, "signature": {**signature, "out_spec": json.dumps([protocol, _in_tuples(spec)])}}


def _in_tuples(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The structure of a result, with tuples in place of classes."""
    children = [_in_tuples(child) for child in spec["children_spec"]]
    if spec["type"] in CONTAINERS and "__enum__" not in str(spec["context"]):
        return {**spec, "children_spec": children}
    return {"type": "builtins.tuple", "context": "null", "children_spec": children}


def _demand(value: Any, form: re.Pattern[str], what: str) -> None:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise Refused(f"{what} ({str(value)[:60]!r})")


def _demand_inputs(spec: Mapping[str, Any]) -> None:
    """Refused unless inputs are tuples, lists and dicts of tensors and numbers, those given by name under names."""
    _demand_containers(spec)
    for name in json.loads(spec["children_spec"][1]["context"]):
        _demand(name, NAME, "an input whose name is none")


def _demand_containers(spec: Mapping[str, Any]) -> None:
    if spec["type"] not in CONTAINERS or "__enum__" in str(spec["context"]):
        raise Refused(f"an input of the class {spec['type']}")
    for key in json.loads(spec["context"] or "null") or ():
        _demand(str(key), KEY, "a key of an input that is none")
    for child in spec["children_spec"]:
        _demand_containers(child)


def _demand_sizes(text: str) -> None:
    """Refused for an expression that is more than names, numbers, arithmetic and the functions of sizes."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise Refused(f"an expression of sizes that is none ({text[:60]!r})") from None
    for node in nodes:
        name = isinstance(node, ast.Name) and NAME.fullmatch(node.id) and "__" not in node.id
        call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SIZES
        word = isinstance(node, ast.Constant) and (
            isinstance(node.value, int | float | bool) or bool(NAME.fullmatch(str(node.value)))
        )
        if not (name or call or word or isinstance(node, PLAIN)):
            raise Refused(f"an expression of sizes that is none ({text[:60]!r})")
    for node in nodes:
        if isinstance(node, ast.Call):
            symbol = isinstance(node.func, ast.Name) and node.func.id == "Symbol"
            values = [*node.args, *(given.value for given in node.keywords)]
            texts = [v for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
            if texts and not symbol:
                raise Refused(f"an expression of sizes that is none ({text[:60]!r})")
