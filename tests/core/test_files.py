"""Outputs are there whole or not at all."""

import errno
import os
import shutil
import tomllib
from pathlib import Path

import pyarrow as pa
import pytest

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import RunFolderError
from xpoll.core.files import read_json, read_object, replacing, toml_tables, write_json, write_table, write_text
from xpoll.core.records import CONSENSUS_SCHEMA, Consensus, from_table, labels_of, to_table, with_labels
from xpoll.core.run_folder import RunFolder, open_run_folder

JOB = '[documents]\npath = "texts.csv"\n[task]\nlabels = ["spam", "ham"]\n'


def config_in(tmp_path: Path, *overrides: str) -> Config:
    (tmp_path / "job.toml").write_text(JOB)
    return load_config(tmp_path / "job.toml", [f"job.run_folder='{tmp_path}/run'", *overrides])


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)

    def write_half() -> None:
        with replacing(tmp_path / "a.json") as temporary:
            temporary.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_half()
    assert read_json(tmp_path / "a.json") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"cannot write .* -> free space, or choose another"):
        write_json(tmp_path / "file" / "a.json", 1)


def test_records_are_read_back_as_written_with_their_label_order(tmp_path: Path) -> None:
    row = Consensus("d", "gold", "a text", None, (0.5, 0.5), 0.5, 2, 1, 0.5, "tie", None, "spam")
    write_table(tmp_path / "a.parquet", to_table([row], with_labels(CONSENSUS_SCHEMA, ["spam", "ham"])))
    import pyarrow.parquet as pq

    table: pa.Table = pq.read_table(tmp_path / "a.parquet")
    assert from_table(table, Consensus) == [row]
    assert labels_of(table.schema.metadata) == ["spam", "ham"]


def test_a_run_folder_is_reopened_by_the_same_config_and_refused_to_another(tmp_path: Path) -> None:
    open_run_folder(config_in(tmp_path))
    open_run_folder(config_in(tmp_path))
    with pytest.raises(RunFolderError, match=r"keys that differ: panel\.samples, vote\.method ->"):
        open_run_folder(config_in(tmp_path, "panel.samples=2", "vote.method=calibrated"))


def test_a_copied_run_folder_is_worked_on_and_not_the_one_it_was_copied_from(tmp_path: Path) -> None:
    config = config_in(tmp_path, "student.epochs=1")
    original = open_run_folder(config)
    shutil.copytree(original.path, tmp_path / "copy")
    changed = load_config(tmp_path / "copy", ["student.epochs=2"])
    folder = open_run_folder(changed, may_change=("student",))
    assert folder.path == tmp_path / "copy"
    assert read_json(folder.config)["student"]["epochs"] == 2
    assert read_json(original.config) == config.resolved()
    assert load_config(folder.path, ["job.run_folder=elsewhere"]).job.run_folder == "elsewhere"


def test_a_step_may_change_its_own_section_of_the_config(tmp_path: Path) -> None:
    folder = open_run_folder(config_in(tmp_path))
    changed = config_in(tmp_path, "vote.method=calibrated")
    open_run_folder(changed, may_change=("vote",))
    assert read_json(folder.config)["vote"]["method"] == "calibrated"
    with pytest.raises(RunFolderError, match=r"panel\.samples"):
        open_run_folder(config_in(tmp_path, "panel.samples=2"), may_change=("vote",))


def test_a_folder_that_is_no_run_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunFolderError, match="is there but is no run folder"):
        open_run_folder(config_in(tmp_path))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("refused", ["unlink", "replace"])
def test_what_a_read_only_disk_left_of_the_first_writes_is_in_nobody_s_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as read_only:
        for name in {refused, "unlink"}:
            read_only.setattr(Path, name, refuse)
        with pytest.raises(RunFolderError, match="cannot write"):
            open_run_folder(config_in(tmp_path))
    assert list((tmp_path / "run").iterdir())
    assert open_run_folder(config_in(tmp_path)).config.exists()


def test_a_step_that_comes_too_early_names_the_one_before(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(RunFolderError, match="is not there yet -> run the step before it: xpoll poll"):
        folder.require(folder.plan, step="poll")


def test_a_disk_that_becomes_read_only_within_a_write_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    path = tmp_path / "out.json"
    path.write_text("before")
    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(RunFolderError, match=r"cannot write .*out\.json: Read-only file system -> "):
        write_text(path, "after")
    assert path.read_text() == "before"


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000])
def test_what_is_no_json_is_one_line_that_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(RunFolderError, match=r"plan\.json is not JSON: .* -> restore it"):
        read_json(path)
    with pytest.raises(ValueError, match="not JSON"):
        read_json(path)


@pytest.mark.parametrize("content", ["[1]", "null", "{}", '{"b": 1}'])
def test_an_object_has_the_names_that_it_is_read_for(tmp_path: Path, content: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(RunFolderError, match=r"plan\.json does not hold what a run writes there -> restore it"):
        read_object(path, "a")
    path.write_text('{"a": 1}')
    assert read_object(path, "a") == {"a": 1}


def test_a_toml_text_that_nests_too_deep_is_no_toml() -> None:
    with pytest.raises(tomllib.TOMLDecodeError, match="nested too deep"):
        toml_tables("a = " + "[" * 20_000)
