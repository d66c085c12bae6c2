"""Plain nets (He et al. 2015, section 3.3): ResNet's convolutions without its shortcuts."""

from __future__ import annotations

from archcalc.networks.spec import register
from archcalc.networks.vision.resnet import member, printed

PLAIN_DRAWING = """
     x
  conv 3x3
  BN, ReLU        no way around the convolutions:
  conv 3x3        the gradient passes all of them
  BN, ReLU
"""
PLAIN = "ResNet-18 and -34 less the three projections, 173,824 parameters"

register(
    *(
        member(
            f"plain-{depth}",
            printed("macs", macs, "ResNet paper, section 3.3 and Table 1"),
            printed("params", params, PLAIN, "closed form"),
            about="The same convolutions without shortcuts: what the residual net is compared with.",
            diagram=PLAIN_DRAWING,
            depth=depth,
            shortcut="none",
        )
        for depth, macs, params in ((18, "1.8G", "11,515,688"), (34, "3.6G", "21,623,848"))
    ),
    file=__name__,
)
