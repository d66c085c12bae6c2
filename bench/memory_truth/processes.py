"""Each case in a process of its own, with a limit of memory and of time; its row is kept as soon as it is there.

The processes are forked from a server that has imported torch and the libraries and has run nothing.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.memory_truth.case import Case

Work = Callable[[Case, str, Any], None]
"""What the process of a case does: from the case, the device and where to send the row."""
MEMORY, SECONDS, THREADS = 14 * 2**30, 300, 2
"""Bytes of address space and seconds that a process may use, and the threads of torch in it."""


def rows_of(
    cases: Sequence[Case], path: Path, device: str = "cpu", work: Work | None = None, seconds: float = SECONDS
) -> Iterator[dict[str, Any]]:
    """Run cases one after the other, append each row to the file, and give it; `work` is what a process does."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["bench.memory_truth.preloaded"])
    for case in cases:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=work or _work, args=(case, device, sender))
        process.start()
        sender.close()
        made = _received(receiver, process, seconds)
        made = made if isinstance(made, dict) else case.described() | {"verdict": "not run", "reason": made}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(made) + "\n")
        yield made


def _received(receiver: Any, process: Any, seconds: float) -> dict[str, Any] | str:
    """The row that a process sends, or why there is none; the process is gone then."""
    in_time = receiver.poll(seconds)
    try:
        made: dict[str, Any] | str = receiver.recv() if in_time else f"not done in {seconds:,.0f} s"
        process.kill()
        process.join()
    except EOFError:
        process.join()
        made = f"its process ended with code {process.exitcode}"
    return made


def _work(case: Case, device: str, sender: Any) -> None:
    from bench.memory_truth.comparison import judged

    _prepare(device)
    sender.send(judged(case, device))
    sender.close()


def work_again(case: Case, device: str, sender: Any) -> None:
    """What the process of a case does whose real bytes are kept from an earlier run."""
    from bench.memory_truth.comparison import ROWS, judged_again

    _prepare(device)
    sender.send(judged_again(case, kept(ROWS[device])[case.key], device))
    sender.close()


def _prepare(device: str) -> None:
    import torch

    if device == "cpu":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    torch.set_num_threads(THREADS)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)  # the profiler's own lines, too


def kept(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of a file by the keys of their cases, the last one of each."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {made["key"]: made for made in map(json.loads, lines)}
