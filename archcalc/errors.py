"""Every error a user can meet: what was seen, why it stops, what to type next, and the exit code.

Exit codes: 1 the answer is "no", 2 wrong use, 3 the model could not be analysed, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec

from archcalc.text.spelling import normal, setting
from archcalc.text.units import size
from archcalc.text.visible import shortened


class ArchcalcError(Exception):
    """One sentence for the user and the next thing to type.

    `kind` is the stable machine name under --json, `exit_code` what the process returns.
    """

    kind = "error"
    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


# ---- exit code 2: wrong use ----------------------------------------------------------------------


class WrongUse(ArchcalcError):
    """An option or argument that the command line itself refuses."""

    kind = "wrong_use"


class UnknownNetwork(ArchcalcError):
    """A name that the catalogue does not have."""

    kind = "unknown_network"

    def __init__(self, name: str, known: Iterable[str], is_folder: bool = False) -> None:
        """`is_folder` says that a folder of that name holds a configuration of transformers."""
        names = list(known)
        by_normal = {normal(n): n for n in names}
        close = [by_normal[n] for n in get_close_matches(normal(name), list(by_normal), 4, 0.6)]
        lines = [f"the folder    ./{name}"] if is_folder else []
        lines += [f"did you mean  {'  '.join(close)} ?"] if close else []
        stem = (close or [name])[0].split("-")[0]
        glob = f"'{stem}*'" if any(n.startswith(stem) for n in names) else ""
        lines.append(f"catalogue     archcalc list {glob}".rstrip())
        super().__init__(f"'{name}' is not a built-in network.", "\n".join(lines))


class UnknownModel(ArchcalcError):
    """A name that a library does not have."""

    kind = "unknown_network"

    def __init__(self, name: str, library: str, prefix: str, known: Iterable[str]) -> None:
        names = list(known)
        close = [f"{prefix}:{n}" for n in get_close_matches(name, names, 4, 0.6)]
        has = f"{library} has  {'  '.join(names[:6])}  and {len(names) - 6:,} others"
        super().__init__(f"{library} has no model '{name}'.", f"did you mean  {'  '.join(close)} ?" if close else has)


class UnknownDevice(ArchcalcError):
    """A name of a device that is none's, or that several devices could mean."""

    kind = "unknown_device"

    def __init__(self, name: str, near: Sequence[str], could: int) -> None:
        self.near = near
        several = f"'{shortened(name)}' could mean {could} devices." if could > 1 else ""
        choose = "choose one of" if could > 1 else "did you mean"
        lines = [f"{choose}  {'  '.join(near)}{'' if could > 1 else ' ?'}"] if near else []
        parts = [part.strip() for part in name.split(",") if part.strip()]
        if len(parts) > 1:
            lines.append("several  " + " ".join(f"--on {part}" for part in parts))
        super().__init__(
            several or f"there is no device '{shortened(name)}'.", "\n".join([*lines, "devices  archcalc devices"])
        )


class NoPeak(ArchcalcError):
    """A device without a known peak for the numbers that a model computes with."""

    kind = "no_peak"

    def __init__(self, device: str, dtype: str, layer: str, known: Sequence[str]) -> None:
        names = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "fp64": "float64"}
        floats = "float" in dtype or "complex" in dtype
        others = [f"--dtype {names[key]}" for key in known if floats and key in names and names[key] != dtype]
        lines = [f"try  {'  or  '.join(others)}"] if others else []
        super().__init__(
            f"{device} has no peak for {dtype} that archcalc knows, and {layer or 'the model'} multiplies in it.",
            "\n".join([*lines, "other devices  archcalc devices"]),
        )


class NoBandwidth(ArchcalcError):
    """A device whose data sheet has no memory bandwidth."""

    kind = "no_bandwidth"

    def __init__(self, device: str) -> None:
        super().__init__(
            f"{device} has no memory bandwidth in its data sheet, so that nothing bounds its time.",
            "give its figures  --on tflops=0.5,gbps=4\nother devices  archcalc devices",
        )


class NoCache(ArchcalcError):
    """A model whose forward takes and returns no cache, which serving is about."""

    kind = "no_cache"

    def __init__(self, model: str, typed: str, arguments: Sequence[str], taken: str = "") -> None:
        """`typed` is what a user types for it; `taken` the argument of a cache of which forward returns none."""
        known = f"its arguments are  {', '.join(arguments)}" if arguments else "it has no arguments"
        takes = "past_key_values, cache, kv_cache, past, state or hidden"
        super().__init__(
            f"{model} takes a cache as {taken} and returns none: what its layers keep themselves is not seen."
            if taken
            else f"{model} keeps no cache: forward must take it as {takes}, and return it after its first result.",
            f"{known}\nits pass alone  archcalc flops {typed}  or  archcalc memory {typed}",
        )


class NoLaw(ArchcalcError):
    """A figure of serving that does not grow with tokens and batch as a formula says."""

    kind = "no_law"
    exit_code = 3

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}, so that nothing can be said of other lengths.", "its pass  archcalc flops")


class BadReference(ArchcalcError):
    """A model reference of a form that archcalc does not read."""

    kind = "bad_reference"

    def __init__(self, reference: str, reason: str, hint: str = "") -> None:
        self.reason, self.advice = reason, hint
        super().__init__(
            f"'{reference}' is not a model reference: {reason}.",
            hint
            or "write a built-in NAME, timm:NAME, hf:NAME, package.module:EXPR, path/to/file.py:EXPR or a trace.json",
        )


class UnknownKnob(ArchcalcError):
    """A --set KNOB that the definition does not have."""

    kind = "unknown_knob"

    def __init__(self, knob: str, model: str, known: Sequence[str]) -> None:
        if not known:
            hint = f"{model} takes no --set"
        else:
            close = get_close_matches(knob, known, 1)
            hint = (f"did you mean  {close[0]} ?\n" if close else "") + f"knobs  {', '.join(known)}"
        super().__init__(f"{model} has no knob '{knob}'.", hint)


class BadKnob(ArchcalcError):
    """A knob with a value that the definition cannot be built with."""

    kind = "bad_knob"

    def __init__(self, knob: str, value: object, reason: str, hint: str = "") -> None:
        super().__init__(f"{knob}={setting(value)} cannot be built: {reason}.", hint)


class BadInput(ArchcalcError):
    """An input specification or shorthand that cannot be read or does not fit the model."""

    kind = "bad_input"


class NeedsInput(ArchcalcError):
    """A model whose inputs are neither given nor declared; `given` are options that would give them."""

    kind = "needs_input"

    def __init__(self, reference: str, signature: str, given: str) -> None:
        super().__init__(f"{reference} needs an input: forward{signature}.")
        self.reference, self.given = reference, given
        self.behind(f"summary {reference}")

    def behind(self, typed: str) -> None:
        """Name the command that was typed in the hint, with the inputs behind it."""
        self.hint = f"try  archcalc {typed} {self.given}"


class MissingExtra(ArchcalcError):
    """A package that only some commands need and that is not installed or does not import."""

    kind = "missing_extra"

    def __init__(self, package: str, purpose: str, reason: str) -> None:
        super().__init__(f"{purpose} needs {package}, which does not import: {reason}.", _to_install(package))


def _to_install(package: str) -> str:
    """The hint for a package that does not import, installed or not; its name may have versions."""
    try:
        is_there = find_spec(package.strip("'").partition("<")[0]) is not None
    except (ImportError, ValueError):
        is_there = False
    if is_there:
        return f"it is there, but it fails: type  pip install --force-reinstall {package}  or uninstall it"
    return f"type  pip install {package}"


class NotATrace(ArchcalcError):
    """A JSON file that is not a stored trace."""

    kind = "not_a_trace"

    def __init__(self, path: str, reason: str, hint: str = "") -> None:
        super().__init__(
            f"{path} is not a stored trace: {reason}.",
            hint
            or 'make one with  python -c "import archcalc; '
            "print(archcalc.trace('resnet-18').to_json())\" > resnet-18.json",
        )


class NotASnapshot(ArchcalcError):
    """A JSON file that is not a snapshot."""

    kind = "not_a_snapshot"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} is not a snapshot: {reason}.", f"make one with  archcalc snapshot MODEL -o {path}")


class BadConfig(ArchcalcError):
    """A check file that cannot be read, or a key or value in it that means nothing."""

    kind = "bad_config"

    def __init__(self, place: str, reason: str, hint: str = "") -> None:
        super().__init__(
            f"{place}: {reason}.", hint or "see docs/ci.md, or let  archcalc init MODEL  propose a section"
        )


class CannotWrite(ArchcalcError):
    """An output file that cannot be written; nothing was left behind."""

    kind = "cannot_write"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"cannot write {path}: {reason}.", "choose another file with  -o FILE")


class NoSuchLayer(ArchcalcError, KeyError):
    """A path or pattern of layers that matches nothing."""

    kind = "no_such_layer"

    def __init__(self, pattern: str, paths: Sequence[str]) -> None:
        close = get_close_matches(pattern, paths, 3, 0.5) or list(paths[:3])
        super().__init__(f"no layer matches '{pattern}'.", f"layers look like  {'  '.join(close)}" if close else "")


# ---- exit code 3: the model could not be analysed -------------------------------------------------


class CannotImport(ArchcalcError):
    """A model reference whose module, file or expression cannot be imported or built."""

    kind = "cannot_import"
    exit_code = 3


class ForwardFailed(ArchcalcError):
    """The model's own forward raised; its message and its line are shown."""

    kind = "forward_failed"
    exit_code = 3

    def __init__(self, where: str, message: str, inputs: str, advice: str = "", phase: str = "forward") -> None:
        lines = [f"at      {where}", f"inputs  {inputs}", *([f"try     {advice}"] if advice else [])]
        what = "the model's forward" if phase == "forward" else f"the training step's {phase}"
        super().__init__(f"{what} raised {message}", "\n".join(lines))


class NeedsData(ArchcalcError):
    """A forward whose path or shapes depend on the values of tensors, which do not exist here."""

    kind = "needs_data"
    exit_code = 3

    def __init__(self, where: str, operation: str, lost: Sequence[str] = (), data: bool = False) -> None:
        why = "there are no data here"
        hint = "add  --data  to compute on random values beside the run, or branch on shapes instead"
        if data:
            why = f"they were lost at {', '.join(lost)}" if lost else "they are unknown"
            hint = "leave --device out: its kernels have no counterpart on this CPU" if lost else "report the model"
        message = f"the model asks for a tensor's values ({operation}), and {why}."
        super().__init__(message, f"at    {where}\nhint  {hint}")


class CannotFollow(ArchcalcError):
    """A forward that does something which cannot be followed on tensors without data."""

    kind = "cannot_follow"
    exit_code = 3


class DataLimit(ArchcalcError):
    """Values, under --data, that take more memory than --data-limit allows."""

    kind = "data_limit"
    exit_code = 3

    def __init__(self, needed: int, limit: int) -> None:
        super().__init__(
            f"the values of this run take at least {size(needed)}, and --data-limit is {size(limit)}.",
            "give a smaller input or batch, or raise it:  --data-limit 64GiB",
        )


class WorkerDied(ArchcalcError):
    """A process or a cluster that went away while it measured."""

    kind = "worker_died"
    exit_code = 3


class Incomplete(ArchcalcError):
    """Under --strict: ops without a rule, so that the totals are lower bounds."""

    kind = "incomplete"
    exit_code = 3

    def __init__(self, model: str, notes: Sequence[str]) -> None:
        super().__init__(
            f"{model} has ops without a rule, and --strict wants every op counted.",
            "\n".join(
                [*notes, "leave --strict out for a lower bound, or give the op a formula: docs/add-a-formula.md"]
            ),
        )


class Bug(ArchcalcError):
    """An error of archcalc's own."""

    kind = "bug"
    exit_code = 3

    def __init__(self, error: Exception) -> None:
        message = " ".join(str(error).split())[:200]
        super().__init__(
            f"archcalc failed with {type(error).__name__}: {message}; this is a bug of archcalc's.",
            "add  -v  for the traceback, and report it with the command",
        )


@contextmanager
def writing(path: str) -> Iterator[None]:
    """In this block a file is written: its OSError or ValueError becomes CannotWrite."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(path, (error.strerror or str(error)).lower()) from None
    except ValueError:
        raise CannotWrite(path, "no file can have that name") from None


def unreadable(error: OSError | ValueError) -> str:
    """Why a file cannot be read as text, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it is not text" if isinstance(error, UnicodeDecodeError) else "no file can have that name"


def one_line(error: BaseException) -> str:
    """An error's kind and message in one line, also where its message cannot be had."""
    try:
        message = " ".join(str(error).partition("\nException raised from ")[0].split())  # torch's own frames follow
    except Exception:  # the user's own __str__
        message = ""
    kind = type(error).__name__
    return f"{kind}: {message.rstrip('.')}" if message else kind
