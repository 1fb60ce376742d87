"""The tutorial: what needs no engine is typed here and says what the page shows; all of it where that is asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Xpoll
from tests.support.tutorial import JOB, is_as_shown, steps
from xpoll.core.config.file import load_config
from xpoll.core.tables.readers import stream_rows
from xpoll.votes.check import check_votes

BEFORE_AN_ENGINE = ("xpoll examples", "xpoll init", "head ")
SET_UP = ("make", "source")


def test_an_output_may_leave_lines_out_and_change_none() -> None:
    said = "a 1\nb 2\nc 3\n"
    assert is_as_shown(said, "a 1\n...\nc 3\n") and is_as_shown(said, "a 1\nb 2\nc 3\n...\n")
    assert not is_as_shown(said, "a 1\nc 3\n") and not is_as_shown(said, "a 1\n...\nc 4\n")
    assert is_as_shown(said, "a 7.5\n...\nc   4\n", with_figures=False)
    assert not is_as_shown(said, "a 1\n...\nd 3\n", with_figures=False)


def test_what_comes_before_the_engine_says_what_the_page_shows(tmp_path: Path, xpoll: Xpoll) -> None:
    typed = 0
    for step in steps():
        lines = step.command.splitlines()
        if not all(line.startswith(BEFORE_AN_ENGINE) for line in lines):
            continue
        said = ""
        for line in lines:
            if line.startswith("xpoll "):
                said += xpoll(*line.split()[1:], cwd=tmp_path).stdout
            else:
                said += subprocess.run(line.split(), cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert step.shown is not None and is_as_shown(said, step.shown), said
        typed += len(lines)
    assert typed == 3


def test_the_job_of_the_page_can_be_run(tmp_path: Path, xpoll: Xpoll, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = [step.job for step in steps() if step.job is not None]
    monkeypatch.chdir(tmp_path)
    xpoll("examples", "caretaker_notes", cwd=tmp_path)
    Path(JOB).write_text(job)
    config = load_config(Path(JOB))
    check_votes(config)
    assert config.documents.gold_path is not None
    texts = [str(row.values["text"]) for row in stream_rows(config.documents.path, key="documents.path")]
    gold = [row.values for row in stream_rows(config.documents.gold_path, key="documents.gold_path")]
    assert {row["label"] for row in gold} == set(config.task.labels)
    assert len(set(texts)) == 80 and not set(texts) & {row["text"] for row in gold}


@pytest.mark.engine
@pytest.mark.skipif("XPOLL_TEST_TUTORIAL" not in os.environ, reason="some minutes: set XPOLL_TEST_TUTORIAL=1")
def test_who_types_the_tutorial_gets_what_it_shows(tmp_path: Path) -> None:
    """But for figures: times are those of a machine, and a score moves where another processor rounds otherwise."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for step in steps():
        if step.command.startswith(SET_UP):
            continue
        if step.job is not None:
            (tmp_path / JOB).write_text(step.job)
        command = ["bash", "-ec", step.command]
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert step.shown is None or is_as_shown(done.stdout, step.shown, with_figures=False), done.stdout
