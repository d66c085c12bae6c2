"""Traces kept between commands: a question that was answered before is answered again without torch.

A trace is kept under everything that decides it (`conditions`), and what the user's own code read (`watcher`).
"""

from archcalc.engine.cache.kept import caching, kept, last_hit, why_not_kept

__all__ = ["caching", "kept", "last_hit", "why_not_kept"]
