"""The description of a device. No torch here: a device loads its kernels when a run starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Kernel = Callable[..., Any]
Wrap = Callable[[Kernel], Kernel]
"""From the kernel that would run to the one that runs in its place."""
Scratch = Callable[[Any, Sequence[Any], Mapping[str, Any], Any], int]
"""Bytes that a call uses inside and gives back, from its op, arguments, keyword arguments and result."""


def no_scratch(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """0 bytes."""
    return 0


def as_is(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Any:
    """The result that torch's kernel without data gives."""
    return out


def no_workspace(func: Any) -> int:
    """0 bytes."""
    return 0


def nowhere() -> str:
    """Nothing of this machine."""
    return ""


@dataclass(frozen=True)
class Attention:
    """How a device computes scaled dot product attention.

    `default` is the kernel that "auto" means. `fused` gives the kernel for a call, "math" if a fused one cannot do it;
    `flash` computes attention by the device's flash kernel.
    """

    default: str
    fused: Callable[..., str]
    flash: Kernel


@dataclass(frozen=True)
class Kernels:
    """The kernels of a device: ops that it computes by others (by name), what they use beside tensors, attention."""

    attention: Attention
    own: Mapping[str, Kernel]
    """The device's kernels of ops that torch without data computes by smaller ops, by name."""
    replaced: Mapping[str, Wrap] = field(default_factory=dict)
    scratch: Scratch = no_scratch
    workspace: Callable[[Any], int] = no_workspace
    """Bytes that the first such call of a thread takes and that stay."""
    result: Callable[[Any, Sequence[Any], Mapping[str, Any], Any], Any] = as_is
    """The result of a call on this device, from its op, arguments, keyword arguments and the result without data."""


@dataclass(frozen=True)
class Device:
    """A device whose kernels and allocator can be assumed.

    `standing` says what its figures are no answer to, or were not compared with; it is '' where they were. `note` says
    what is and is not in its bytes. `block` are the bytes that its allocator rounds up to; `autocast` names torch's
    lists of mixed precision; `foreach` says that optimizers update all parameters by one kernel, and `numbers_on_host`
    that a number in a tensor of no dimension stays with Python. `machine` tells what of this machine decides which
    kernels run, '' for nothing.
    """

    name: str
    note: str
    kernels: Callable[[], Kernels]
    block: int = 1
    autocast: str = "cuda"
    foreach: bool = False
    numbers_on_host: bool = False
    standing: str = ""
    machine: Callable[[], str] = nowhere

    @property
    def warning(self) -> str:
        """The sentence that every answer on this device shows; '' for none."""
        return f"device {self.name}: {self.standing}" if self.name and self.standing else ""
