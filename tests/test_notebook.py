"""docs/notebook.ipynb runs from its first cell to its last, and every result in it is shown as a table."""

from __future__ import annotations

import os

import pytest

from tests.helpers import ROOT

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


@pytest.mark.filterwarnings("ignore")  # of the notebook's own machinery
def test_the_notebook_runs() -> None:
    how = "pip install nbclient ipykernel"
    client, forms = pytest.importorskip("nbclient", reason=how), pytest.importorskip("nbformat", reason=how)
    pytest.importorskip("ipykernel", reason=how)
    notebook = forms.read(NOTEBOOK, as_version=4)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    client.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output["data"] for cell in cells for output in cell.outputs if "data" in output]
    assert len(shown) == len(cells) == 7
    assert ["<table" in data.get("text/html", "") for data in shown] == [True, False, True, True, True, True, False]
    assert shown[1]["text/plain"] == "(11689512, 1814073344, (1, 64, 56, 56))"
    assert all(not cell.outputs for cell in forms.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code")
