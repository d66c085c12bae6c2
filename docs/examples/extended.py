"""What the pages on extending archcalc run beside their diffs."""

import torch
from torch import Tensor, nn


class Inverse(nn.Module):
    """A batch of matrices and their inverses: 2 x 3 x 3."""

    example_input_array = torch.zeros(2, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.inv(x)


if __name__ == "__main__":
    import archcalc
    from archcalc.analyses import Params, analyze

    frozen = nn.Sequential(nn.Linear(2, 3).requires_grad_(False), nn.Linear(3, 1))
    print(analyze(archcalc.trace(frozen, (1, 2)), [Params(trainable_only=True)]).params)
