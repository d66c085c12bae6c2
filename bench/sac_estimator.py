"""`memory --checkpoint auto` beside torch's own estimator of selective checkpointing (torch.distributed._tools).

    pip install pulp pwlf
    python -m bench.sac_estimator

torch's MemTracker follows two steps on fake tensors, its SACEstimator weighs each op, and its integer programme decides
which modules discard which share of what they keep. Its two estimates of time need a GPU; both sides count work as this
project does, 2 x MACs + the elements of what other ops make.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import flop_registry

import archcalc
from archcalc import Training
from bench.plan_truth.models import Former, Images

NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Transformer, 6 blocks": (lambda: Former(256, 6), (4, 128, 256)),
    "6 blocks of convolutions": (lambda: Images(64, 6), (8, 3, 32, 32)),
}
SHARES = (0.9, 0.7, 0.5, 0.3)
"""Budgets between our lowest peak and that of the plain step."""


def work(func: Any, args: Any, kwargs: Any) -> tuple[Any, float]:
    """What an op makes, and its work in million operations, which the estimators take for milliseconds."""
    out = func(*args, **kwargs or {})
    count = flop_registry.get(func._overloadpacket)
    if count is not None:
        return out, count(*args, **kwargs or {}, out_val=out) / 1e6
    if func.is_view:
        return out, 0.0
    return out, sum(leaf.numel() for leaf in pytree.tree_leaves(out) if isinstance(leaf, torch.Tensor)) / 1e6


def estimated(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[int, Any]:
    """The peak of torch's MemTracker, and the graph of modules that its integer programme works on."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.ilp_utils import aggregate_stats, parse_module_info
    from torch.distributed._tools.mem_tracker import MemTracker
    from torch.distributed._tools.runtime_estimator import RuntimeEstimator
    from torch.distributed._tools.sac_estimator import SACEstimator

    tracker, device = MemTracker(), torch.device("cpu")
    time, estimator = RuntimeEstimator()("operator-level-cost-model"), SACEstimator()
    time._estimate = estimator._estimate_runtime = work
    with FakeTensorMode():
        module, x = make(), torch.randn(shape)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

        def step() -> None:
            module(x).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        tracker.track_external(module, optimizer, x)
        with tracker:
            step()
            tracker.reset_mod_stats()
            step()
        with time:
            step()
        with estimator:
            module(x).sum()
        info = aggregate_stats(module, tracker, time, estimator, device)
    return tracker.get_tracker_snapshot("peak")[device]["Total"], parse_module_info(info)


def compare(name: str) -> None:
    """Print a line for the plain step and one for each budget."""
    from torch.distributed._tools.ilp_utils import get_peak_memory_runtime_baseline
    from torch.distributed._tools.sac_ilp import sac_milp

    make, shape = NETS[name]
    tracked, graph = estimated(make, shape)
    plain = archcalc.analyze(make(), shape, train=Training("sgd")).peak_bytes
    lowest = archcalc.recompute(make(), 1, shape, batch=shape[0], train=Training("sgd")).lowest_bytes
    programme = get_peak_memory_runtime_baseline(graph)[0]
    print(f"{name}: plain step {plain:,}; MemTracker {tracked:,}, the programme {programme:,}")
    for share in SHARES:
        budget = int(lowest + share * (plain - lowest))
        ours = archcalc.recompute(make(), budget, shape, batch=shape[0], train=Training("sgd"))
        decided, operations, peak = sac_milp(graph, budget / 2**30)
        rates = {path.partition(".")[2]: rate for path, rate in decided.items()}
        extra = (2 * ours.macs + ours.elementwise) / 1e6
        print(f"  budget {budget:,}")
        print(f"    ours {ours.fitted.report.peak_bytes:,}, {extra:,.0f} M: {', '.join(ours.patterns)}")
        words = ", ".join(f"{path} {rate:.0%}" for path, rate in rates.items()) or "nothing"
        print(f"    theirs {peak:,}, {operations:,.0f} M: {words}")
        if rates:
            again = Training("sgd", checkpoint=tuple(rates))
            print(f"    these modules as a whole {archcalc.analyze(make(), shape, train=again).peak_bytes:,}")


if __name__ == "__main__":
    for name_ in NETS:
        compare(name_)
