"""Model references: what the user types, read by its form and never by trial. No torch here.

NAME                    a network of the catalogue
NAME[knob=value,...]    the same with some knobs set
package.module:EXPR     EXPR = dotted attributes, called or not with literals: mynet:make(width=2)
path/to/file.py:EXPR    the same, from a file
path/to/trace.json      a stored trace
path/to/model.pt2       a program that torch.export.save wrote
path/to/config.json     a configuration of transformers, or the folder that holds one; the same with hf: in front
torchvision:NAME  timm:NAME  hf:ORG/NAME  hf:path/to/config.json  hf:bert     each with [knob=value,...] behind it, too
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os.path import isdir, isfile
from typing import Any

from archcalc.errors import BadReference, UnknownModel
from archcalc.text.spelling import parse_value


@dataclass(frozen=True)
class BuiltIn:
    """A name of the catalogue, and knobs that are set in the reference."""

    name: str
    knobs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Expression:
    """Dotted attributes, called with literals unless `call` is false."""

    attributes: tuple[str, ...]
    call: bool
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Code:
    """An expression in a module (by its import name) or in a file (by its path)."""

    text: str
    where: str
    is_file: bool
    expression: Expression


@dataclass(frozen=True)
class InLibrary:
    """A model of torchvision, timm or transformers (hf), by its name there, and settings that the reference gives."""

    text: str
    library: str
    name: str
    knobs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredTrace:
    """A file that holds a trace."""

    path: str


@dataclass(frozen=True)
class Exported:
    """A file of torch.export."""

    path: str


Reference = BuiltIn | Code | InLibrary | StoredTrace | Exported
FILES: Mapping[str, type[StoredTrace] | type[Exported]] = {".json": StoredTrace, ".pt2": Exported}
"""Files that are references by themselves, by their endings."""
LIBRARIES = {"torchvision": "resnet50", "timm": "vit_base_patch16_224", "hf": "bert"}
"""The libraries whose models have references of their own, each with a name for the sake of example."""
PACKAGES = {"torchvision": "torchvision", "timm": "timm", "hf": "transformers"}


def parse(text: str) -> Reference:
    """Read a reference; BadReference says what is wrong with anything else.

    >>> parse("resnet-50")
    BuiltIn(name='resnet-50', knobs={})
    >>> parse("densenet[block_config=6,12,24,growth_rate=12]").knobs
    {'block_config': (6, 12, 24), 'growth_rate': 12}
    >>> parse("mynet:make(width=2)").expression.kwargs
    {'width': 2}
    """
    text = text.strip()
    _demand_model(text)
    library, _, name = text.partition(":")
    if library in LIBRARIES and ":" in text:
        if not name.strip():
            raise BadReference(text, "it names a library and no model of it", f"type  {library}:{LIBRARIES[library]}")
        return _in_library(text, library, name.strip())
    if is_configuration(text.partition("[")[0] if text.endswith("]") else text):
        return _in_library(text, "hf", text)
    if (ending := text[text.rfind(".") :]) in FILES:
        return FILES[ending](text)
    name, bracket, _ = text.partition("[")
    closed = ":" not in text or text.endswith("]")
    if bracket and closed and not {"/", "\\", ":"}.intersection(name):
        return BuiltIn(name.strip(), _knobs(text))
    head, colon, expression = _split(text)
    if colon and not head.endswith(".py") and ("/" in head or "\\" in head or "" in head.split(".")):
        raise BadReference(text, f"'{head}' is neither a module nor a Python file", "write  path/to/file.py:EXPR")
    if colon:
        return Code(text, head, head.endswith(".py"), _expression(text, expression))
    if text.endswith(".py"):
        raise BadReference(text, "it names a file and no model in it", f"type  {text}:NameOfTheModel")
    if not text or "/" in text or "\\" in text:
        raise BadReference(text, "no network has a name like that")
    return BuiltIn(text)


def _in_library(text: str, library: str, name: str) -> InLibrary:
    """The model of a library; brackets behind its name hold settings, those in a folder's name do not."""
    before, bracket, inside = name.partition("[")
    if not bracket or (not inside.endswith("]") and {"/", "\\"}.intersection(inside)):
        return InLibrary(text, library, name)
    return InLibrary(text, library, before.strip(), _knobs(text))


def is_configuration(text: str) -> bool:
    """Whether a reference is the path of a configuration of transformers, or of a folder that holds one.

    A JSON file is one if it states a model_type or architectures; a stored trace or snapshot states a schema_version.
    """
    if "/" in text and isfile(f"{text.rstrip('/')}/config.json"):
        return True
    if not text.endswith(".json") or not isfile(text):
        return False
    try:
        with open(text, encoding="utf-8") as file:
            beginning = file.read(1 << 20)
    except (OSError, ValueError):
        return False
    keys = re.findall(r'"(model_type|architectures|auto_map|schema_version)"\s*:', beginning)
    return bool(keys) and "schema_version" not in keys


def _beside(folder: str) -> list[str]:
    """A hint for a folder that holds adapters of PEFT or a pipeline of diffusers; none for others."""
    if isfile(f"{folder}/adapter_config.json"):
        return [f"what adapts a model is in  {folder}/adapter_config.json"]
    if isfile(f"{folder}/model_index.json"):
        return [f"a pipeline of several models: name the folder of one, such as  {folder}/unet"]
    return []


def is_default(reference: InLibrary) -> bool:
    """Whether a reference to transformers names a default configuration: no file, and nothing of the hub."""
    name = reference.name
    a_file = name.endswith(".json") or isfile(f"{name}/config.json")
    return reference.library == "hf" and "/" not in name and not a_file


WEIGHTS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".h5", ".pkl", ".npz", ".msgpack", ".gguf")
GRAPHS = (".onnx", ".pb", ".tflite", ".torchscript", ".mlmodel", ".xml", ".engine", ".keras")


OF_A_HUB = (".bin", ".safetensors", ".gguf")
SCRIPTED = "load it in a function of yours, and name that: path/to/file.py:load  with  return torch.jit.load(...)"


def is_scripted(path: str) -> bool:
    """Whether a file is an archive of TorchScript, which holds code."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as file:
            return any(name.partition("/")[2].startswith("code/") for name in file.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _demand_model(text: str) -> None:
    """BadReference for shapes and for files that people have beside their model's definition."""
    definition = "name the class or function that makes the model: path/to/file.py:Net"
    if text.lower().endswith(WEIGHTS) and is_scripted(text):
        raise BadReference(text, "an archive of TorchScript is not read here", SCRIPTED)
    if text.lower().endswith(WEIGHTS):
        beside = "\nof transformers: the config.json beside it, or its folder" if text.endswith(OF_A_HUB) else ""
        raise BadReference(text, "a file of weights holds no definition", f"{definition}{beside}")
    if text.lower().endswith(GRAPHS):
        exported = "\nor what torch.export.save writes: model.pt2"
        raise BadReference(text, "a graph in another format is not read here", f"{definition}{exported}")
    if "/" in text and isdir(text) and not isfile(f"{text.rstrip('/')}/config.json"):
        raise BadReference(text, "the folder holds no config.json", *_beside(text.rstrip("/")))
    if re.fullmatch(r"(\w+:)?\d+([xX]\d+)+", text):
        raise BadReference(text, "it is the shape of an input", f"write  -i {text}")
    if re.fullmatch(r"[\w.-]+\(.*=.*\)", text):
        hint = f"write  '{text.replace('(', '[', 1)[:-1]}]'"
        raise BadReference(text, "settings of a built-in network stand in [ ]", hint)


def _knobs(text: str) -> dict[str, Any]:
    """The settings of NAME[knob=value,...]; a part without '=' goes on with the list before it."""
    name, _, inside = text.partition("[")
    name = name.strip()
    hint = f"write  '{name or 'NAME'}[knob=value]'  or  '{name or 'NAME'}[knob=value,knob=value]'"
    if not inside.endswith("]") or not name:
        raise BadReference(text, "its brackets are not closed behind a name" if name else "it has no name", hint)
    knobs: dict[str, str] = {}
    knob = ""
    for part in _parts(inside[:-1]):
        before, equals, value = part.partition("=")
        if equals:
            knob = before.strip().replace("-", "_")
            if not knob or knob in knobs:
                raise BadReference(text, f"{knob} is given twice" if knob else f"'{part}' names no knob", hint)
            knobs[knob] = value.strip()
        elif knob:
            knobs[knob] += f",{part.strip()}"
        else:
            raise BadReference(text, f"'{part}' is not a setting", hint)
    return {knob: parse_value(value) for knob, value in knobs.items()}


def _parts(inside: str) -> Iterator[str]:
    """The parts between commas; commas in brackets and in quotes belong to a value.

    >>> list(_parts("lengths=(20,12,5),rope={'type': 'a,b=c'},bias=false"))
    ['lengths=(20,12,5)', "rope={'type': 'a,b=c'}", 'bias=false']
    """
    start, depth, quote = 0, 0, ""
    for place, letter in enumerate(inside):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "," and not depth:
            yield inside[start:place]
            start = place + 1
        else:
            depth += (letter in "([{") - (letter in ")]}")
    yield inside[start:]


def _split(text: str) -> tuple[str, str, str]:
    """Cut at the colon behind the file or module; a colon inside the call's literals is not one."""
    if ".py:" in text:
        head, _, expression = text.partition(".py:")
        return f"{head}.py", ":", expression
    return text.partition(":")


def _expression(text: str, expression: str) -> Expression:
    import ast

    try:
        node = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        name, bracket, inside = text.partition("[")
        hint = f"write  '{name}({inside.removesuffix(']')})'" if bracket and "=" in inside else ""
        raise BadReference(text, f"'{expression[:80]}' is not an expression", hint) from None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    call = isinstance(node, ast.Call)
    if isinstance(node, ast.Call):
        try:
            args = tuple(ast.literal_eval(argument) for argument in node.args)
            kwargs = {k.arg or "**": ast.literal_eval(k.value) for k in node.keywords}
        except (ValueError, TypeError, MemoryError, RecursionError):
            raise BadReference(text, "the arguments of the call must be plain values") from None
        node = node.func
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or "**" in kwargs:
        raise BadReference(text, f"'{expression}' is more than attributes and one call with plain values")
    return Expression((node.id, *attributes), call, args, kwargs)


def demand_known(reference: InLibrary, name: str, names: Iterable[str]) -> None:
    """Raise UnknownModel, with the names that are close, if the library has no model of that name."""
    among = list(names)
    if name not in among:
        raise UnknownModel(name, PACKAGES[reference.library], reference.library, among)
