"""A network for the catalogue: the module, the function that builds it from knobs, and what it says of itself."""

import torch
from pocketnet import ops
from torch import Tensor, nn

from archcalc.networks.spec import Family, Network, Paper, Published, at_least, image


class PocketNet(nn.Module):
    """A convolution, a grouped matrix, a classifier."""

    def __init__(self, width: int, groups: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.weight = nn.Parameter(torch.empty(groups, width // groups, width // groups))
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:  # N, 3, H, W
        x = self.conv(x).mean((2, 3))  # N, width
        x = ops.squared_relu(torch.ops.pocketnet.grouped_linear(x, self.weight))
        return self.fc(x)


def pocket_net(width: int = 64, groups: int = 4, classes: int = 10) -> PocketNet:
    """Pocket net of any width that its groups divide."""
    at_least("width", width, 1)
    return PocketNet(width, groups, classes)


POCKET_NET = Network(
    name="pocket-net",
    family=Family(
        name="pocketnet",
        default="pocket-net",
        title="Pocket networks",
        idea="The smallest network that shows how a package extends archcalc.",
        paper=Paper("How to extend archcalc", "the authors of pocketnet", 2026, "docs/extend.md"),
    ),
    build=pocket_net,
    inputs=(image(32),),
    published=(Published("params", "3,466", "by hand: 1,792 + 1,024 + 650"),),
)
