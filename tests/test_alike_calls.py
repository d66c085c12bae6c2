"""Layers of a list that are alike run once for arguments of the same shapes, where that is known to be right."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archcalc.engine.meta.known_values import KnownValues, keep
from archcalc.engine.record.alike_calls import alike_calls

LAYERS, ROWS, WIDTH = 5, 64, 8


class Ran:
    """How often layers ran."""

    times = 0


class Layer(nn.Module):
    """A layer that notes that it runs, and returns what a function makes of its input."""

    def __init__(self, ran: Ran, make: Callable[..., Any] = lambda layer, x: x) -> None:
        super().__init__()
        self.linear, self.ran, self.make = nn.Linear(WIDTH, WIDTH), ran, make

    def forward(self, x: Tensor, *more: Any) -> Any:
        self.ran.times += 1
        return self.make(self, self.linear(x), *more)


class Tower(nn.Module):
    """Layers one after another."""

    def __init__(self, make: Callable[..., Any] = lambda layer, x: x, layers: int = LAYERS) -> None:
        super().__init__()
        self.ran = Ran()
        self.layers = nn.ModuleList(Layer(self.ran, make) for _ in range(layers))

    def forward(self, x: Tensor, more: Callable[[int], tuple[Any, ...]] = lambda number: ()) -> Any:
        for number, layer in enumerate(self.layers):
            x = layer(x, *more(number))
        return x


def made(tower: nn.Module, *more: Any, known: KnownValues | None = None) -> Any:
    """What a tower makes of a map without data, in eval mode."""
    x = torch.empty(ROWS, WIDTH, device="meta")
    with torch.no_grad(), alike_calls(tower, known or KnownValues()):
        return tower(x, *more)


def tower_of(make: Callable[..., Any] = lambda layer, x: x, layers: int = LAYERS) -> Any:
    """A tower without data in eval mode."""
    return Tower(make, layers).to("meta").eval()


def test_alike_layers_run_once() -> None:
    tower = tower_of()
    out = made(tower)
    assert (out.shape, tower.ran.times) == ((ROWS, WIDTH), 1)
    assert all("forward" not in vars(layer) for layer in tower.layers)  # and are as before
    made(tower)
    assert tower.ran.times == 2


def test_what_a_layer_returns_is_a_tensor_of_its_own() -> None:
    seen: list[Tensor] = []
    tower = tower_of()
    for layer in tower.layers:
        layer.register_forward_hook(lambda module, args, out: seen.append(out))
    made(tower)
    assert len({id(out) for out in seen}) == LAYERS


def test_layers_that_shorten_their_input_all_run() -> None:
    """Five layers that drop every other row leave 64 / 2^5 = 2 of them."""
    tower = tower_of(lambda layer, x: x[::2])
    assert (made(tower).shape, tower.ran.times) == ((2, WIDTH), LAYERS)


def test_a_layer_whose_own_number_decides_runs() -> None:
    """One row fewer in each layer by its number: 64 - (0 + 1 + 2 + 3 + 4) = 54."""
    tower = tower_of(lambda layer, x: x[layer.number :])
    for number, layer in enumerate(tower.layers):
        layer.number = number
    assert (made(tower).shape, tower.ran.times) == ((54, WIDTH), LAYERS)


@pytest.mark.parametrize("differ", ["functions", "buffers", "large buffers", "classes", "widths"])
def test_layers_that_differ_run(differ: str) -> None:
    tower = tower_of()
    for number, layer in enumerate(tower.layers):
        if differ == "functions":
            layer.act = partial(nn.functional.leaky_relu, negative_slope=number / 10)
        elif differ == "classes":
            layer.act = (nn.ReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Tanh)[number]()
        elif differ == "widths":
            layer.act = nn.Linear(1, number + 1, device="meta")
        else:
            count = 70_000 if differ == "large buffers" else 2
            layer.register_buffer("places", torch.empty(count, device="meta"))
            keep(layer.places, torch.full((count,), float(number)))
    made(tower)
    assert tower.ran.times == LAYERS


def test_equal_functions_and_buffers_are_alike() -> None:
    tower = tower_of()
    for layer in tower.layers:
        layer.act, layer.slopes = partial(nn.functional.gelu, approximate="tanh"), {"slopes": [0.1, 0.2]}
        layer.register_buffer("places", torch.empty(2, device="meta"))
        keep(layer.places, torch.ones(2))
    made(tower)
    assert tower.ran.times == 1


def test_a_layer_that_changes_itself_runs() -> None:
    """One layer that is called five times, and drops one row more each time: 64 - (1 + 2 + 3 + 4 + 5) = 49."""

    def shorter(layer: Any, x: Tensor) -> Tensor:
        layer.calls = getattr(layer, "calls", 0) + 1
        return x[layer.calls :]

    tower = tower_of(shorter)
    tower.layers = nn.ModuleList([tower.layers[0]] * LAYERS)
    assert made(tower).shape == (49, WIDTH)


def test_hooks_on_parts_of_a_layer_are_called() -> None:
    """Libraries collect hidden states by hooks: parts with a hook run in each layer."""
    tower = tower_of()
    heard: list[Tensor] = []
    for layer in tower.layers:
        layer.linear.register_forward_hook(lambda module, args, out: heard.append(out))
    made(tower)
    assert (len(heard), tower.ran.times) == (LAYERS, LAYERS)


def test_other_known_values_make_another_call() -> None:
    """A mask is compared by its values where they are known: two masks, two runs."""
    known = KnownValues()
    masks = [torch.empty(ROWS, dtype=torch.bool, device="meta") for _ in range(2)]
    for number, mask in enumerate(masks):
        known.note(mask, torch.arange(ROWS) % 2 == number)
    tower = tower_of(lambda layer, x, mask: x)
    made(tower, lambda number: (masks[number % 2],), known=known)
    assert tower.ran.times == 2


def test_values_that_change_in_place_make_another_call() -> None:
    known, mask = KnownValues(), torch.empty(ROWS, dtype=torch.bool, device="meta")
    known.note(mask, torch.ones(ROWS, dtype=torch.bool))
    tower = tower_of(lambda layer, x, mask: x)
    made(tower, lambda number: (mask.logical_not_(),), known=known)
    assert tower.ran.times == LAYERS


def test_arguments_of_unknown_kinds_are_not_compared() -> None:
    tower = tower_of(lambda layer, x, cache: x)
    made(tower, lambda number: (object(),))
    assert tower.ran.times == LAYERS


@pytest.mark.parametrize(("settings", "training"), [({"data": True}, False), ({}, True)])
def test_with_data_and_in_training_all_layers_run(settings: dict[str, Any], training: bool) -> None:
    tower = tower_of().train(training)
    made(tower, known=KnownValues(**settings))
    assert tower.ran.times == LAYERS


def test_results_in_containers() -> None:
    """Tuples and dicts of tensors come back as such."""
    pairs = tower_of(lambda layer, x: (x, {"weights": x[:1]}), layers=3)
    with torch.no_grad(), alike_calls(pairs, KnownValues()):
        outs = [layer(torch.empty(ROWS, WIDTH, device="meta")) for layer in pairs.layers]
    assert pairs.ran.times == 1
    assert [(out[0].shape, out[1]["weights"].shape) for out in outs] == [((ROWS, WIDTH), (1, WIDTH))] * 3
