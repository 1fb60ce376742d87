"""A mistake is one line, exit code 2, and nothing half-written."""

import errno
import os
from pathlib import Path

import pytest

from tests.conftest import ROOT, Xpoll
from xpoll.core.config.file import load_config
from xpoll.core.errors import ModelError, RunFolderError
from xpoll.pipeline import prepare as planning
from xpoll.scripts import cli

JOB = """
[job]
run_folder = "run"
[documents]
path = "texts.csv"
[task]
labels = ["good", "bad"]
[engine]
device = "cpu"
"""


SIMULATED = ("--model", "m", "--set", "engine.backend=simulated", "--set", "engine.device=cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "texts.csv").write_text("text\nThe sun shines.\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "a_file").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("panel.sampels=3", "unknown config key panel.sampels -> did you mean panel.samples?"),
        ("documents.text_column=body", "has no column 'body'; its columns are: text"),
        ("documents.path=empty.csv", "empty.csv has no rows"),
        ("documents.path=nowhere.csv", "nowhere.csv does not exist"),
        ("task.labels=['good']", "labels must name at least 2 labels"),
        ("engine.model=nobody/no-such-model", "unknown model nobody/no-such-model"),
        ("engine.model=./no-such-folder", "there is no folder ./no-such-folder"),
        ("student.encoder=nobody/no-such-model", "student.encoder: unknown model nobody/no-such-model"),
        (
            "engine.backend=magic",
            "unknown backend 'magic' -> known backends: vllm, openvino, replay, openai, encoder, simulated",
        ),
        ("panel.personas=['nobody']", "there is no persona 'nobody'"),
        ("engine.replicas=5000", "engine.replicas x engine.tensor_parallel = 5000 is more than"),
        ("job.run_folder=a_file/run", "cannot write a_file/run"),
        ("job.run_folder=/proc/run", "cannot write /proc/run"),
    ],
)
def test_a_wrong_job_is_one_line_and_leaves_nothing_behind(
    folder: Path, xpoll: Xpoll, override: str, said: str
) -> None:
    before = sorted(folder.rglob("*"))
    done = xpoll("run", "job.toml", "--set", override, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert done.stderr.startswith("xpoll: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    assert sorted(folder.rglob("*")) == before


def test_a_run_folder_that_cannot_be_made_is_found_before_a_model_is_prepared(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    prepared: list[object] = []
    monkeypatch.setattr(planning, "prepare_model", prepared.append)
    before = sorted(folder.rglob("*"))
    with pytest.raises(RunFolderError, match="cannot write a_file/run"):
        planning.prepare(load_config(folder / "job.toml", ["job.run_folder=a_file/run"]))
    assert prepared == []
    with pytest.raises(ModelError, match="unknown model no-such"):
        planning.prepare(load_config(folder / "job.toml", ["job.run_folder=deep/er/run", "student.encoder=no-such"]))
    assert prepared == []
    assert sorted(folder.rglob("*")) == before, "nothing is left of a run folder that was refused"
    planning.prepare(load_config(folder / "job.toml", ["job.run_folder=deep/er/run"]))
    assert len(prepared) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nowhere.toml"], "nowhere.toml does not exist"),
        (["rnu", "job.toml"], "invalid choice: 'rnu'"),
        (["run"], "the following arguments are required: job"),
        (["vote", "job.toml"], "plan.json is not there yet -> run the step before it: xpoll poll"),
        (["status", "job.toml"], "plan.json is not there yet -> run the step before it: xpoll poll"),
        (["status", "."], "is a folder without config.resolved.json"),
        (["predict", ".", "texts.csv", "out.csv"], "is no student"),
        (["predict", ".", "texts.csv", "out.csv", "--cascade", "nowhere"], "nowhere does not exist -> name a job"),
        (["predict", ".", "texts.csv", "out.xls"], "out.xls is no csv, jsonl, parquet file"),
    ],
)
def test_a_wrong_command_is_one_line(folder: Path, xpoll: Xpoll, arguments: list[str], said: str) -> None:
    before = sorted(folder.rglob("*"))
    done = xpoll(*arguments, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(folder.rglob("*")) == before


BATCH_LINE = '{"custom_id": "%s", "method": "POST", "url": "/v1/chat/completions", "body": {%s"messages": [%s]}}\n'
MESSAGE = '{"role": "user", "content": "hello"}'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["batch"], "batch needs one input file -> xpoll batch INPUT.jsonl OUTPUT.jsonl"),
        (["batch", "named.jsonl", "-i", "named.jsonl", "-o", "out"], "batch needs one input file"),
        (["batch", "nowhere.jsonl", "out.jsonl"], "input: nowhere.jsonl does not exist"),
        (["batch", "empty.csv", "out.jsonl"], "input: empty.csv has no rows"),
        (["batch", "two.jsonl", "out.jsonl"], "its lines name different models, e.g. a and b -> say which one answers"),
        (["batch", "none.jsonl", "out.jsonl"], "its lines name no model -> say which one answers: --model MODEL"),
        (["batch", "twice.jsonl", "out.jsonl"], "input: lines 1 and 2 have the same custom_id"),
        (["batch", "none.jsonl", "out.jsonl", "--model", "./m"], "engine.model: there is no folder ./m"),
        (["batch", "none.jsonl", "out.jsonl", "--model", "m", "--set", "engine.modle=x"], "did you mean engine.model?"),
        (
            ["batch", "none.jsonl", "none.jsonl", *SIMULATED],
            "none.jsonl is the input file itself -> name another output",
        ),
        (["batch", "none.jsonl", "a_file", *SIMULATED], "a_file is there and was not written by this batch"),
    ],
)
def test_a_wrong_batch_is_one_line_and_leaves_nothing_behind(
    folder: Path, xpoll: Xpoll, arguments: list[str], said: str
) -> None:
    (folder / "two.jsonl").write_text("".join(BATCH_LINE % (m, f'"model": "{m}", ', MESSAGE) for m in "ab"))
    (folder / "none.jsonl").write_text(BATCH_LINE % ("x", "", MESSAGE))
    (folder / "twice.jsonl").write_text(2 * (BATCH_LINE % ("x", "", MESSAGE)))
    before = sorted(folder.rglob("*"))
    done = xpoll(*arguments, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(folder.rglob("*")) == before


def test_a_plan_touches_nothing(folder: Path, xpoll: Xpoll) -> None:
    before = sorted(folder.rglob("*"))
    done = xpoll("plan", "job.toml", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert '"prompts": 1' in done.stdout
    assert sorted(folder.rglob("*")) == before


def test_help_names_every_command(xpoll: Xpoll) -> None:
    done = xpoll("--help")
    for command in (
        "run",
        "plan",
        "poll",
        "vote",
        "train",
        "evaluate",
        "predict",
        "batch",
        "report",
        "status",
        "doctor",
    ):
        assert f"\n    {command} " in done.stdout


def test_doctor_looks_at_this_machine(xpoll: Xpoll) -> None:
    done = xpoll("doctor", "--json")
    assert done.returncode in (0, 1), done.stdout
    assert '"subject": "devices"' in done.stdout


def test_the_readme_s_five_lines_of_toml_are_a_job(tmp_path: Path, xpoll: Xpoll) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.partition("```toml\n")[2].partition("```")[0]
    assert len(block.splitlines()) <= 5
    (tmp_path / "my_job.toml").write_text(block)
    (tmp_path / "my_texts.csv").write_text("text\nWhere is my parcel?\n")
    done = xpoll("plan", "my_job.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_choices_of_arguments_are_those_of_the_code() -> None:
    from xpoll.scripts.commands import predict, review
    from xpoll.student.inference.onnx_runtime import RUNTIME
    from xpoll.student.inference.openvino_runtime import RUNTIMES
    from xpoll.votes.review import forms

    assert list(forms.FORMS) == review.FORMS
    assert ["pytorch", RUNTIME, *RUNTIMES] == predict.RUNTIMES


@pytest.mark.parametrize(
    ("command", "left"),
    [
        (["bench", "quick"], "the records so far are written -> xpoll bench quick"),
        (["poll", "job.toml"], "what was done is kept -> xpoll poll job.toml"),
    ],
)
def test_a_signal_is_one_line_with_what_is_left(
    command: list[str], left: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(parsed: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"xpoll.scripts.commands.{command[0]}.call", stopped)
    assert cli.main(command) == 130
    assert left in capsys.readouterr().err


@pytest.mark.parametrize("filename", [None, "runs/a/votes.parquet"])
def test_a_full_disk_is_one_line_wherever_it_is_met(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, filename: str | None
) -> None:
    def call(_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), filename)

    monkeypatch.setattr("xpoll.scripts.commands.doctor.call", call)
    assert cli.main(["doctor"]) == 2
    assert capsys.readouterr().err == (
        f"xpoll: cannot write {filename or 'its files'}: No space left on device -> "
        "free space, or choose another job.run_folder\n"
    )
