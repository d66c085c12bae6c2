"""Entry points of installed packages, without importlib.metadata where no package has any of a group."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

TYPE_CHECKING = False  # typing's own would have to be imported
if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def entry_points(group: str, name: str = "") -> Sequence[EntryPoint]:
    """The entry points of a group, as importlib.metadata gives them; those of one name, if it is given."""
    if not any(_may_have(group, folder) for folder in sys.path):
        return ()
    from importlib import metadata

    points = metadata.entry_points(group=group)
    return tuple(point for point in points if name in ("", point.name))


def _may_have(group: str, folder: str) -> bool:
    """Whether a package in a folder may have entry points of the group. Archives and eggs are not looked into."""
    try:
        names = os.listdir(folder or ".")
    except NotADirectoryError:
        return True
    except OSError:
        return False
    for name in names:
        if name.endswith((".egg", ".egg-info")):
            return True
        if name.endswith(".dist-info"):
            try:
                with open(os.path.join(folder, name, "entry_points.txt"), "rb") as file:
                    if group.encode() in file.read():
                        return True
            except OSError:
                continue  # most packages have none
    return False
