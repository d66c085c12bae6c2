"""Freeze what every command prints on a dozen models, and compare it later: for changes that must not move a figure.

python -m tests.golden freeze FOLDER     write each command's output, errors and exit code to files
python -m tests.golden compare FOLDER    run the commands again and show what differs; exit 1 where something does
"""

from __future__ import annotations

import contextlib
import difflib
import shlex
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.helpers import ROOT, run

PROCESSES = 2
MODELS = (
    "resnet-18", "densenet-121", "shufflenet-v2", "inception-v3", "se-resnet-50", "vgg-16", "gpt2", "transformer",
    "lstm-ptb-medium", "multi-head-attention", "dense-block", "mynet.py:Net",
)  # fmt: skip
INPUT = {"mynet.py:Net": ("-i", "image=2x3x224x224", "-i", "tokens=int64:2x77")}
"""What a model needs to be told; the others know their input."""
ASKED = (
    "summary", "summary --depth 2 -f md", "shapes", "shapes --only-changes -f csv", "params", "params --top 5 -f latex",
    "flops", "flops --convention fvcore", "flops --convention half-causal", "flops --backward", "memory",
    "memory --device cpu -f plain", "memory --train --optimizer adam", "memory --train --device cpu --per-sample",
    "memory --train --device cuda --amp bf16 --timeline", "explain", "snapshot", "init", "verify",
)  # fmt: skip
"""Asked of every model, as text and, where the command has it, under --json."""
OTHERS = """
list
list 'resnet*' --json
show densenet-121
show gpt2 --json
explain conv2d
explain resnet-18 layer2.0.conv1 --json
explain lstm-cell
compare resnet-50 densenet-121 shufflenet-v2
compare resnet-18 resnet-34 --batch 8 --train --json
memory resnet-18 --train --fit 2GiB --json
memory resnet-18 --train --fit 1MiB
law multi-head-attention --over seq_len,d_model
law densenet-bc-cifar --over depth --figure saved_total_bytes --figure macs --json
law gpt2 --over seq_len --figure macs --measure 64:256:64
law dense-block --set bottleneck=false --over layers,growth_rate=in_channels --figure weights --latex
law resnet-18 --over batch --figure peak_bytes --plot
law --table self-attention --json
sweep densenet-bc-cifar --set depth=40:70:30 --set growth_rate=12,24 --sort params --jobs 1
sweep resnet-18 --set batch=1:5:2 --figure peak_bytes --figure params --where 'peak_bytes > 1' --json --jobs 1
diff resnet-18 resnet-34
diff resnet-50-v1 resnet-50 --json
diff densenet-121 densenet-169 -f md --all
check guard.toml
check guard.toml --json
check guard.toml -f github
check guard.toml -f junit
check guard.toml -f sarif
params resnet18x
params resnet-18 --set depht=3
flops resnet-18 -i 2x3x7
flops resnet-18 --train
flops mynet.py:Net
memory resnet-18 --device tpu
memory resnet-18 --optimizer lion
law resnet-18 --over deepness
sweep resnet-18 --figure nothing --set batch=1:2
summary resnet-18 --sort nothing
check nowhere.toml
params resnet-18 -f nothing
explain resnet-18 nolayer
--help
memory --help
law --help
check --help
--version
"""


def commands() -> Iterator[str]:
    """Every command line."""
    for model in MODELS:
        for asked in ASKED:
            name, *options = asked.split()
            line = " ".join([name, model, *INPUT.get(model, ()), *options])
            yield line
            if "-f" not in options and name not in ("snapshot", "init"):
                yield f"{line} --json"
    yield from OTHERS.strip().splitlines()


def printed(line: str) -> str:
    """What a command line prints and returns, as one text."""
    with contextlib.chdir(ROOT / "docs" / "examples"):
        ran = run(*shlex.split(line))
    return f"$ archcalc {line}\n{ran.out}\n--- stderr\n{ran.err}\n--- exit {ran.code}\n"


def main(what: str, folder: Path) -> int:
    """Write the files, or compare with them; the number of commands that differ, at most 1."""
    folder.mkdir(parents=True, exist_ok=True)
    before = {text.partition("\n")[0]: text for text in (f.read_text("utf-8") for f in folder.glob("*.txt"))}
    differ = 0
    lines = list(commands())
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as processes:
        for number, (line, now) in enumerate(zip(lines, processes.map(printed, lines, chunksize=4), strict=True)):
            if what == "freeze":
                (folder / f"{number:03}.txt").write_text(now, encoding="utf-8")
            elif before[f"$ archcalc {line}"] != now:
                differ += 1
                print(f"=== {line}")
                old = before[f"$ archcalc {line}"].splitlines()
                print(*list(difflib.unified_diff(old, now.splitlines(), lineterm="", n=0))[2:40], sep="\n", flush=True)
    print(f"{len(lines)} commands, {differ} differ" if what == "compare" else f"{len(lines)} commands frozen")
    return min(differ, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
