"""Does traffic order measured speeds? ShuffleNet v2's tables 1, 2 and 8 -> docs/traffic-order.md.

python -m bench.traffic_order
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from torch import nn

import archcalc

PAGE = Path(__file__).parent.parent / "docs" / "traffic-order.md"


@dataclass(frozen=True)
class Published:
    """A published table: its columns' batch sizes (none: as given), and the speeds of each network in each column."""

    name: str
    device: str
    batches: Sequence[int]
    speeds: Mapping[object, Sequence[float]]


TABLE_1 = (
    Published(
        "1: c1 to c2 to c1, ten blocks at 56x56", "GTX 1080 Ti", (1, 2, 4),
        {(128, 128): (1480, 723, 232), (90, 180): (1296, 586, 206), (52, 312): (876, 489, 189),
         (36, 432): (748, 392, 163)},
    ),
    Published(
        "1: c1 to c2 to c1, ten blocks at 56x56", "Snapdragon 810", (1, 2, 4),
        {(32, 32): (76.2, 21.7, 5.3), (22, 44): (72.9, 20.5, 5.1), (13, 78): (69.1, 17.9, 4.6),
         (9, 108): (57.6, 15.1, 4.4)},
    ),
)  # fmt: skip
TABLE_2 = (
    Published(
        "2: ten 1x1 convolutions in groups at 56x56", "GTX 1080 Ti", (1, 2, 4),
        {(1, 128): (2451, 1289, 437), (2, 180): (1725, 873, 341), (4, 256): (1026, 644, 338),
         (8, 360): (634, 445, 230)},
    ),
    Published(
        "2: ten 1x1 convolutions in groups at 56x56", "Snapdragon 810", (1, 2, 4),
        {(1, 64): (40.0, 10.2, 2.3), (2, 90): (35.0, 9.5, 2.2), (4, 128): (32.9, 8.7, 2.1),},
    ),
)  # fmt: skip
TABLE_8 = {
    "shufflenet-v2-0.5x": (417, 57.0), "shufflenet-v2-1.0x": (341, 24.4), "shufflenet-v2-1.5x": (255, 11.8),
    "shufflenet-v2-2.0x": (217, 6.7), "shufflenet-v1-0.5x-g3": (347, 56.8), "shufflenet-v1-1.0x-g3": (213, 21.8),
    "shufflenet-v1-1.5x-g3": (164, 10.3), "shufflenet-v1-2.0x-g3": (133, 6.4),
}  # fmt: skip
"""The members of our catalogue: batches of 8 a second on the GPU, images a second on the phone (Ma et al. 2018)."""


def channels_first(key: object) -> nn.Module:
    """A network of table 1."""
    c1, c2 = key  # type: ignore[misc]
    pairs = ((c1, c2), (c2, c1)) * 10
    return nn.Sequential(*(nn.Conv2d(a, b, 1, bias=False) for a, b in pairs))


def in_groups(key: object) -> nn.Module:
    """A network of table 2."""
    groups, channels = key  # type: ignore[misc]
    return nn.Sequential(*(nn.Conv2d(channels, channels, 1, groups=groups, bias=False) for _ in range(10)))


def figures(network: nn.Module | str, channels: int, batch: int) -> tuple[int, int]:
    """MACs and bytes of traffic."""
    inputs = None if isinstance(network, str) else [(batch, channels, 56, 56)]
    report = archcalc.analyze(network, inputs, **({"batch": batch} if isinstance(network, str) else {}))
    return report.macs, int(report.totals["traffic_bytes"])


def right(ours: Mapping[object, float], speeds: Mapping[object, float]) -> tuple[int, int]:
    """The pairs in which the smaller figure is the faster network, and the pairs in all."""
    pairs = [(a, b) for a, b in combinations(speeds, 2) if speeds[a] != speeds[b]]
    return sum((ours[a] < ours[b]) == (speeds[a] > speeds[b]) for a, b in pairs), len(pairs)


def rows() -> list[str]:
    """The rows of the page's table."""
    lines = []
    for tables, build, width in ((TABLE_1, channels_first, 0), (TABLE_2, in_groups, 1)):
        for table in tables:
            macs_right = traffic_right = pairs = 0
            for column, batch in enumerate(table.batches):
                found = {key: figures(build(key), key[width], batch) for key in table.speeds}  # type: ignore[index]
                speeds = {key: values[column] for key, values in table.speeds.items()}
                by_traffic, all_ = right({key: pair[1] for key, pair in found.items()}, speeds)
                macs_right += right({key: pair[0] for key, pair in found.items()}, speeds)[0]
                traffic_right, pairs = traffic_right + by_traffic, pairs + all_
            lines.append(f"| {table.name} | {table.device} | {traffic_right} of {pairs} | {macs_right} of {pairs} |")
    for column, device, batch in ((0, "GTX 1080 Ti", 8), (1, "Snapdragon 810", 1)):
        found = {name: figures(name, 3, batch) for name in TABLE_8}
        speeds = {name: values[column] for name, values in TABLE_8.items()}
        by_traffic, pairs = right({name: pair[1] for name, pair in found.items()}, speeds)
        by_macs, _ = right({name: pair[0] for name, pair in found.items()}, speeds)
        name = "8: the ShuffleNets of our catalogue"
        lines.append(f"| {name} | {device} | {by_traffic} of {pairs} | {by_macs} of {pairs} |")
    return lines


def main() -> None:
    """Write the page."""
    head = ["| table | device | by traffic | by multiply-adds |", "| :-- | :-- | --: | --: |"]
    text = [
        "# Does traffic order speeds?",
        "",
        "Pairs of networks that a figure puts in the order of their published speeds (Ma et al. 2018, ShuffleNet v2).",
        "The networks of tables 1 and 2 have equal multiply-adds but for rounding, so those order them by chance.",
        "Table 2 prints 180 channels in 8 groups for the phone, which do not divide; that row is left out.",
        "`python -m bench.traffic_order` writes this page.",
        "",
        *head,
        *rows(),
        "",
    ]
    PAGE.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
