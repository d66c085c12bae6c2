"""`archcalc cache`."""

from __future__ import annotations

from typing import Annotated

import typer

from archcalc.cli.answer import emit_documents
from archcalc.cli.app import app
from archcalc.cli.options import PRINTING, Options, shared
from archcalc.errors import WrongUse


@app.command()
@shared(PRINTING)
def cache(
    action: Annotated[str, typer.Argument(metavar="[info|clear]", help="Show the folder, or empty it.")] = "info",
    *,
    options: Options,
) -> None:
    """Stored traces: where they are, how many bytes they take, and how to remove them.

    ARCHCALC_CACHE names another folder, or is on or off; it is off under CI unless asked for.

    \b
    Examples:
      archcalc cache info
      archcalc cache clear
      archcalc flops resnet-50 --no-cache
    """
    from archcalc.engine.cache.folder import Folder, chosen_folder
    from archcalc.render.pages import cache as page

    if action not in ("info", "clear"):
        raise WrongUse(f"there is no 'cache {action}'.", "type  archcalc cache info  or  archcalc cache clear")
    path = chosen_folder()
    folder = Folder(path) if path is not None else None
    before = [facts.st_size for _, facts in folder.files()] if folder else []
    removed = folder.clear() if folder and action == "clear" else 0
    emit_documents([page.cache(folder.path if folder else None, before, removed, action)], options)
