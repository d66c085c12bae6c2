"""The unrolled cells and the Transformer are torch's own nets with the wiring in sight: equal counts, equal results."""

import pytest
import torch
from torch import nn

from archcalc.networks.sequence.recurrent import gru, lstm, rnn
from archcalc.networks.sequence.transformer import (
    DecoderLayer,
    EncoderLayer,
    MultiHeadAttention,
    ScaledDotProductAttention,
    sinusoids,
    transformer,
)
from tests.helpers import report

KINDS = {"rnn": (rnn, nn.RNN), "gru": (gru, nn.GRU), "lstm": (lstm, nn.LSTM)}


def copy_recurrent(ours: nn.Module, theirs: nn.RNNBase) -> None:
    """Torch's weights into our cells."""
    with torch.no_grad():
        for number in range(theirs.num_layers):
            for direction, suffix in (("forward", ""), ("backward", "_reverse"))[: 1 + theirs.bidirectional]:
                cell = ours.get_submodule(f"layer{number}_{direction}.cell")
                for linear, name in ((cell.U, "ih"), (cell.W, "hh")):
                    linear.weight.copy_(getattr(theirs, f"weight_{name}_l{number}{suffix}"))
                    linear.bias.copy_(getattr(theirs, f"bias_{name}_l{number}{suffix}"))
                if theirs.proj_size:
                    cell.P.weight.copy_(getattr(theirs, f"weight_hr_l{number}{suffix}"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "knobs", [{}, {"num_layers": 2}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}]
)
def test_cells_compute_what_torch_computes(kind: str, knobs: dict[str, int]) -> None:
    build, reference = KINDS[kind]
    ours, theirs = build(input_size=3, hidden_size=4, **knobs), reference(3, 4, batch_first=True, **knobs)
    copy_recurrent(ours, theirs)
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(ours(x), theirs(x)[0])


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_the_projected_lstm_computes_what_torch_computes() -> None:
    ours, theirs = lstm(input_size=3, hidden_size=4, proj_size=2), nn.LSTM(3, 4, batch_first=True, proj_size=2)
    copy_recurrent(ours, theirs)
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(ours(x), theirs(x)[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("knobs", [{}, {"num_layers": 2, "bidirectional": True}])
def test_cells_cost_what_torch_costs(kind: str, knobs: dict[str, int]) -> None:
    _, reference = KINDS[kind]
    ours = report(kind, knobs={"input_size": 6, "hidden_size": 8, "seq_len": 7, **knobs})
    theirs = report(reference(6, 8, batch_first=True, **knobs), (1, 7, 6))
    assert (ours.params, ours.macs) == (theirs.params, theirs.macs)


def test_length_changes_the_cost_and_not_the_parameters() -> None:
    short, long = report("lstm", knobs={"seq_len": 5}), report("lstm", knobs={"seq_len": 50})
    assert short.params == long.params == 4 * 128 * (64 + 128 + 2)
    assert long.macs == 10 * short.macs
    assert report("lstm", seq_len=50).macs == long.macs


def test_two_thousand_steps_are_one_cell() -> None:
    made = report("rnn", knobs={"seq_len": 2000})
    assert made.layers["layer0_forward.cell"].calls == 2000
    assert made.macs == 2000 * 128 * (64 + 128)


def test_the_same_three_matrices_at_every_step() -> None:
    """U of 3 x 4, W of 4 x 4 and V of 4 x 2."""
    made = report("rnn", knobs={"input_size": 3, "hidden_size": 4, "output_size": 2, "seq_len": 6})
    shapes = {
        p.names[0].split(".")[-2]: made.trace.shape(p.tensor)
        for p in made.trace.parameters
        if p.names[0].endswith("weight")
    }
    assert shapes == {"U": (4, 3), "W": (4, 4), "V": (2, 4)}
    assert made.macs == 6 * (3 * 4 + 4 * 4 + 4 * 2)


# ---- transformer ---------------------------------------------------------------------------------


def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    """Torch's packed projections into our three."""
    with torch.no_grad():
        for linear, weight in zip((ours.W_Q, ours.W_K, ours.W_V), theirs.in_proj_weight.chunk(3), strict=True):
            linear.weight.copy_(weight)
        ours.W_O.weight.copy_(theirs.out_proj.weight)
        if theirs.in_proj_bias is not None:
            for linear, bias in zip((ours.W_Q, ours.W_K, ours.W_V), theirs.in_proj_bias.chunk(3), strict=True):
                linear.bias.copy_(bias)
            ours.W_O.bias.copy_(theirs.out_proj.bias)


def copy_rest(ours: nn.Module, theirs: nn.Module, norms: int) -> None:
    """Feed-forward and norms."""
    ours.feed_forward.linear1.load_state_dict(theirs.linear1.state_dict())
    ours.feed_forward.linear2.load_state_dict(theirs.linear2.state_dict())
    for number in range(1, norms + 1):
        ours.get_submodule(f"norm{number}").load_state_dict(theirs.get_submodule(f"norm{number}").state_dict())


def test_attention_is_torchs() -> None:
    q, k, v = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 7, 8), torch.randn(2, 4, 7, 6)
    mask = torch.rand(2, 1, 5, 7) > 0.3
    ours = ScaledDotProductAttention(0.0)(q, k, v, mask)
    torch.testing.assert_close(ours, nn.functional.scaled_dot_product_attention(q, k, v, mask))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU()])
def test_the_encoder_layer_is_torchs(activation: nn.Module) -> None:
    function = nn.functional.relu if isinstance(activation, nn.ReLU) else nn.functional.gelu
    theirs = nn.TransformerEncoderLayer(16, 4, 32, 0.0, function, batch_first=True).train()
    ours = EncoderLayer(16, 4, 4, 32, True, activation, 0.0)
    copy_attention(ours.self_attention, theirs.self_attn)
    copy_rest(ours, theirs, 2)
    x, padding = torch.randn(2, 5, 16), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    expected = theirs(x, src_key_padding_mask=padding)
    torch.testing.assert_close(ours(x, ~padding[:, None, None, :]), expected)


def test_the_decoder_layer_is_torchs() -> None:
    """Without attention bias, as in the paper: torch's biases are set to zero."""
    theirs = nn.TransformerDecoderLayer(16, 4, 32, 0.0, batch_first=True).train()
    ours = DecoderLayer(16, 4, 4, 32, 0.0)
    for mine, other in ((ours.self_attention, theirs.self_attn), (ours.cross_attention, theirs.multihead_attn)):
        nn.init.zeros_(other.in_proj_bias)
        nn.init.zeros_(other.out_proj.bias)
        with torch.no_grad():
            for linear, weight in zip((mine.W_Q, mine.W_K, mine.W_V), other.in_proj_weight.chunk(3), strict=True):
                linear.weight.copy_(weight)
            mine.W_O.weight.copy_(other.out_proj.weight)
    copy_rest(ours, theirs, 3)
    x, memory = torch.randn(2, 4, 16), torch.randn(2, 6, 16)
    causal = torch.ones(4, 4, dtype=torch.bool).tril()
    expected = theirs(x, memory, tgt_mask=~causal)
    everything = torch.ones(1, 1, 1, 6, dtype=torch.bool)
    torch.testing.assert_close(ours(x, memory, causal[None, None], everything), expected)


def test_positions_are_sines_and_cosines() -> None:
    """PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos."""
    table = sinusoids(10, 8)
    assert table.shape == (10, 8)
    torch.testing.assert_close(table[3, 4], torch.sin(torch.tensor(3 / 10_000 ** (4 / 8))))
    torch.testing.assert_close(table[3, 5], torch.cos(torch.tensor(3 / 10_000 ** (4 / 8))))


def test_a_word_does_not_see_the_future() -> None:
    net = transformer(layers=1, d_model=8, heads=2, d_ff=16, vocab_size=11, dropout=0.0)
    source, padding = torch.arange(5)[None], torch.ones(1, 1, 1, 5, dtype=torch.bool)
    causal = torch.ones(1, 1, 4, 4, dtype=torch.bool).tril()
    a, b = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 2, 3, 9]])
    first, second = net(source, a, padding, causal), net(source, b, padding, causal)
    torch.testing.assert_close(first[:, :3], second[:, :3])
    assert not torch.allclose(first[:, 3], second[:, 3])


def test_the_cost_of_attention_by_hand() -> None:
    """Encoder layer: n(4d² + 2d·d_ff) + 2n²d; decoder: twice the attention; output: n·d·V."""
    n, m, d, d_ff, V = 7, 5, 512, 2048, 37_000
    made = report("transformer-base", knobs={"src_len": n, "tgt_len": m})
    encoder = 6 * (n * (4 * d * d + 2 * d * d_ff) + 2 * n * n * d)
    own = m * (4 * d * d + 2 * d * d_ff) + 2 * m * m * d
    cross = 2 * m * d * d + 2 * n * d * d + 2 * m * n * d
    assert made.macs == encoder + 6 * (own + cross) + m * d * V
    assert made.output_shape == (1, m, V)


def test_masks_are_inputs() -> None:
    made = report("transformer-base", knobs={"src_len": 7, "tgt_len": 5}, batch=3)
    shapes = {one.name: (one.dtype, one.shape) for one in made.trace.inputs}
    assert shapes["padding_mask"] == ("bool", (3, 1, 1, 7))
    assert shapes["sequence_mask"] == ("bool", (1, 1, 5, 5))
