"""Settings of every test: stored traces are off, so that no test reads or writes the user's."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from archcalc.engine.cache import caching

os.environ["ARCHCALC_CACHE"] = "off"


@pytest.fixture
def shared_traces(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One folder of stored traces for all tests of this session that ask for it: each member is traced once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-traces"
    monkeypatch.setenv("ARCHCALC_CACHE", str(folder))
    with caching():
        yield
