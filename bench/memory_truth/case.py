"""One case of the memory bench: which model, which batch, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from archcalc.engine.setup import Training
from archcalc.text.units import shape
from bench.memory_models import MODELS

KNOWN, TIMM, TRANSFORMERS, USERS, OPERATORS = "known", "timm", "transformers", "users", "operators"
SOURCES = {
    KNOWN: "archcalc's own networks and modules of torch.nn",
    TIMM: "architectures of timm",
    TRANSFORMERS: "small configurations of transformers",
    USERS: "modules as users write them",
    OPERATORS: "operators of torch's database",
}
"""Where cases come from, each in words."""


@dataclass(frozen=True)
class Case:
    """A model by the name that its source has for it, and one step of it: a training step, or a forward pass.

    `batch` is the size of the batch, 0 for models of bench.memory_models, which have one shape. Without `training`
    the model runs forward in eval mode, without gradients. `freezes` freezes the first half of its parts.
    """

    name: str
    batch: int = 1
    training: Training | None = Training("adam")  # noqa: RUF009, frozen
    knobs: tuple[tuple[str, Any], ...] = ()
    attention: str = "auto"
    amp: str = ""
    source: str = KNOWN
    dtype: str = "float32"
    channels_last: bool = False
    freezes: bool = False

    @property
    def words(self) -> str:
        """How it is run, in words."""
        settings = [f"{knob}={value}" for knob, value in self.knobs]
        options = [f"attention {self.attention}"] if self.attention != "auto" else []
        options += [f"autocast {self.amp}"] if self.amp else []
        options += [self.dtype] if self.dtype != "float32" else []
        options += ["channels last"] if self.channels_last else []
        return ", ".join([*self._step(), *options, *settings])

    def _step(self) -> list[str]:
        training = self.training
        if training is None:
            return ["forward"]
        loss = [] if training.loss == "sum" else [f"loss {training.loss}"]
        frozen = [f"frozen {pattern}" for pattern in training.frozen] + (["half of it frozen"] if self.freezes else [])
        recomputed = [f"checkpoint {pattern}" for pattern in training.checkpoint]
        batches = [f"{training.accumulation} batches"] if training.accumulation > 1 else []
        return [training.optimizer, *loss, *frozen, *recomputed, *batches]

    @property
    def input(self) -> str:
        """The batch of a network, or the shapes that a model of bench.memory_models takes."""
        if self.source == KNOWN and self.name in MODELS:
            return ", ".join(shape(one) for one in MODELS[self.name][1])
        return f"batch {self.batch}"

    @property
    def key(self) -> str:
        """The text that names this case alone."""
        return f"{self.source}:{self.name} ({self.input}, {self.words})"

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that it is counted under: what runs, in which precision, and what else is special."""
        precision = f"autocast {self.amp}" if self.amp else self.dtype
        special = ["channels last"] if self.channels_last else []
        if self.training is not None:
            special += ["frozen parts"] if self.freezes or self.training.frozen else []
            special += ["accumulation"] if self.training.accumulation > 1 else []
            special += ["checkpoint"] if self.training.checkpoint else []
        special += ["batch 1"] if self.batch == 1 and self.source != OPERATORS else []
        return ("forward" if self.training is None else "training", precision, *special)

    def described(self) -> dict[str, Any]:
        """The case as plain data, as its row begins."""
        return {
            "key": self.key,
            "source": self.source,
            "name": self.name,
            "input": self.input,
            "words": self.words,
            "modes": list(self.modes),
        }
