"""The cells of recurrent nets, one step each, every gate in sight: Elman's, GRU, LSTM."""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What a cell hands to the next step: h, and the cell state of an LSTM."""
RNN_DRAWING = """
      o1        o2        o3        o = V h, where outputs are asked for
      |V        |V        |V
h0 -> h1 -----> h2 -----> h3        h' = tanh(U x + W h + b)
   W  |U     W  |U     W  |U
      x1        x2        x3        the same U, W, V at every step
"""
GRU_DRAWING = """
r = sigmoid(U_r x + W_r h)          reset gate
z = sigmoid(U_z x + W_z h)          update gate
n = tanh(U_n x + r * (W_n h))       new state
h' = (1 - z) * n + z * h
"""
LSTM_DRAWING = """
c ---- x f ------ + ---------> c'    f: forget gate  sigmoid(U_f x + W_f h)
                  |      |           i: input gate   sigmoid(U_i x + W_i h)
                i x g   tanh         g: candidate    tanh(U_g x + W_g h)
                         |           o: output gate  sigmoid(U_o x + W_o h)
h, x -> [i f g o] ---- o x --> h'
"""


class RNNCell(nn.Module):
    """Elman's cell: h = tanh(U x + W h + b). N, I and N, H -> N, H."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        self.U = nn.Linear(input_size, hidden_size, bias)
        self.W = nn.Linear(hidden_size, hidden_size, bias)

    def forward(self, x: Tensor, state: State) -> State:
        (h,) = state
        return (torch.tanh(self.U(x) + self.W(h)),)  # N, H


class GRUCell(nn.Module):
    """Reset and update gates (Cho et al. 2014), the reset gate applied after the product. N, I and N, H -> N, H."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        self.U = nn.Linear(input_size, 3 * hidden_size, bias)
        self.W = nn.Linear(hidden_size, 3 * hidden_size, bias)

    def forward(self, x: Tensor, state: State) -> State:
        (h,) = state
        x_r, x_z, x_n = self.U(x).chunk(3, 1)  # N, H each
        h_r, h_z, h_n = self.W(h).chunk(3, 1)  # N, H each
        r = torch.sigmoid(x_r + h_r)  # reset
        z = torch.sigmoid(x_z + h_z)  # update
        n = torch.tanh(x_n + r * h_n)  # new
        return ((1 - z) * n + z * h,)  # N, H


class LSTMCell(nn.Module):
    """Input, forget, cell and output gates (Hochreiter and Schmidhuber 1997). N, I and N, H -> N, H and the cell N, H.

    With `proj_size` the hidden state is projected to that many features (Sak et al. 2014).
    """

    def __init__(self, input_size: int, hidden_size: int, proj_size: int = 0, bias: bool = True) -> None:
        super().__init__()
        self.U = nn.Linear(input_size, 4 * hidden_size, bias)
        self.W = nn.Linear(proj_size or hidden_size, 4 * hidden_size, bias)
        self.P = nn.Linear(hidden_size, proj_size, bias=False) if proj_size else None

    def forward(self, x: Tensor, state: State) -> State:
        h, c = state
        i, f, g, o = (self.U(x) + self.W(h)).chunk(4, 1)  # N, H each
        i, f, o = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)
        c = f * c + i * torch.tanh(g)  # N, H
        h = o * torch.tanh(c)  # N, H
        return (h if self.P is None else self.P(h)), c
