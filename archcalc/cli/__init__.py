"""The command line: thin commands that parse, call, print and set the exit code."""

from __future__ import annotations

import gc
import sys
import traceback

from archcalc.cli.output import ReaderGone, drop_stdout, report_error
from archcalc.errors import ArchcalcError, Bug, CannotWrite


def process() -> int:
    """The command line as a process of its own."""
    gc.disable()  # it is short: collecting while torch imports would cost a sixth of its time
    return main()


def main(args: list[str] | None = None) -> int:
    """Run one command line and return its exit code; every error becomes one sentence and the next step."""
    import typer

    from archcalc.cli import commands  # noqa: F401, they register themselves
    from archcalc.cli.app import app

    arguments = sys.argv[1:] if args is None else args
    try:
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (ReaderGone, BrokenPipeError):
        drop_stdout()
        return 0
    except SystemExit:  # typer's own: after completion, or where the reader of its help has gone
        return 0
    except KeyboardInterrupt:
        return 130
    except ArchcalcError as error:
        return report_error(error, arguments)
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        from archcalc.cli.typer_errors import as_wrong_use

        return report_error(as_wrong_use(error, arguments), arguments)
    except OSError as error:
        return report_error(CannotWrite("to stdout", error.strerror or str(error)), arguments)
    except Exception as error:  # a bug of ours: one sentence instead of a traceback
        if "-v" in arguments or "--verbose" in arguments:
            traceback.print_exc()
        return report_error(Bug(error), arguments)
