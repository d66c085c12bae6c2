"""`python -m archcalc`, and the script `archcalc`: the command line as a process of its own.

Ctrl-C ends it with exit code 130 and no traceback from this file's first line on, so nothing slow is imported before
the first handler is there: `signal` alone would take as long as all of this package's `__init__`.
"""

import _signal  # type: ignore[import-not-found]
import os


def leave(*_: object) -> None:
    """End the process at once, as interrupted: nothing of ours is open while modules are imported."""
    os._exit(130)


def process() -> int:
    """Run the command line and return its exit code."""
    if _signal.getsignal(_signal.SIGINT) is not _signal.SIG_IGN:  # in the background of a script Ctrl-C is ignored
        _signal.signal(_signal.SIGINT, leave)
    try:
        from archcalc.cli import process as run

        return run(leave)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(process())
