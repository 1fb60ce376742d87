"""A JSON file of a run folder that is none, or of another form, is one line in every step that reads it."""

import shutil
from pathlib import Path

import pytest

from tests.support.in_process import answer_in_process
from tests.support.simulated_job import write_simulated_job
from xpoll.scripts.cli import main

READERS = {
    "config.resolved.json": [["status", "run"], ["vote", "run"], ["plan", "job.toml"]],
    "panel.json": [["poll", "run"], ["report", "run"]],
    "plan.json": [["status", "run"], ["vote", "run"]],
    "environment.json": [["report", "run"]],
    "stages.json": [["report", "run"]],
    "review.json": [["vote", "run"], ["estimate", "run"]],
}
CONTENTS = [b"{", b"[1]", b"[" * 100_000]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a job and its run, as a report and the sample of a review leave it."""
    folder = tmp_path_factory.mktemp("whole")
    write_simulated_job(folder, documents=30, max_in_flight=8, time_scale=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
        for command in (
            ["poll", "job.toml"],
            ["vote", "run"],
            ["report", "run"],
            ["review", "sample", "run", "--size", "8"],
        ):
            assert main(command) == 0
    return folder


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_one_line(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
    for content in CONTENTS:
        for command in READERS[name]:
            Path("run", name).write_bytes(content)
            capsys.readouterr()
            code = main(command)
            said = capsys.readouterr().err.strip().splitlines()
            if code:
                assert (code, name in said[-1], " -> " in said[-1]) == (2, True, True), (command, said)
            else:
                assert name == "panel.json", "a panel is chosen again, as it was"
