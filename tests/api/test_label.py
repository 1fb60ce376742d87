"""`import xpoll`: texts of any kind in, one row per text out, by the steps that the command line has."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import xpoll
from tests.support.in_process import answer_in_process
from tests.support.tiny import make_tiny_bert
from xpoll.core import log
from xpoll.scripts.cli import main

TEXTS = ["The parcel came broken.", "Where is my parcel?", "Thank you, all is well."]
LABELS = ["complaint", "question", "praise"]
SIMULATED: dict[str, Any] = {"engine": {"backend": "simulated", "device": "cpu", "simulated": {"time_scale": 0}}}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; engines answer in this process, which is somebody's own and not a command's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
    monkeypatch.setattr(log, "_is_own_process", False)
    return tmp_path


def test_importing_it_is_quick_and_brings_nothing_heavy() -> None:
    heavy = ("torch", "ray", "transformers", "pandas", "pyarrow", "numpy", "pydantic", "datasets", "polars", "rich")
    code = f"import sys, xpoll; print([name for name in {heavy!r} if name in sys.modules], 'label' in dir(xpoll))"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"
    (took,) = [line for line in done.stderr.splitlines() if line.endswith("| xpoll")]
    assert int(took.split("|")[1]) < 300_000, f"microseconds: {took}"


def test_every_name_that_is_offered_is_there() -> None:
    assert all(getattr(xpoll, name) is not None for name in xpoll.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'lable'"):
        _ = xpoll.lable


def frame(**columns: Any) -> dict[str, list[Any]]:
    return {"nr": ["a", "b", "c"], "text": TEXTS, "label": LABELS, **columns}


TABLES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame(frame(), index=[7, 8, 9]),
    "polars": lambda: pl.DataFrame(frame()),
    "lazy polars": lambda: pl.LazyFrame(frame()),
    "datasets": lambda: datasets.Dataset.from_dict(frame()),
    "streamed datasets": lambda: datasets.Dataset.from_dict(frame()).to_iterable_dataset(),
    "selected datasets": lambda: datasets.Dataset.from_dict(
        frame(text=[*TEXTS, "x"], nr=[*"abcd"], label=["x"] * 4)
    ).select([0, 1, 2]),
    "pyarrow": lambda: pa.table(frame()),
    "record batch": lambda: pa.RecordBatch.from_pydict(frame()),
    "columns": frame,
    "rows": lambda: [{"nr": n, "text": t} for n, t in zip("abc", TEXTS, strict=True)],
}
LISTS: dict[str, Callable[[], Any]] = {
    "list": lambda: TEXTS,
    "tuple": lambda: tuple(TEXTS),
    "generator": lambda: (text for text in TEXTS),
    "numpy": lambda: np.array(TEXTS),
    "pandas series": lambda: pd.Series(TEXTS, index=[5, 6, 7]),
    "polars series": lambda: pl.Series(TEXTS),
    "arrow array": lambda: pa.array(TEXTS),
    "arrow column": lambda: pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_keep_ids_and_order(kind: str) -> None:
    run = xpoll.label(TABLES[kind](), LABELS, id_column="nr", quiet=True, **SIMULATED)
    assert run.labels["document_id"] == ["a", "b", "c"]
    assert run.labels["text"] == TEXTS
    assert set(run.labels["label"]) <= set(LABELS)


@pytest.mark.parametrize("kind", LISTS)
def test_lists_are_numbered(kind: str) -> None:
    run = xpoll.label(LISTS[kind](), LABELS, quiet=True, **SIMULATED)
    assert (run.labels["document_id"], run.labels["text"]) == (["0", "1", "2"], TEXTS)


def test_files_are_read_as_the_command_line_reads_them(here: Path) -> None:
    (here / "texts.csv").write_text("text\n" + "\n".join(TEXTS).replace(",", ";") + "\n")
    for given in ("texts.csv", here / "texts.csv", "texts-*.csv"):
        (here / "texts-1.csv").write_text((here / "texts.csv").read_text())
        assert len(xpoll.label(given, LABELS, quiet=True, **SIMULATED).labels) == 3


def test_what_is_no_text_is_a_row_with_a_problem() -> None:
    run = xpoll.label(["good", None, 7, "  ", float("nan"), "b\ud800d"], ["good", "bad"], quiet=True, **SIMULATED)
    assert len(run.labels) == 6
    problem = "column 'text' holds no text"
    assert run.labels["problem"] == [None, problem, problem, problem, problem, None]
    assert run.labels["abstained"][1] == "no readable vote"
    assert run.labels[-1]["label"] in ("good", "bad")


def test_results_are_arrow_and_become_what_is_asked_for() -> None:
    labels = xpoll.label(TEXTS, LABELS, quiet=True, **SIMULATED).labels
    assert labels.to_pandas()["text"].tolist() == TEXTS
    assert labels.to_polars()["text"].to_list() == TEXTS
    assert labels.to_dataset()["text"][:] == TEXTS
    assert labels.to_dataset().features["label"].dtype == "string"
    assert [row["text"] for row in labels] == TEXTS
    with pytest.raises(KeyError, match="no column 'lable'; there are document_id, text"):
        labels["lable"]


def test_what_a_notebook_shows_is_escaped() -> None:
    evil = "<script>alert(1)</script>\"'"
    run = xpoll.label([evil, "b"], [evil, "good"], gold=[("c", "good")], quiet=True, **SIMULATED)
    for shown in (run.labels._repr_html_(), run._repr_html_(), run.votes._repr_html_(), run.report._repr_html_()):
        assert "<script" not in shown and "alert(1)" in shown
    frame = run.report._repr_html_()
    assert frame.startswith('<iframe sandbox="" ')
    assert frame.count('"') == 6, "sandbox, style, srcdoc: nothing of the page ends the last one"


def test_gold_rows_are_measured_and_stand_apart() -> None:
    run = xpoll.label(TEXTS, LABELS, gold={"text": ["Broken!", "Hm?"], "label": LABELS[:2]}, quiet=True, **SIMULATED)
    assert len(run.labels) == 3
    assert run.gold_labels["gold_label"] == LABELS[:2]
    assert run.evaluation is not None and run.evaluation.teacher is not None
    assert run.evaluation.gold_rows == 2
    assert run.metrics.labels.decided + run.metrics.labels.abstained == 5
    assert "gold_label" not in run.labels.columns


def test_the_same_call_asks_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = xpoll.label(TEXTS, LABELS, quiet=True, **SIMULATED)
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", None)
    again = xpoll.label(TEXTS, LABELS, quiet=True, **SIMULATED)
    assert again.folder == first.folder
    assert first.folder.parent == Path("runs").absolute()
    assert xpoll.label(TEXTS, LABELS, quiet=True, vote={"method": "calibrated"}, **SIMULATED).folder == first.folder
    with pytest.raises(TypeError):  # somebody is asked
        xpoll.label(TEXTS, LABELS, quiet=True, question="Which?", **SIMULATED)


def test_api_and_command_line_give_the_same_labels(here: Path) -> None:
    pd.DataFrame({"text": TEXTS * 20}).to_csv("texts.csv", index=False)
    (here / "job.toml").write_text(
        f"""
        [documents]
        path = "texts.csv"
        [task]
        labels = {json.dumps(LABELS)}
        [panel]
        personas = ["annotator", "support_agent"]
        samples = 2
        [engine]
        backend = "simulated"
        device = "cpu"
        [engine.simulated]
        time_scale = 0
        """
    )
    assert main(["poll", "job.toml"]) == main(["vote", "job.toml"]) == 0
    typed = xpoll.Run("runs/job").labels
    of_path = xpoll.label(
        "texts.csv", LABELS, panel={"personas": ["annotator", "support_agent"], "samples": 2}, quiet=True, **SIMULATED
    )
    of_list = xpoll.label(
        TEXTS * 20, LABELS, panel={"personas": ["annotator", "support_agent"], "samples": 2}, quiet=True, **SIMULATED
    )
    assert typed.arrow.equals(of_path.labels.arrow)
    assert typed.arrow.equals(of_list.labels.arrow)
    assert xpoll.Job.from_toml("job.toml", vote={"method": "calibrated"}).config.vote.method == "calibrated"


def test_a_student_is_trained_saved_loaded_and_asked(here: Path) -> None:
    encoder = make_tiny_bert(here / "encoder")
    texts = [f"{word} {i}" for i in range(20) for word in ("good", "bad")]
    run = xpoll.label(texts, ["good", "bad"], gold=[("good", "good"), ("bad", "bad")], quiet=True, **SIMULATED)
    student = run.train(encoder=str(encoder), min_steps=5, epochs=1, quiet=True)
    told = student.predict(["good day", None, ""])
    assert told.columns == ["text", "label", "confidence", "probability_good", "probability_bad", "error"]
    assert told["label"][0] in ("good", "bad")
    assert told[0]["probability_good"] + told[0]["probability_bad"] == pytest.approx(1)
    assert told["error"] == [None, "column 'text' is missing", "column 'text' is empty"]
    assert student.predict(pd.DataFrame({"body": ["good day"]}), text_column="body")["label"] == told["label"][:1]
    saved = student.save(here / "kept")
    for place in (saved, str(saved), run.folder):
        assert xpoll.Student.load(place).predict(["good day"]).arrow.equals(told.arrow.slice(0, 1))
    assert run.evaluation is not None and run.evaluation.student is not None
    assert run.config.student.min_steps == 5
    assert "student" in run.report.markdown()


def test_a_student_comes_from_the_hub_or_the_line_says_why(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fail(name: str, **_: Any) -> str:
        asked.append(name)
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(
        xpoll.ModelError, match=r"no student folder me/mine, and the .* hub does not give it \(OSError\)"
    ):
        xpoll.Student.load("me/mine")
    assert asked == ["me/mine"]
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(here))
    with pytest.raises(xpoll.ModelError, match="is no student: it holds no config.json"):
        xpoll.Student.load("me/mine")


def test_it_leaves_the_process_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = (dict(os.environ), root.level, list(root.handlers), [signal.getsignal(n) for n in names], sys.stdout)
    run = xpoll.label(TEXTS, LABELS, **SIMULATED)
    after = (dict(os.environ), root.level, list(root.handlers), [signal.getsignal(n) for n in names], sys.stdout)
    assert after == before
    assert "vote done" in (run.folder / "xpoll.log").read_text()
    assert not logging.getLogger("xpoll").handlers
    assert capfd.readouterr().out == ""


def test_a_job_with_several_labels_per_text_has_sets() -> None:
    run = xpoll.label(TEXTS, LABELS, task={"kind": "multi"}, quiet=True, **SIMULATED)
    assert len(run.labels["labels"]) == 3
    assert "<td>" in run._repr_html_()
