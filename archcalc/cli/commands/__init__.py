"""One file a command: parse, call a study, render a page, exit code. Here they are listed in the order of the help."""

from archcalc.cli.commands import (  # isort: skip
    list,
    show,
    summary,
    params,
    flops,
    memory,
    shapes,
    explain,
    compare,
    verify,
    law,
    sweep,
    check,
    init,
    snapshot,
    diff,
)

__all__ = [
    "check",
    "compare",
    "diff",
    "explain",
    "flops",
    "init",
    "law",
    "list",
    "memory",
    "params",
    "shapes",
    "show",
    "snapshot",
    "summary",
    "sweep",
    "verify",
]
