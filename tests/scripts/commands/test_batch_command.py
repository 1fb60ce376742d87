"""`xpoll batch` takes the devices that `xpoll run` takes."""

import json
from pathlib import Path

import pytest

from tests.engine.batch.test_requests import line
from tests.support.in_process import answer_in_process
from xpoll.scripts.cli import main


def test_simulated_replicas_may_be_more_than_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xpoll.engine.batch.run.answer_prompts", answer_in_process)
    Path("in.jsonl").write_text(line("a", max_tokens=4) + "\n" + line("b", max_tokens=4) + "\n")
    settings = {"backend": "simulated", "device": "cpu", "replicas": "1000", "simulated.time_scale": "0"}
    overrides = [word for key, value in settings.items() for word in ("--set", f"engine.{key}={value}")]
    assert main(["batch", "in.jsonl", "out.jsonl", "--model", "m", "--json", *overrides]) == 0
    assert json.loads(capsys.readouterr().out)["answered"] == 2
    assert json.loads(Path("out.jsonl.run/plan.json").read_text())["replicas"] == 1000
    assert main(["batch", "in.jsonl", "o.jsonl", "--model", "m", *overrides, "--set", "engine.backend=replay"]) == 2


def test_check_knows_the_folder_of_a_batch_and_the_command_that_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xpoll.engine.batch.run.answer_prompts", answer_in_process)
    Path("in.jsonl").write_text(line("a", max_tokens=4) + "\n" + line("b", max_tokens=4) + "\n")
    overrides = ["--set", "engine.backend=simulated", "--set", "engine.device=cpu"]
    assert main(["batch", "in.jsonl", "out.jsonl", "--model", "m", *overrides]) == 0
    assert main(["check", "out.jsonl.run"]) == 0
    Path("out.jsonl.run/completions/part-00000.parquet").unlink()
    capsys.readouterr()
    assert main(["check", "out.jsonl.run", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["commands"] == [f"xpoll batch {tmp_path}/in.jsonl {tmp_path}/out.jsonl --run-folder out.jsonl.run"]
    assert main(["status", "out.jsonl.run"]) == 2
