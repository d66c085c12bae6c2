"""Stages of recurrent layers: whole layers, cells in a loop, packed sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from tests.random_programs.stage import SEQUENCE, VECTOR, Apply, Draw, parameter, stage


def _layer(draw: Draw, make: type[nn.RNNBase], c: int, hidden: int, **more: object) -> nn.RNNBase:
    depth = draw.pick(1, 1, 2)
    return make(
        c, hidden, depth, bias=draw.flag(), bidirectional=draw.flag(), dropout=0.2 if depth > 1 else 0.0, **more
    )


def _batch_first(layer: nn.RNNBase) -> Apply:
    return Apply(lambda m, x: m.layer(x)[0], layer=layer)


@stage(SEQUENCE)
def lstm(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Layers, directions, biases; batch first."""
    return _batch_first(_layer(draw, nn.LSTM, c, draw.even(2, 6), batch_first=True))


@stage(SEQUENCE)
def lstm_projected(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """The state is projected to fewer features."""
    return _batch_first(_layer(draw, nn.LSTM, c, draw.even(4, 6), batch_first=True, proj_size=2))


@stage(SEQUENCE)
def gru(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Batch first, where torch transposes in place."""
    return _batch_first(_layer(draw, nn.GRU, c, draw.even(2, 6), batch_first=True))


@stage(SEQUENCE)
def rnn(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Steps first, either nonlinearity, with an initial state."""
    layer = _layer(draw, nn.RNN, c, 4, nonlinearity=draw.pick("tanh", "relu"))

    def forward(m: Apply, x: Tensor) -> Tensor:
        state = x.new_zeros(layer.num_layers * (1 + layer.bidirectional), n, 4)
        out, _ = m.layer(x.transpose(0, 1), state)
        return out.transpose(0, 1)

    return Apply(forward, layer=layer)


@stage(SEQUENCE, VECTOR)
def last_state(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """The last state of all layers and directions, side by side."""
    layer = nn.GRU(c, 2, draw.pick(1, 2), batch_first=True, bidirectional=draw.flag())
    return Apply(lambda m, x: m.layer(x)[1].transpose(0, 1).flatten(1), layer=layer)


@stage(SEQUENCE)
def one_sequence_without_batch(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Recurrent layers take a sequence without a batch: each sample alone."""
    layer = draw.pick(nn.LSTM, nn.GRU, nn.RNN)(c, 4)
    return Apply(lambda m, x: torch.stack([m.layer(sample)[0] for sample in x]), layer=layer)


@stage(SEQUENCE)
def lstm_cell(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """A loop over the steps, with the state that the cell begins with or one that is trained."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        state = (m.start.expand(n, -1), m.start.expand(n, -1)) if m.given else None
        outputs = []
        for step in x.unbind(1):
            state = m.cell(step, state)
            outputs.append(state[0])
        return torch.stack(outputs, 1)

    return Apply(forward, cell=nn.LSTMCell(c, 4, draw.flag()), start=parameter(1, 4), given=draw.flag())


@stage(SEQUENCE)
def gru_cell(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """A loop over the steps that writes each state into its place."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        state = x.new_zeros(n, 6)
        out = x.new_empty(n, t, 6)
        for i in range(t):
            state = m.cell(x[:, i], state)
            out[:, i] = state
        return out

    return Apply(forward, cell=draw.pick(nn.GRUCell, nn.RNNCell)(c, 6, draw.flag()))


@stage(SEQUENCE)
def packed(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """A packed sequence whose lengths are constants; unsorted at times, padded to the whole length again."""
    lengths = [t, *(draw.size(1, t) for _ in range(n - 1))]
    draw.random.shuffle(lengths)
    layer = draw.pick(nn.LSTM, nn.GRU, nn.RNN)(c, 4, bidirectional=draw.flag(), batch_first=True)
    total = draw.pick(None, t)
    as_tensor = draw.flag()

    def forward(m: Apply, x: Tensor) -> Tensor:
        given = torch.tensor(lengths) if as_tensor else lengths
        rows = pack_padded_sequence(x, given, batch_first=True, enforce_sorted=False)
        out, _ = m.layer(rows)
        return pad_packed_sequence(out, batch_first=True, total_length=total)[0]

    return Apply(forward, layer=layer)


@stage(SEQUENCE)
def packed_pieces(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Pieces of constant lengths, packed, and a linear layer of the packed rows."""
    lengths = sorted((draw.size(1, t) for _ in range(n)), reverse=True)

    def forward(m: Apply, x: Tensor) -> Tensor:
        rows = pack_sequence([sample[:length] for sample, length in zip(x, lengths, strict=True)])
        rows = rows._replace(data=m.layer(rows.data))
        return pad_packed_sequence(rows, batch_first=True, total_length=t)[0]

    return Apply(forward, layer=nn.Linear(c, c))
