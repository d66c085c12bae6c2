"""The engine: a run on tensors without data is recorded whole, and nothing of the user's changes."""

import gc
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import archcalc
from archcalc.engine.meta import argument_checks as refusals
from archcalc.engine.meta import shape_rules as kernels
from archcalc.engine.meta import training_rules  # noqa: F401, enters its rules
from archcalc.errors import ForwardFailed, NeedsData, NeedsInput
from archcalc.tracing import Trace
from tests.helpers import report


class Shared(nn.Module):
    """One module under two names, called through both."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = self.first

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class Tied(nn.Module):
    """An embedding whose table is the output matrix too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.out = nn.Linear(16, 100, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.embedding(tokens))


class Raises(nn.Module):
    """Fails on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Linear(4, 4)
        self.bad = nn.Sequential(nn.Linear(5, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.bad(self.fine(x))


class AsksForValues(nn.Module):
    """Branches on data."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class TwoTower(nn.Module):
    """Needs two inputs of different kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Conv2d(3, 4, 3)
        self.text = nn.Embedding(10, 4)

    def forward(self, image: Tensor, tokens: Tensor, mask: Tensor | None = None) -> dict[str, Any]:
        return {"image": self.image(image), "text": (self.text(tokens),)}


@pytest.mark.parametrize("name", ["resnet-20", "densenet-bc-cifar", "shufflenet-v2-0.5x"])
def test_a_trace_survives_json(name: str) -> None:
    trace = archcalc.trace(name)
    assert Trace.from_json(trace.to_json()) == trace


def test_a_trace_is_the_same_in_every_run() -> None:
    assert archcalc.trace("resnet-20") == archcalc.trace("resnet-20")


def test_births_and_deaths_follow_the_code() -> None:
    """Linear -> ReLU -> Linear: each activation lives from its op to the end of the next one that needs it."""
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    trace = archcalc.trace(net, (3, 4))
    ops = [call.op for call in trace.calls]
    assert ops == ["aten.t", "aten.addmm", "aten.relu", "aten.t", "aten.addmm"]
    made = [(s.bytes, s.birth, s.death) for s in trace.storages if s.role == "activation"]
    assert made == [(3 * 8 * 4, 1, 3), (3 * 8 * 4, 2, 5), (3 * 2 * 4, 4, None)]


def test_views_and_in_place_results_share_their_storage() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Flatten())
    trace = archcalc.trace(net, (1, 3, 2, 2))
    assert sum(s.role == "activation" for s in trace.storages) == 1
    assert trace.shape(trace.output_tensors[0]) == (1, 16)


def test_module_paths_and_parents() -> None:
    trace = archcalc.trace("resnet-20")
    paths = [trace.modules[call.module].path for call in trace.module_calls]
    assert paths[0] == ""
    assert paths.count("layer1.0.relu") == 2
    for call in trace.module_calls[1:]:
        parent = trace.module_calls[call.parent or 0]
        assert parent.first <= call.first <= call.last <= parent.last


def test_a_shared_module_counts_once_and_runs_under_both_names() -> None:
    made = report(Shared(), (2, 8))
    assert made.params == 8 * 8 + 8
    assert made.layers["first"].macs == made.layers["second"].macs == 2 * 8 * 8


def test_tied_parameters_count_once_and_say_so() -> None:
    made = report(Tied(), "int64:2x5")
    assert made.params == 100 * 16
    assert made.macs == 2 * 5 * 16 * 100
    assert made.notes == ("embedding.weight = out.weight is one tensor and counted once",)


def test_several_inputs_and_nested_outputs() -> None:
    made = report(TwoTower(), {"image": (2, 3, 8, 8), "tokens": "int64:2x7"})
    assert made.output_shape == ((2, 4, 6, 6), (2, 7, 4))
    assert [one.name for one in made.trace.inputs] == ["image", "tokens"]


def test_the_users_module_and_process_stay_as_they_were() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = {name: (id(p), p.clone()) for name, p in net.state_dict(keep_vars=True).items()}
    random.seed(3)
    torch.manual_seed(3)
    states = random.getstate(), torch.get_rng_state()
    hooks = len(net[0]._forward_hooks) + len(nn.modules.module._global_parameter_registration_hooks)
    report(net, (2, 3, 8, 8))
    after = net.state_dict(keep_vars=True)
    assert all(id(after[name]) == key and torch.equal(after[name], value) for name, (key, value) in before.items())
    assert net.training
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert len(net[0]._forward_hooks) + len(nn.modules.module._global_parameter_registration_hooks) == hooks
    assert gc.isenabled()


def test_the_users_module_stays_as_it_was_when_forward_raises() -> None:
    net = Raises()
    with pytest.raises(ForwardFailed) as caught:
        archcalc.trace(net, (2, 4))
    assert "RuntimeError" in caught.value.message
    assert "in layer bad.0" in caught.value.hint
    assert "test_engine.py" in caught.value.hint
    assert not net.fine._forward_hooks
    assert net.fine.weight.device.type == "cpu"
    assert gc.isenabled()


def test_no_weights_are_allocated() -> None:
    """A layer of 4 TiB, which no machine of ours holds."""

    class Huge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with torch.device("meta"):
                self.linear = nn.Linear(2**20, 2**20, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x)

    assert report(Huge(), (1, 2**20)).params == 2**40


def test_a_question_about_values_is_refused_with_its_line() -> None:
    with pytest.raises(NeedsData) as caught:
        archcalc.trace(AsksForValues(), (2, 2))
    assert "test_engine.py" in caught.value.hint


def test_a_module_without_inputs_names_the_arguments_of_forward() -> None:
    with pytest.raises(NeedsInput) as caught:
        archcalc.trace(TwoTower())
    assert "forward(image, tokens, mask=None)" in caught.value.message
    assert "inputs={'image': '1x3x224x224', 'tokens': 'int64:1x128'}" in caught.value.hint


def test_empty_inputs_are_legal_where_torch_takes_them() -> None:
    """A batch of 0 costs nothing; a map of 0 pixels is refused by torch's own words."""
    assert (report("resnet-20", (0, 3, 32, 32)).macs, report("resnet-20", (0, 3, 32, 32)).output_shape) == (0, (0, 10))
    with pytest.raises(ForwardFailed):
        archcalc.trace("resnet-20", (1, 3, 0, 32))


def test_a_model_without_parameters_or_ops_is_all_zero() -> None:
    made = report(nn.Identity(), (2, 2))
    assert (made.params, made.macs, made.peak_bytes) == (0, 0, 16)


def test_other_floating_types() -> None:
    """bfloat16: half the bytes, the same counts."""
    single, half = report("resnet-20"), report("resnet-20", dtype="bfloat16")
    assert half.totals["params_bytes"] * 2 == single.totals["params_bytes"]
    assert half.macs == single.macs


def test_gaps_of_tensors_that_meet_tensors_without_data() -> None:
    """A tensor made inside forward on CPU joins the run."""

    class Positions(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.arange(x.shape[1]).float() * torch.ones(x.shape[1])

    assert report(Positions(), (2, 7)).output_shape == (2, 7)


# ---- the shape rules against torch's own ---------------------------------------------------------


def calls_of(*names: str) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """Every op call of some networks that a shape rule answers, with tensors as torch's meta kernels would get them."""
    from torch.utils._python_dispatch import TorchDispatchMode

    from tests.test_counters import NETWORKS, on_meta

    found = []

    class Collect(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in kernels.RULES:
                found.append((func, args, kwargs or {}))
            return func(*args, **(kwargs or {}))

    for name in names:
        module, inputs = on_meta(NETWORKS[name])
        with torch.no_grad(), Collect():
            module(*inputs)
    return found


def described(value: Any) -> Any:
    """What a shape rule has to get right."""
    if isinstance(value, Tensor):
        strides = [stride for stride, size in zip(value.stride(), value.shape, strict=True) if size > 1]
        return tuple(value.shape), strides, value.dtype, value.device
    if isinstance(value, tuple | list):
        return [described(item) for item in value]
    return value


def alike(func: Any, ours: Any, theirs: Any) -> bool:
    """The same description. What batch norm saves in evaluation depends on the device, so its first result alone."""
    if func is torch.ops.aten.native_batch_norm.default and isinstance(ours, tuple) and isinstance(theirs, tuple):
        return bool(described(ours[0]) == described(theirs[0]))
    return bool(described(ours) == described(theirs))


def test_what_batch_norm_saves_is_what_the_cpu_saves() -> None:
    for training in (True, False):
        x, c = torch.zeros(2, 3, 4, 4), [torch.ones(3) for _ in range(4)]
        real = torch.ops.aten.native_batch_norm.default(x, *c, training, 0.1, 1e-5)
        ours = kernels.native_batch_norm(x.to("meta"), *(t.to("meta") for t in c), training, 0.1, 1e-5)
        assert [t.shape for t in ours] == [t.shape for t in real]


def test_shape_rules_equal_torch_on_the_networks() -> None:
    compared = 0
    for func, args, kwargs in calls_of("resnet-20", "densenet-bc-cifar", "shufflenet-v2-1.0x", "resnet-50"):
        ours = kernels.RULES[func](*args, **kwargs)
        if ours is not NotImplemented:
            assert alike(func, ours, func(*args, **kwargs)), func
            compared += 1
    assert compared > 700


SIZES = st.integers(min_value=1, max_value=6)
OF_DEVICES = (
    "_grouped_mm",  # torch's own takes bfloat16 alone
    "mkldnn_rnn_layer", "mkldnn_rnn_layer_backward",  # torch's own has no workspace; ours is held against the kernel
    "_thnn_fused_gru_cell", "_thnn_fused_gru_cell_backward",  # torch's own has no shapes
)  # fmt: skip
"""Ops that torch does not know without data as the device does."""


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_shape_rules_equal_torch_on_anything(data: st.DataObject) -> None:
    """A random call of a random rule: the rule declines, or it says what torch says, or both refuse."""
    rules = [func for func in kernels.RULES if func._opname not in OF_DEVICES]
    func = data.draw(st.sampled_from(sorted(rules, key=str)))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float16, torch.int64]))
    args = [_argument(data, argument, dtype) for argument in func._schema.arguments if not argument.kwarg_only]
    try:
        refusals.refuse(func, args, {})
    except (RuntimeError, IndexError):
        return  # tests/test_soundness.py: real kernels refuse it, whatever torch says without data
    try:
        ours = kernels.RULES[func](*args)
    except (RuntimeError, IndexError, ZeroDivisionError):
        ours = "refused"
    if ours is NotImplemented:
        return
    try:
        theirs = func(*args)
    except Exception:
        theirs = "refused"
    assert alike(func, ours, theirs), (func, described(args))


@pytest.mark.parametrize("of_parameters", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wanted", [[True] * 3, [True, False, True]])
def test_the_rules_of_normalisations_equal_torch_in_bfloat16(of_parameters: torch.dtype, wanted: list[bool]) -> None:
    """Statistics are float32, also beside parameters of two bytes; gradients of parameters have their dtype."""
    x = torch.empty(2, 5, 4, dtype=torch.bfloat16, device="meta")
    channels, features = (torch.empty(n, dtype=of_parameters, device="meta") for n in (5, 4))
    of_channels, of_rows = (torch.empty(s, device="meta") for s in ((5,), (2, 5, 1)))
    batch = (x, x, channels, channels, channels, of_channels, of_channels, True, 1e-5, wanted)
    for func, args in (
        (torch.ops.aten.native_batch_norm.default, (x, *[channels] * 4, True, 0.1, 1e-5)),
        (torch.ops.aten.native_batch_norm_backward.default, batch),
        (torch.ops.aten.native_layer_norm.default, (x, [4], features, features, 1e-5)),
        (torch.ops.aten.native_layer_norm_backward.default, (x, x, [4], of_rows, of_rows, features, features, wanted)),
    ):
        assert described(kernels.RULES[func](*args)) == described(func(*args))


def test_the_rule_of_sums_equals_torch_in_any_order() -> None:
    """The gradient of a bias is a sum over a transposed tensor."""
    x = torch.empty(6, 5, 4, device="meta").permute(2, 0, 1)
    rule = kernels.RULES[torch.ops.aten.sum.dim_IntList]
    for dims, keepdim in (([0, 1], False), ([0, 2], True), ([1, 2], True), ([0, 1, 2], False)):
        ours = rule(x, dims, keepdim)
        assert ours is not NotImplemented
        assert described(ours) == described(x.sum(dims, keepdim))


@pytest.mark.parametrize(
    ("a", "b", "experts"), [((16, 8), (4, 8, 24), 4), ((4, 16, 8), (8, 64), 4), ((4, 16, 8), (4, 8, 24), 0)]
)
def test_the_rule_of_experts_equals_the_real_kernel(a: tuple[int, ...], b: tuple[int, ...], experts: int) -> None:
    """On CPU in float32, which torch's kernel without data does not take."""
    offsets = torch.arange(1, experts + 1, dtype=torch.int32) * 16 // experts if experts == 4 and len(b) == 3 else None
    offsets = torch.arange(1, 5, dtype=torch.int32) * 16 if len(b) == 2 else offsets
    real = torch._grouped_mm(torch.zeros(a), torch.zeros(b), offs=offsets)
    hidden = None if offsets is None else offsets.to("meta")
    rule = kernels.RULES[torch.ops.aten._grouped_mm.default]
    ours = rule(torch.zeros(a, device="meta"), torch.zeros(b, device="meta"), hidden)
    assert tuple(ours.shape) == tuple(real.shape)


def _argument(data: st.DataObject, argument: Any, dtype: torch.dtype) -> Any:
    kind = str(argument.type)
    if argument.has_default_value() and data.draw(st.booleans()):
        return argument.default_value
    if "List[Tensor]" in kind:
        return [_tensor(data, dtype) for _ in range(data.draw(st.integers(1, 3)))]
    if "Tensor" in kind:
        return None if "Optional" in kind and data.draw(st.booleans()) else _tensor(data, dtype)
    if "List[" in kind:
        return data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    if "bool" in kind:
        return data.draw(st.booleans())
    if "str" in kind:
        return "none"
    if "float" in kind or "number" in kind:
        return data.draw(st.sampled_from([0.5, 1, 2]))
    return data.draw(st.integers(0, 3))


def _tensor(data: st.DataObject, dtype: torch.dtype) -> Tensor:
    shape = data.draw(st.lists(SIZES, min_size=0, max_size=4))
    tensor = torch.empty(shape, dtype=dtype, device="meta")
    return tensor.transpose(0, 1) if len(shape) > 1 and data.draw(st.booleans()) else tensor


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_the_convolution_rule_equals_torch_and_refuses_what_cpu_refuses(data: st.DataObject) -> None:
    """Random convolutions in 1, 2 and 3 dimensions, some with wrong groups, channels or bias."""
    dims = data.draw(st.integers(1, 3))
    groups, cin, cout = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    sizes = [data.draw(st.integers(3, 9)) for _ in range(dims)]
    kernel = [data.draw(st.integers(1, 3)) for _ in range(dims)]
    stride, dilation = ([data.draw(st.integers(1, 2)) for _ in range(dims)] for _ in range(2))
    padding = [data.draw(st.integers(0, 2)) for _ in range(dims)]
    x, weight = torch.zeros(2, cin, *sizes), torch.zeros(cout, data.draw(st.integers(1, 3)), *kernel)
    bias = data.draw(st.sampled_from([None, torch.zeros(cout), torch.zeros(cout + 1)]))
    rest = (stride, padding, dilation, False, [0] * dims, groups)
    try:
        real: Any = tuple(torch.ops.aten.convolution.default(x, weight, bias, *rest).shape)
    except RuntimeError:
        real = "refused"
    meta = [None if t is None else t.to("meta") for t in (x, weight, bias)]
    try:
        refusals.refuse(torch.ops.aten.convolution.default, [*meta, *rest], {})
        ours = kernels.RULES[torch.ops.aten.convolution.default](*meta, *rest)
        ours = "refused" if ours is NotImplemented else tuple(ours.shape)
    except RuntimeError:
        ours = "refused"
    assert ours == real


def test_torch_still_has_the_private_parts_we_lean_on() -> None:
    """Storage identity and weak references, and the switch that keeps torch._dynamo out."""
    import weakref

    from torch.utils._python_dispatch import TorchDispatchMode

    tensor = torch.empty(4, device="meta")
    storage = weakref.ref(tensor.untyped_storage())
    assert storage() is not None, "the storage object lives as long as its tensor"
    assert tensor.untyped_storage()._cdata == tensor.view(2, 2).untyped_storage()._cdata
    del tensor
    assert storage() is None, "and dies with it"
    assert hasattr(TorchDispatchMode, "_should_skip_dynamo")
