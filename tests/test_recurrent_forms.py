"""Recurrent nets in their forms: what each costs in closed form, and that it computes what torch computes."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from archcalc.networks.sequence.recurrent import gru, lstm, rnn
from tests.helpers import report, run
from tests.test_recurrent_and_transformer import copy_recurrent

LENGTHS = (5, 3, 2)
KINDS = {"rnn": (rnn, nn.RNN), "gru": (gru, nn.GRU), "lstm": (lstm, nn.LSTM)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("knobs", [{}, {"num_layers": 2, "bidirectional": True}])
def test_a_packed_batch_computes_what_torch_computes(kind: str, knobs: dict[str, Any]) -> None:
    build, reference = KINDS[kind]
    theirs = reference(3, 4, batch_first=True, **knobs)
    x = torch.randn(3, 5, 3)
    packed, state = theirs(pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True))
    h_n = state[0] if kind == "lstm" else state
    every, last = (
        build(input_size=3, hidden_size=4, seq_len=None, lengths=LENGTHS, output=output, **knobs)
        for output in ("every", "last")
    )
    for ours in (every, last):
        copy_recurrent(ours, theirs)
    torch.testing.assert_close(every(x), pad_packed_sequence(packed, batch_first=True)[0])
    directions = 2 if knobs else 1
    torch.testing.assert_close(last(x), torch.cat(tuple(h_n[-directions:]), 1))


def test_without_an_output_all_states_are_given() -> None:
    theirs = nn.LSTM(3, 4, 2, batch_first=True)
    ours = lstm(input_size=3, hidden_size=4, num_layers=2, output="none")
    copy_recurrent(ours, theirs)
    x = torch.randn(2, 5, 3)
    h_n, c_n = theirs(x)[1]
    for one, other in zip(ours(x), (h_n[0], c_n[0], h_n[1], c_n[1]), strict=True):
        torch.testing.assert_close(one, other)


I, H, O, T = 64, 128, 64, 20  # noqa: E741
CASES: list[tuple[str, dict[str, Any], int, int]] = [
    # name, knobs, parameters, MACs
    ("rnn", {"bias": False}, H * (I + H), T * H * (I + H)),
    ("gru", {"bias": False}, 3 * H * (I + H), T * 3 * H * (I + H)),
    ("lstm", {"bias": False}, 4 * H * (I + H), T * 4 * H * (I + H)),
    ("rnn", {"lengths": (20, 12, 5)}, H * (I + H + 2), 37 * H * (I + H)),  # 20 + 12 + 5 = 37 steps of 60
    ("rnn", {"lengths": (20, 12, 5), "output_size": 2}, H * (I + H + 2) + 2 * H, 37 * H * (I + H + 2)),
    ("rnn", {"lengths": (20, 12, 5), "output_size": 2, "output": "last"}, H * (I + H + 2) + 2 * H, 909_312 + 3 * 2 * H),
    # one V behind 20 steps: 20 · 24,576 + 256 = 491,776
    ("many-to-one", {}, H * (I + H + 2) + 2 * H, 491_776),
    ("many-to-one", {"cell": "lstm"}, 4 * H * (I + H + 2) + 2 * H, T * 4 * H * (I + H) + 2 * H),
    # each output of 64 is the next input: 20 · (64·128 + 128·128 + 128·64) = 655,360
    ("one-to-many", {}, H * (I + H + 2) + I * H, 655_360),
    ("one-to-many", {"tgt_len": 7, "cell": "gru"}, 3 * H * (I + H + 2) + I * H, 7 * (3 * H * (I + H) + I * H)),
    ("seq2seq", {}, 2 * 4 * H * (I + H + 2) + O * H, 2 * T * 4 * H * (I + H) + T * H * O),
    ("seq2seq", {"cell": "rnn", "src_len": 9, "tgt_len": 4}, 2 * H * (I + H + 2) + O * H, 13 * H * (I + H) + 4 * H * O),
    # separate weights: T times the parameters, the same multiply-adds
    ("unrolled-rnn", {}, T * H * (I + H + 2), T * H * (I + H)),
]


@pytest.mark.parametrize(("name", "knobs", "params", "macs"), CASES)
def test_a_form_in_closed_form(name: str, knobs: dict[str, Any], params: int, macs: int) -> None:
    made = report(name, knobs=knobs)
    assert (made.params, made.macs) == (params, macs)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("S", "T"), [(20, 20), (9, 4)])
def test_attention_adds_a_score_a_pair(bidirectional: bool, S: int, T: int) -> None:
    """Keys once, S·M·A; then each step of the decoder H·A, S·A scores, S·M in the sum, a cell fed I + M, and V."""
    A, M = 32, (1 + bidirectional) * H
    knobs = {"src_len": S, "tgt_len": T, "attention_size": A, "bidirectional": bidirectional}
    made = report("seq2seq-attention", knobs=knobs)
    encoder = (1 + bidirectional) * 3 * H * (I + H)
    decoder = 3 * H * (I + M + H)
    assert made.params == encoder + (1 + bidirectional) * 6 * H + decoder + 6 * H + A * (H + M + 1) + O * H
    assert made.macs == S * encoder + S * M * A + T * (H * A + S * A + S * M + decoder + H * O)


def test_the_padded_share_is_told() -> None:
    """37 of 3·20 = 60 steps run: 23/60 = 38.3 % are padding."""
    ran = run("flops", "rnn[lengths=(20,12,5)]")
    assert "packed: 37 of 3 x 20 = 60 steps run; 23 of padding are left out (38.3 % of the padded batch)" in ran.out
    assert "packed" not in run("flops", "rnn").out
    padded, packed = (report(f"rnn[lengths={n}]").macs for n in ("20,20,20", "20,12,5"))
    assert padded * 37 == packed * 60


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("rnn[lengths=(5,12)]", "write  --set lengths=12,5"),
        ("rnn[lengths=(5,0)]", "lengths=0 cannot be built"),
        ("rnn[lengths=(5,2),seq_len=5]", "leave one of them out"),
        ("rnn[output=lst]", "choose one of  every, last, none"),
        ("rnn[output=none,output_size=2]", "output=none asks for no output"),
        ("rnn[lengths=(5,2)] --batch 3", "lengths=5,2 makes the batch, and an input is given beside it"),
        ("seq2seq[cell=ltsm]", "choose one of  rnn, gru, lstm"),
        ("one-to-many[tgt_len=0]", "tgt_len=0 cannot be built"),
    ],
)
def test_what_cannot_be_is_refused(typed: str, said: str) -> None:
    ran = run("flops", *typed.split())
    assert ran.code == 2
    assert said in ran.err
