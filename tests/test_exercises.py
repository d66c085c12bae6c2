"""The answers of docs/exercises.md: reckoned by hand here, and printed by the commands that stand below them."""

from __future__ import annotations

import re

import pytest

from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "exercises.md").read_text(encoding="utf-8")
BY_HAND = {
    1: (64 * 32 // 4 * 9, 64 * 32 // 4 * 9 * 28 * 28),
    2: (14 * 14 * 256 * 64 * 25, 14 * 14 * 256 * 32, 14 * 14 * 32 * 64 * 25),
    3: (16 * 50, 32),
    4: (2 * 512 * 512 // 8, 2 * 512 * 512 // 16),
    5: (9 * 24 * 24 * 6 * 7 // 2, 8 * 8 * 24 * 6 * 7, 2 * 8 * 8 // 9 + 1),
    6: ((28 * 28 * (64 + 64) + 64 * 64) * 4, (28 * 28 * (16 + 256) + 16 * 256) * 4),
    7: (4 * 200 * (100 + 200), 3 * 200 * (100 + 200)),
    8: (2 * 512 * 512 * 256, 4 * 512 * 256 * 256 + 2 * 512 * 512 * 256),
}
"""The numbers in bold of each exercise, in order."""


def exercises() -> dict[int, str]:
    """The text of each exercise by its number."""
    parts = re.split(r"^## (\d+)\. ", PAGE, flags=re.MULTILINE)[1:]
    return {int(number): text for number, text in zip(parts[::2], parts[1::2], strict=True)}


def test_every_exercise_is_reckoned() -> None:
    """No exercise without numbers of its own here."""
    assert list(exercises()) == list(BY_HAND)


@pytest.mark.parametrize("number", BY_HAND)
def test_an_answer_is_reckoned_by_hand_and_printed_by_its_command(number: int) -> None:
    """test_docs holds the printed outputs against the tool; here they are held against arithmetic."""
    text = exercises()[number]
    answer, printed = text.split("```console", 1)
    bold = [int(found.replace(",", "")) for found in re.findall(r"\*\*([\d,]+)\*\*", answer)]
    assert bold == list(BY_HAND[number])
    numbers = {int(found.replace(",", "")) for found in re.findall(r"\d{1,3}(?:,\d{3})+|\d+", printed)}
    assert set(bold) <= numbers
