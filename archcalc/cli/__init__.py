"""The command line: thin commands that parse, call, print and set the exit code."""

from __future__ import annotations

import gc
import shlex
import signal
import sys
import traceback
from collections.abc import Callable

from archcalc.cli.interrupts import interrupted, interruptible
from archcalc.cli.output import ReaderGone, drop_stdout, report_error
from archcalc.errors import ArchcalcError, Bug, CannotWrite, NeedsInput


def process(leave: Callable[..., None] = signal.default_int_handler) -> int:
    """The command line as a process of its own, in which Ctrl-C is exit code 130; `leave` ends it when it is idle."""
    gc.disable()  # it is short: collecting while torch imports would cost a sixth of its time
    try:
        return interruptible(main, leave)
    finally:
        gc.freeze()  # the system takes the memory back: Python would look through all of torch once more at its end


def main(args: list[str] | None = None) -> int:
    """Run one command line and return its exit code; every error becomes one sentence and the next step."""
    arguments = sys.argv[1:] if args is None else args
    try:
        return _run(arguments)
    except (ReaderGone, BrokenPipeError):
        drop_stdout()
        return 0
    except SystemExit:  # typer's own: after completion, or where the reader of its help has gone
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if interrupted() or type(error).__name__ == "Abort":  # typer's; an import of C code may make its own of it
            return 130
        return report_error(_as_ours(error, arguments), arguments)


def _run(arguments: list[str]) -> int:
    from archcalc.cli.app import app, command_name, with_commands
    from archcalc.cli.bare_model import demand_values, with_command, with_empty_values
    from archcalc.cli.commands import register

    arguments = with_command(arguments)
    demand_values(arguments)
    register(arguments[0] if arguments else "")  # that command alone, where one is named
    run = with_commands(tuple(map(command_name, app.registered_commands)))
    code = run(with_empty_values(arguments), standalone_mode=False)
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _as_ours(error: Exception, arguments: list[str]) -> ArchcalcError:
    """The error as a sentence of archcalc's."""
    import typer

    if isinstance(error, NeedsInput) and error.reference in arguments:  # else a file names the model
        from archcalc.cli.bare_model import with_command

        error.behind(shlex.join(with_command(arguments)))
    if isinstance(error, ArchcalcError):
        return error
    if isinstance(error, typer.TyperException):
        from archcalc.cli.typer_errors import as_wrong_use

        return as_wrong_use(error, arguments)
    if isinstance(error, OSError):
        return CannotWrite("to stdout", error.strerror or str(error))
    if "-v" in arguments or "--verbose" in arguments:  # a bug of ours: one sentence instead of a traceback
        traceback.print_exc()
    return Bug(error)
