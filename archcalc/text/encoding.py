"""Text for a stream that may lack characters."""

from __future__ import annotations

STAND_INS = {
    "→": "->", "·": "*", "×": "x", "≥": ">=", "≤": "<=", "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")", "…": "~",
    "█": "#", "▉": "#", "▊": "#", "▋": "#", "▌": "=", "▍": "-", "▎": "-", "▏": " ", "─": "-", "━": "-", "★": "*",
    "│": "|", "┤": "|", "├": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "┬": "+", "┴": "+", "┼": "+",
    "³": "^3", "⁴": "^4", "²": "^2", "“": '"', "”": '"', "–": "-", "á": "a", "é": "e",
}  # fmt: skip
"""Replacements for characters that an encoding lacks."""


def encodable(text: str, encoding: str | None) -> str:
    """The text with stand-ins for what the encoding lacks.

    >>> encodable("⌊7/2⌋ → 3", "ascii")
    'floor(7/2) -> 3'
    """
    encoding = encoding or "ascii"
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        return "".join(_encodable(character, encoding) for character in text)


def _encodable(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
        return character
    except UnicodeEncodeError:
        if 0x2800 <= ord(character) <= 0x28FF:  # the dots of a plot
            return " " if ord(character) == 0x2800 else "."
    return STAND_INS.get(character, "?")
