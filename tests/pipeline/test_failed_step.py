"""A step that is refused or stopped leaves the run as it was; one that is done leaves nothing that no longer fits."""

import errno
import os
from pathlib import Path

import pytest

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError, RunFolderError
from xpoll.core.files import read_json, write_json
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline import run
from xpoll.pipeline.state import removed_after
from xpoll.scripts.cli import main

LOGS = ("xpoll.log", "stages.json")
"""What keeps a record of every attempt."""
MADE = ["student", "evaluation.json", "metrics.json", "report.html"]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Of a run that has gone through all steps."""
    made = RunFolder(tmp_path / "run")
    (made.path / "student").mkdir(parents=True)
    (made.path / "student" / "model.safetensors").write_bytes(b"weights")
    for name in ("plan.json", "labels.parquet", *MADE[1:]):
        (made.path / name).write_text(name, encoding="utf-8")
    file = tmp_path / "job.toml"
    file.write_text(
        f'[job]\nrun_folder = "{made.path}"\n[documents]\npath = "texts.csv"\n[task]\nlabels = ["good", "bad"]\n',
        encoding="utf-8",
    )
    write_json(made.config, load_config(file).resolved())
    return made


def files(folder: RunFolder) -> dict[str, bytes]:
    found = {str(path.relative_to(folder.path)): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name not in LOGS}


@pytest.mark.parametrize("error", [ConfigError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["vote", "train", "evaluate"])
def test_a_step_that_fails_leaves_scores_report_and_settings(
    folder: RunFolder, step: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(folder)
    seen: list[set[str]] = []

    def refuse(_: Config, opened: RunFolder) -> bool:
        seen.append({name for name in MADE if (opened.path / name).exists()})
        raise error

    monkeypatch.setitem(run.STEPS, step, run.STEPS[step]._replace(function=refuse))
    arguments = [step, str(folder.path)] + (["--set", "student.epochs=9"] if step != "evaluate" else [])
    assert main(arguments) != 0
    assert len(seen) == 1 and "report.html" not in seen[0], "a kill meanwhile would leave nothing that does not fit"
    assert files(folder) == before


def test_a_step_that_is_done_removes_what_no_longer_fits(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(run.STEPS, "train", run.STEPS["train"]._replace(function=lambda *_: True))
    assert main(["train", str(folder.path), "--set", "student.epochs=9"]) == 0
    assert (folder.path / "student" / "model.safetensors").exists()
    assert not any((folder.path / name).exists() for name in (*MADE[1:], ".before"))
    assert read_json(folder.config)["student"]["epochs"] == 9


def test_what_a_killed_step_put_aside_goes_with_the_next(folder: RunFolder) -> None:
    (folder.path / ".before").mkdir()
    (folder.path / ".before" / "evaluation.json").write_text("old", encoding="utf-8")
    (folder.path / "evaluation.json").unlink()
    with pytest.raises(ZeroDivisionError), removed_after(folder, "train"):
        raise ZeroDivisionError
    assert not (folder.path / "evaluation.json").exists() and not (folder.path / ".before").exists()


def test_a_folder_that_cannot_be_written_is_one_line(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:

    def refuse(_: Path) -> None:
        raise RunFolderError("read-only")

    monkeypatch.setattr("xpoll.pipeline.state.check_writable", refuse)
    with pytest.raises(RunFolderError), removed_after(folder, "train"):
        pass
    assert (folder.path / "evaluation.json").exists()


@pytest.mark.parametrize("refused", ["mkdir", "rename"])
def test_a_disk_that_refuses_before_the_step_is_one_line(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    with monkeypatch.context() as read_only, pytest.raises(RunFolderError, match=r"cannot write .*Read-only"):
        read_only.setattr("xpoll.pipeline.state.check_writable", lambda _: None)
        read_only.setattr(Path, refused, _refuse)
        with removed_after(folder, "train"):
            pytest.fail("the step must not begin")
    assert (folder.path / "evaluation.json").exists()


def test_the_step_s_own_error_is_told_where_nothing_can_be_put_back(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as read_only, pytest.raises(ZeroDivisionError), removed_after(folder, "train"):
        read_only.setattr(Path, "rename", _refuse)
        raise ZeroDivisionError
    with removed_after(folder, "train"):
        pass
    assert not (folder.path / ".before").exists()


def _refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
