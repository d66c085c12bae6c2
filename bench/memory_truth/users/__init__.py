"""Modules as users write them, by name: how each is made, and the inputs of a batch."""

from __future__ import annotations

from bench.memory_truth.users import programs
from bench.memory_truth.users.generators import GENERATORS
from bench.memory_truth.users.given import Program
from bench.memory_truth.users.images import IMAGES
from bench.memory_truth.users.sequences import SEQUENCES

PROGRAMS: dict[str, Program] = {**IMAGES, **GENERATORS, **SEQUENCES, **programs.PROGRAMS}
"""All of them."""
