"""A run reads its input once; what it read is in its folder, and later steps take it from there."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs
from tokenizers import Tokenizer, normalizers

from tests.support.simulated_job import write_simulated_job
from tests.support.tiny import make_tiny_llama
from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError, InputError
from xpoll.core.files import write_json
from xpoll.core.record_files import stream_records
from xpoll.core.records import COMPLETION_SCHEMA, Completion, Document, to_table
from xpoll.core.run_folder import RunFolder
from xpoll.core.tables import readers
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.session import mark_settled
from xpoll.pipeline.prepare import outline, prepare
from xpoll.pipeline.run import run_step, whole_path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was opened for its rows, by this process."""
    counts: Counter[str] = Counter()

    class Counting(fs.LocalFileSystem):
        def open_input_stream(self, path: str, **more: Any) -> Any:
            counts[Path(path).name] += 1
            return super().open_input_stream(path, **more)

    monkeypatch.setattr(readers.fs, "LocalFileSystem", Counting)
    return counts


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_simulated_job(tmp_path, documents=6, max_in_flight=8, time_scale=0.01)


def answered(config: Config, number: int) -> None:
    """Puts the run folder into the state after a poll of so many documents."""
    folder = Path(config.job.run_folder)
    with Journal(folder / "completions", rows_per_part=100) as journal:
        rows = [Completion(str(i), "annotator", 0, "good", "stop") for i in range(number)]
        journal.append(to_table(rows, COMPLETION_SCHEMA).to_batches())
    write_json(folder / "engine.json", {"sessions": []})
    mark_settled(RunFolder(folder), number, number, config.engine)


@pytest.mark.engine
def test_a_run_opens_the_input_once(job: Path, opened: Counter[str]) -> None:
    config = load_config(job)
    prepare(config)
    for step in ("poll", "vote"):
        run_step(step, config, prepare_folder(config))
    assert opened == {"texts.csv": 1}
    opened.clear()
    outline(config)
    assert opened == {"texts.csv": 1}, "a plan reads it once, too"


def prepare_folder(config: Config) -> Any:
    from xpoll.core.run_folder import RunFolder

    return RunFolder(Path(config.job.run_folder))


def test_what_was_read_is_in_the_folder(job: Path) -> None:
    prepared = prepare(load_config(job))
    rows = list(stream_records(prepared.folder.documents, Document))
    assert [(row.document_id, row.text, row.split) for row in rows][:2] == [
        ("0", "sentence 0", "train"),
        ("1", "sentence 1", "train"),
    ]
    assert prepared.inputs.documents == len(rows) == 6 == prepared.polls[0].plan.documents
    assert not prepared.is_settled


def test_a_poll_that_is_settled_is_not_prepared_again_and_rows_may_join(job: Path) -> None:
    config = load_config(job)
    prepare(config)
    answered(config, 6)
    folder = prepare_folder(config)
    folder.labels.write_text("made of these answers")
    written = folder.plan.stat().st_mtime_ns
    assert prepare(config).is_settled
    assert folder.plan.stat().st_mtime_ns == written
    with Path("texts.csv").open("a") as file:
        file.write("one more\n")
    grown = prepare(config)
    assert (grown.is_settled, grown.polls[0].plan.documents) == (False, 7)
    assert not folder.labels.exists(), "it is of the documents before"


def test_texts_may_change_until_one_is_answered(job: Path) -> None:
    config = load_config(job)
    prepare(config)
    Path("texts.csv").write_text("text\nanother\n")
    assert prepare(config).inputs.rows == {"train": 1, "gold": 0}
    answered(config, 1)
    Path("texts.csv").write_text("text\na third\n")
    before = prepare_folder(config).documents.read_bytes()
    with pytest.raises(InputError, match="the first 1 rows of texts.csv are not the ones that were polled"):
        prepare(config)
    assert prepare_folder(config).documents.read_bytes() == before


def test_a_folder_that_a_killed_preparation_left_is_taken(job: Path) -> None:
    Path("run").mkdir()
    Path("run/.documents.parquet.123.tmp").write_bytes(b"half")
    assert prepare(load_config(job)).inputs.documents == 6


@pytest.mark.engine
def test_a_whole_run_reads_its_input_once(tmp_path: Path, job: Path, opened: Counter[str]) -> None:
    rows = "".join(f"{i} {'fine and good' if i % 2 else 'bad and worse'} day\n" for i in range(40))
    Path("texts.csv").write_text("text\n" + rows)
    config = load_config(job, ["student.min_steps=2", "student.epochs=1"])
    whole_path(config)
    assert opened == {"texts.csv": 1}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("['good', '<|end|>']", "'<|end|>' holds '<|end|>', a control token"),
        ('["m2", "m\\u00b2"]', "have the same tokens"),
    ],
)
def test_labels_that_a_read_cannot_tell_apart_end_the_job_before_an_engine_starts(
    job: Path, tmp_path: Path, labels: str, said: str
) -> None:
    folder = make_tiny_llama(tmp_path / "tiny")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.save(str(folder / "tokenizer.json"))
    overrides = [f"task.labels={labels}", "panel.answer=read", "engine.backend=vllm", f'engine.model="{folder}"']
    with pytest.raises(ConfigError) as raised:
        outline(load_config(job, overrides))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    outline(load_config(job, [*overrides, "panel.answer=label"]))


def test_a_plan_says_which_rows_are_not_used(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = list(load_config(job).task.labels)
    Path("gold.csv").write_text(f"text,label\nnew,{labels[0].upper()}\nother,nonsense\n")
    outline(load_config(job, ["documents.gold_path=gold.csv"]))
    assert "1 of 2 gold rows are not scored; the first: row 'gold-1': gold label 'nonsense'" in capsys.readouterr().err
    Path("gold.csv").write_text("text,label\nother,nonsense\n")
    with pytest.raises(InputError, match="none of the 1 rows of gold.csv can be used"):
        outline(load_config(job, ["documents.gold_path=gold.csv"]))
