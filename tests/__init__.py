"""The tests, and the generators of what is checked in: `python -m tests.regenerate`."""
