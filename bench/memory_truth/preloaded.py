"""What the processes of the cases have imported before they are forked: importing it is all that it is for."""

from __future__ import annotations

import contextlib
import gc
import warnings

from bench.models import torchvision_ops

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import bench.memory_truth.comparison  # noqa: F401
    from bench.operators import database

    database()

    with contextlib.suppress(ImportError):
        torchvision_ops()
        import timm  # noqa: F401
        import transformers  # noqa: F401

gc.freeze()  # a collection in a case does not go through all of torch
