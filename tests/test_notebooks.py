"""The notebooks run from the first cell to the last, and are kept with small outputs."""

from pathlib import Path
from typing import Any

import nbformat
import pytest

import xpoll
from tests.support.notebooks import LARGEST_OUTPUT, NOTEBOOKS, executed
from tests.support.tiny import make_tiny_bert

NAMES = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))


def outputs(notebook: Any) -> str:
    """All that the cells print and show."""
    found = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(str(each.get("text", "") or each.get("data", {})) for each in found)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_valid_and_small(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    nbformat.validate(notebook)
    assert (NOTEBOOKS / name).stat().st_size < 60_000
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert shown, "it shows what a reader gets"
    assert max(len(str(output)) for output in shown) < 2 * LARGEST_OUTPUT


@pytest.mark.engine
def test_the_quickstart_labels_trains_and_predicts(tmp_path: Path) -> None:
    tiny = f"run.train(min_steps=4, encoder={str(make_tiny_bert(tmp_path / 'encoder'))!r})"
    notebook = executed(NOTEBOOKS / "quickstart.ipynb", tmp_path, replaced=("run.train(min_steps=40)", tiny))
    told = outputs(notebook)
    assert "<iframe sandbox" in told, "the report stands inline"
    assert (tmp_path / "runs/quickstart/student/config.json").exists()
    assert "is missing" in told and "probability_login" in told
    labels = xpoll.Run(tmp_path / "runs/quickstart").labels
    assert labels["document_id"][:2] == ["d1", "d2"] and None not in labels["label"]


@pytest.mark.engine
def test_the_published_case_runs_on_recorded_answers(tmp_path: Path) -> None:
    encoder = str(make_tiny_bert(tmp_path / "encoder"))
    tiny = f'student={{"encoder": {encoder!r}, "epochs": 1}},\n    engine={{"backend": "replay"'
    replaced = ('engine={"backend": "replay"', tiny)
    told = outputs(executed(NOTEBOOKS / "published_case.ipynb", tmp_path, replaced=replaced))
    assert "240 documents, 1440 prompts" in told
    assert "raw majority   16.7%" in told, "the answers were recorded, so the count is always the same"
    assert "voted labels   66.7%" in told


@pytest.mark.engine
def test_a_student_is_served_and_asked(tmp_path: Path) -> None:
    tiny = f"run.train(min_steps=4, encoder={str(make_tiny_bert(tmp_path / 'encoder'))!r})"
    notebook = executed(NOTEBOOKS / "served_student.ipynb", tmp_path, replaced=("run.train(min_steps=40)", tiny))
    told = outputs(notebook)
    assert "'student')" in told, "the student answers"
    assert "  The courier was here at noon." in told
    assert told.rstrip().endswith("0'}"), "the server ends as it is told to"
