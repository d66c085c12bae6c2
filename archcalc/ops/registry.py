"""One entry an op: its multiply-adds, its other work, its traffic, the rule of its shape, its receptive field.

An entry belongs to one or several ops that behave alike. A rule sees the shapes and attributes of one call, no torch.
Packages add entries for the ops of their own libraries with `contraction` and `elementwise`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from math import prod
from typing import TypeVar

from archcalc.errors import CannotImport, one_line
from archcalc.ops.axes import Field, Seen
from archcalc.ops.call_view import CallView
from archcalc.ops.names import ATEN, PRIMS
from archcalc.ops.traffic import Launches, Moved, Operands, Rule, each_once, is_view
from archcalc.text.entry_points import entry_points
from archcalc.tracing import Call, Shape, Trace

Formula = Callable[..., int | None]
"""MACs of a call. Its parameters are the op's own argument names: a tensor arrives as its shape, a list of tensors as a
tuple of shapes, any other argument as its value; `output` is the shape of the first output."""
Reason = Callable[[CallView], str]
FieldRule = Callable[[CallView, Seen, Shape], Field]
F = TypeVar("F", bound=Formula)
R = TypeVar("R", bound=Reason)
S = TypeVar("S", bound=FieldRule)
PLUGINS = "archcalc.formulas"
"""The group of entry points of packages that know ops: the library of the ops, and the module to import."""


@dataclass(frozen=True)
class Work:
    """Operations on elements in one call, apart from MACs: the rule in words, and their number."""

    words: str
    of: Callable[[CallView], int]


FREE = Work("free", lambda call: 0)
"""Copies, views, gathers, fillings: no arithmetic on elements."""
EACH_OUTPUT = Work("1 an output element", lambda call: prod(call.output))
"""Elementwise ops, whatever their function."""
BIAS = Work("1 an output element where there is a bias", lambda call: prod(call.output) if "bias" in call.named else 0)
"""The bias, which most contractions add to their products."""


def passes(number: int) -> Work:
    """The work of a fused op that passes `number` times over the elements of its output."""
    return Work(f"{number} an output element", lambda call: number * prod(call.output))


class Causal(Enum):
    """The part that an op can have in masked attention; FUSED is all of it."""

    PRODUCT = auto()
    SOFTMAX = auto()
    FUSED = auto()


class Op:
    """The entry of one or several ops: what is known of a call of theirs.

    A bare name ("mm") stands for all overloads of the op in ATen, in place or not; "mylib.gate" for an op of another
    library. `work` counts its operations on elements: all it does, or, for a contraction, what it does beside its
    products; None if that is not known. `traffic` is the rule of the bytes that it moves; `launches` are the kernels
    that torch runs for it, if they are several: what two of them read is read twice. `fuses` says that compilers run it
    in one kernel with the elementwise ops beside it. `rearranges` says that it only changes how the same elements are
    seen; `step=False` that it is not worth a line of its own in a list of steps.
    """

    def __init__(
        self,
        *names: str,
        work: Work | None = None,
        causal: Causal | None = None,
        traffic: Rule = each_once,
        launches: Launches | None = None,
        fuses: bool = False,
        rearranges: bool = False,
        step: bool = True,
    ) -> None:
        self.names = tuple(name if "." in name else f"{ATEN}.{name}" for name in names)
        self.work, self.causal, self.traffic, self.launches = work, causal, traffic, launches
        self.fuses, self.rearranges, self.step = fuses, rearranges, step
        self.formula: Formula | None = None
        self.shape_reason: Reason | None = None
        self.field_rule: FieldRule | None = None
        for name in self.names:
            if name in OPS:
                raise ValueError(f"{name} has an entry already")
            OPS[name] = self
        _found.clear()

    def macs(self, formula: F) -> F:
        """Register the MACs of a call: the points of the contraction's index space. Bias and softmax are not MACs."""
        self.formula = formula
        self.work = self.work or BIAS
        return formula

    def reason(self, rule: R) -> R:
        """Register why the output has its shape; '' where the op leaves it as it is."""
        self.shape_reason = rule
        return rule

    def field(self, rule: S) -> S:
        """Register how the receptive field changes; ops without a rule keep it where the sizes stay."""
        self.field_rule = rule
        return rule


OPS: dict[str, Op] = {}
"""Every entry by the name of the op: 'aten.mm' stands for all its overloads."""
_found: dict[str, Op] = {}
"""The entries of the ops that were looked for, by the whole name of the op."""


def known(op: str) -> Op | None:
    """The entry of an op: its own, or that of all its overloads, in place or not; None without one.

    >>> known("aten.addmm_").names, known("aten.bmm.out").names, known("mylib.op")
    (('aten.addmm',), ('aten.bmm',), None)
    """
    if op in _found:
        return _found[op]
    library, _, rest = op.partition(".")
    if library == PRIMS:
        library = ATEN
    elif library != ATEN:
        load_plugins(library)
    packet = f"{library}.{rest.partition('.')[0]}"
    entry = OPS.get(f"{library}.{rest}") or OPS.get(packet) or OPS.get(packet.removesuffix("_"))
    if entry is not None:
        _found[op] = entry
    return entry


def macs_of(trace: Trace, call: Call) -> int | None:
    """MACs of one op call; None where it is no contraction, or one whose count shapes do not tell."""
    op = known(call.op)
    return None if op is None or op.formula is None else _macs(op.formula, CallView(trace, call))


def operations_of(trace: Trace, call: Call) -> int | None:
    """Elementwise operations of one call, of a contraction those beside its products; None if its op has no rule."""
    return counts_of(trace, call)[1]


def counts_of(trace: Trace, call: Call) -> tuple[int | None, int | None]:
    """Both: MACs, and elementwise operations."""
    op = known(call.op)
    if op is None:
        return None, None
    view = CallView(trace, call)
    macs = None if op.formula is None else _macs(op.formula, view)
    if op.work is None or (op.formula is not None and macs is None):
        return macs, None
    return macs, op.work.of(view)


def _macs(formula: Formula, view: CallView) -> int | None:
    arguments = view.arguments
    names, needed = _parameters(formula)
    if not needed <= arguments.keys():  # a stored call may lack its tensors
        return None
    return formula(**{name: arguments[name] for name in names & arguments.keys()})


def traffic_of(trace: Trace, call: Call) -> Moved | None:
    """Bytes that one op call reads and writes; none for a view, None if its op is not known."""
    if is_view(trace, call):
        return Moved()
    op = known(call.op)
    return None if op is None else op.traffic(Operands(trace, call))


@cache
def _parameters(formula: Formula) -> tuple[frozenset[str], frozenset[str]]:
    """The names of a formula's parameters, and of those that it needs."""
    parameters = inspect.signature(formula).parameters.values()
    needed = (parameter.name for parameter in parameters if parameter.default is parameter.empty)
    return frozenset(parameter.name for parameter in parameters), frozenset(needed)


def counted_as() -> Iterator[tuple[str, str]]:
    """Every ATen op that is not a contraction, and how it is counted in words: for the documentation."""
    for name, op in OPS.items():
        if name.startswith(f"{ATEN}.") and op.formula is None and op.work is not None:
            yield name.removeprefix(f"{ATEN}."), op.work.words


# ---- for other packages -------------------------------------------------------------------------


def contraction(*ops: str) -> Callable[[F], F]:
    """Register the formula of ops of another library; a second formula for an op is refused."""

    def register(formula: F) -> F:
        for name in ops:
            entry = OPS.get(name) or Op(name)
            if entry.formula is not None:
                raise ValueError(f"{name} has the formula {entry.formula.__name__} already")
            entry.macs(formula)
        return formula

    return register


def elementwise(*ops: str, an_element: int) -> None:
    """Declare ops of another library that do `an_element` operations for each element of their first output.

    >>> elementwise("mylib.gate", "mylib.mix", an_element=2)
    """
    for name in ops:
        entry = OPS.get(name) or Op(name)
        entry.work = passes(an_element) if an_element else FREE


@cache
def load_plugins(library: str) -> None:
    """Import what installed packages know of the ops of a library, once; CannotImport where that fails."""
    for point in entry_points(group=PLUGINS, name=library):
        try:
            point.load()
        except Exception as error:  # code of another package
            raise CannotImport(f"the formulas for {library} ({point.value}) raised {one_line(error)}.", "") from error
