"""Does traffic order measured speeds? ShuffleNet v2's tables 1, 2, 3 and 8 -> docs/traffic-order.md.

python -m bench.traffic_order, which needs timm
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from torch import Tensor, nn

import archcalc
from bench.models import torchvision_ops

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
WHOLE, PAIR, QUARTERS = (1, "series"), (2, "series"), (4, "series")
BESIDE, FOUR_BESIDE = (2, "parallel"), (4, "parallel")
TABLE_3 = {
    "GTX 1080 Ti": {
        128: {WHOLE: 2446, PAIR: 1790, QUARTERS: 752, BESIDE: 1537, FOUR_BESIDE: 691},
        256: {WHOLE: 1274, PAIR: 909, QUARTERS: 745, BESIDE: 803, FOUR_BESIDE: 572},
        512: {WHOLE: 434, PAIR: 336, QUARTERS: 349, BESIDE: 320, FOUR_BESIDE: 292},
    },
    "Snapdragon 810": {
        64: {WHOLE: 40.2, PAIR: 38.6, QUARTERS: 38.4, BESIDE: 33.4, FOUR_BESIDE: 35.0},
        128: {WHOLE: 10.1, PAIR: 10.1, QUARTERS: 10.1, BESIDE: 9.1, FOUR_BESIDE: 8.4},
        256: {WHOLE: 2.3, PAIR: 2.2, QUARTERS: 2.3, BESIDE: 2.2, FOUR_BESIDE: 2.1},
    },
}
"""By device and channels of the whole block: images (GPU: batches) a second of the block in fragments."""
TABLE_8 = {
    "shufflenet-v2-0.5x": (417, 57.0), "shufflenet-v2-1.0x": (341, 24.4), "shufflenet-v2-1.5x": (255, 11.8),
    "shufflenet-v2-2.0x": (217, 6.7), "shufflenet-v1-0.5x-g3": (347, 56.8), "shufflenet-v1-1.0x-g3": (213, 21.8),
    "shufflenet-v1-1.5x-g3": (164, 10.3), "shufflenet-v1-2.0x-g3": (133, 6.4),
}  # fmt: skip
"""The members of our catalogue: batches of 8 a second on the GPU, images a second on the phone (Ma et al. 2018)."""
MOBILENETS = {
    "timm:mobilenetv1_100": (247, 6.5),
    "timm:mobilenetv2_100": (180, 8.9),
    "timm:mobilenetv2_140": (137, 5.4),
}
"""Networks of table 8 that timm has with the multiply-adds that are printed, to 1 %."""


def channels_first(key: object) -> nn.Module:
    """A network of table 1."""
    c1, c2 = key  # type: ignore[misc]
    pairs = ((c1, c2), (c2, c1)) * 10
    return nn.Sequential(*(nn.Conv2d(a, b, 1, bias=False) for a, b in pairs))


def in_groups(key: object) -> nn.Module:
    """A network of table 2."""
    groups, channels = key  # type: ignore[misc]
    return nn.Sequential(*(nn.Conv2d(channels, channels, 1, groups=groups, bias=False) for _ in range(10)))


class InFragments(nn.Module):
    """A block of table 3: 1x1 convolutions of equal width one after another, or side by side with a sum."""

    def __init__(self, fragments: int, way: str, channels: int) -> None:
        super().__init__()
        self.in_series = way == "series"
        self.parts = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(fragments))

    def forward(self, x: Tensor) -> Tensor:
        """The last convolution's result, or the sum of all."""
        if self.in_series:
            for part in self.parts:
                x = part(x)
            return x
        out = self.parts[0](x)
        for part in self.parts[1:]:
            out = out + part(x)
        return out


def fragmented(fragments: int, way: str, whole: int) -> tuple[nn.Module, int]:
    """Ten blocks of table 3, and their channels: n fragments of width c / sqrt(n) multiply as often as one of c."""
    channels = round(whole / fragments**0.5)
    return nn.Sequential(*(InFragments(fragments, way, channels) for _ in range(10))), channels


def figures(network: nn.Module | str, channels: int, batch: int) -> tuple[int, int]:
    """MACs and bytes of traffic."""
    inputs = None if isinstance(network, str) else [(batch, channels, 56, 56)]
    report = archcalc.analyze(network, inputs, **({"batch": batch} if isinstance(network, str) else {}))
    return report.macs, int(report.totals["traffic_bytes"])


def right(ours: Mapping[object, float], speeds: Mapping[object, float]) -> tuple[int, int]:
    """The pairs in which the smaller figure is the faster network, and the pairs in all."""
    pairs = [(a, b) for a, b in combinations(speeds, 2) if speeds[a] != speeds[b]]
    return sum((ours[a] < ours[b]) == (speeds[a] > speeds[b]) for a, b in pairs), len(pairs)


def of_table_3(device: str) -> str:
    """The row of table 3 on a device."""
    macs_right = traffic_right = pairs = 0
    for whole, speeds in TABLE_3[device].items():
        found = {key: figures(*fragmented(*key, whole), 1) for key in speeds}
        by_traffic, all_ = right({key: pair[1] for key, pair in found.items()}, speeds)
        macs_right += right({key: pair[0] for key, pair in found.items()}, speeds)[0]
        traffic_right, pairs = traffic_right + by_traffic, pairs + all_
    name = "3: 1x1 convolutions in fragments, ten blocks at 56x56"
    return f"| {name} | {device} | {traffic_right} of {pairs} | {macs_right} of {pairs} |"


def of_table_8(name: str, networks: Mapping[str, Sequence[float]], column: int, device: str, batch: int) -> str:
    """The row of some networks of table 8 on a device."""
    found = {network: figures(network, 3, batch) for network in networks}
    speeds = {network: values[column] for network, values in networks.items()}
    by_traffic, pairs = right({network: pair[1] for network, pair in found.items()}, speeds)
    by_macs, _ = right({network: pair[0] for network, pair in found.items()}, speeds)
    return f"| {name} | {device} | {by_traffic} of {pairs} | {by_macs} of {pairs} |"


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
    lines += [of_table_3(device) for device in TABLE_3]
    for name, networks in (
        ("8: the ShuffleNets of our catalogue", TABLE_8),
        ("8: these and three MobileNets of timm", TABLE_8 | MOBILENETS),
    ):
        lines += [of_table_8(name, networks, *column) for column in ((0, "GTX 1080 Ti", 8), (1, "Snapdragon 810", 1))]
    return lines


def main() -> None:
    """Write the page."""
    torchvision_ops()
    head = ["| table | device | by traffic | by multiply-adds |", "| :-- | :-- | --: | --: |"]
    text = [
        "# Does traffic order speeds?",
        "",
        "Pairs of networks that a figure puts in the order of their published speeds (Ma et al. 2018, ShuffleNet v2).",
        "The networks of tables 1 and 2 have equal multiply-adds but for rounding, so those order them by chance.",
        "Table 2 prints 180 channels in 8 groups for the phone, which do not divide; that row is left out.",
        "Table 3 adjusts the channels of n fragments to equal multiply-adds, here c / sqrt(n), rounded; pairs of equal",
        "speed are left out. The pairs that traffic gets wrong are of two fragments against four:",
        "it does not see that many small kernels fill a device badly (guideline G3), nor which of them run at once.",
        "",
        "Of table 8 there are the networks that we or timm define at the multiply-adds that it prints. The others have",
        "no definition at these widths: DenseNet, Xception and MobileNets that the authors scaled, IGCV2 and IGCV3-D,",
        "NASNet-A and PNASNet-5 (mobile), ShuffleNet v2 2x with SE. (MobileNet v2 0.75 of timm has 154 M multiply-adds",
        "at 192 pixels, the table 145 M.)",
        "",
        "`python -m bench.traffic_order` (needs timm) writes this page.",
        "",
        *head,
        *rows(),
        "",
    ]
    PAGE.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
