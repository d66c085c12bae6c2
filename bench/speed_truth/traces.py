"""The trace of each case, made in a process of its own and kept as a file."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

from bench.speed_truth.cases import Case

SECONDS = 180
"""What one trace may take."""


def trace_missing(cases: list[Case]) -> None:
    """Trace the cases without a file, each in a forked process; a failure is kept as a text beside."""
    import bench.speed_truth.preloaded  # noqa: F401  # imported once, before the processes are forked

    for number, case in enumerate(cases, 1):
        failed = _failed(case)
        if case.file.exists() or failed.exists():
            continue
        case.file.parent.mkdir(parents=True, exist_ok=True)
        began = time.time()
        child = os.fork()
        if not child:
            _child(case)
        _await(child)
        said = failed.read_text(encoding="utf-8").splitlines()[-1] if failed.exists() else "traced"
        print(f"[{number}/{len(cases)}] {case.table} {case.model}: {said}, {time.time() - began:.1f} s", flush=True)


def _failed(case: Case) -> Path:
    return case.file.with_suffix(".failed")


def _await(child: int) -> None:
    for _ in range(SECONDS * 10):
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.1)
    os.kill(child, 9)
    os.waitpid(child, 0)


def _child(case: Case) -> None:
    """Trace and write; never returns."""
    try:
        _failed(case).write_text(f"not done in {SECONDS} s", encoding="utf-8")
        text = _traced(case)
        part = case.file.with_suffix(".part")
        part.write_bytes(gzip.compress(text.encode(), 6))
        part.rename(case.file)
        _failed(case).unlink()
    except BaseException as error:  # its process ends here
        _failed(case).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
    finally:
        os._exit(0)


def _traced(case: Case) -> str:
    """The run that the table timed: autocast to float16, and in training SGD with momentum on a cross entropy.

    PyTorch 1.12, of the training table, had no fused attention; timm's own products and softmax ran. PyTorch 2.4, of
    the others, computes attention without a fused kernel in float16, where later versions take float32. Norms of the
    other tables ran in float16 (`--fast-norm`): in float32 the bytes of group norm alone take longer than the runs.
    """
    import timm
    import torch

    import archcalc
    from archcalc import Setup, Training

    training = Training("momentum", loss="cross-entropy") if case.table == "training" else None
    timm.layers.set_fused_attn(training is None)
    timm.layers.set_fast_norm(training is None)
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(training is None)
    error: Exception | None = None
    for knobs in ({}, {"img_size": case.size}):
        setup = Setup(
            knobs=knobs, batch=case.batch, size=(case.size, case.size), device="cuda", amp="fp16", training=training
        )
        try:
            return archcalc.trace(f"timm:{case.model}", setup=setup).to_json()
        except archcalc.ArchcalcError as failed:
            error = error or failed
    assert error
    raise error
