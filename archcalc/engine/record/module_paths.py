"""Dotted paths of modules, and the path that a call of a shared module belongs to."""

from __future__ import annotations

from torch import nn

from archcalc.engine.torch_private import own_modules
from archcalc.tracing import Module


class Paths:
    """All modules of a tree by path. A module registered under several paths has them all."""

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        self.modules: list[Module] = []
        self._of: dict[int, list[int]] = {}
        self._calls: list[int] = []
        self._times: dict[int, int] = {}
        self._known: set[str] = set()
        self._walked: list[tuple[str, nn.Module]] = []
        self.depth = 0
        self._walk(root)

    def walk(self) -> list[tuple[str, nn.Module]]:
        """Every path and its module, parents before children, the root ('') first; a cycle is entered once."""
        return self._walked

    def _walk(self, root: nn.Module) -> None:
        """Enter the whole tree. A stack of what waits takes the place of recursion: modules may be nested deeply."""
        above: list[int] = []
        waiting: list[tuple[str, nn.Module, int | None, int]] = [("", root, None, 0)]
        while waiting:
            name, module, parent, depth = waiting.pop()
            del above[depth:]
            if id(module) in above:
                continue
            above.append(id(module))
            self.depth = max(self.depth, depth)
            number = self._enter(name, module, parent)
            children = [(key, child) for key, child in own_modules(module).items() if child is not None]
            waiting += [(key, child, number, depth + 1) for key, child in reversed(children)]

    def _enter(self, name: str, module: nn.Module, parent: int | None) -> int:
        prefix = self.modules[parent].path if parent is not None else ""
        path = self._unused(f"{prefix}.{name}" if prefix else name) if parent is not None else ""
        number = len(self.modules)
        self._of.setdefault(id(module), []).append(number)
        self._walked.append((path, module))
        self._known.add(path)
        self.modules.append(Module(path, type(module).__name__, _extra(module), parent))
        return number

    def _unused(self, path: str) -> str:
        """The path, or with a mark behind it where a name with a dot in it has taken it already."""
        while path in self._known:
            path += "'"
        return path

    def __contains__(self, module: nn.Module) -> bool:
        return id(module) in self._of

    def index(self, module: nn.Module, parent_call: int | None) -> int:
        """The path of this call: below the caller's where the module is there, the paths taking turns."""
        candidates = self._of[id(module)]
        if len(candidates) == 1 or parent_call is None:
            return candidates[0]
        prefix = self.modules[self._calls[parent_call]].path
        near = [c for c in candidates if not prefix or self.modules[c].path.startswith(f"{prefix}.")] or candidates
        turn = self._times.get(id(module), 0)
        self._times[id(module)] = turn + 1
        return near[turn % len(near)]

    def restart(self) -> None:
        """Another run begins: shared modules take their paths in the same order again."""
        self._times.clear()

    def entered(self, index: int) -> None:
        """Note the path of the module call that begins."""
        self._calls.append(index)


def _extra(module: nn.Module) -> str:
    """A module's own description of its settings; a broken one is left out."""
    try:
        return str(module.extra_repr())
    except Exception as error:  # the user's code: the trace does not depend on it
        return f"({type(error).__name__} in extra_repr)"
