"""Every step reads all the answers there are, or says in one line which are lost and what mends it."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.in_process import answer_in_process
from tests.support.simulated_job import write_simulated_job
from xpoll.core.files import cannot_write, read_json, write_json, write_table
from xpoll.core.records import COMPLETION_SCHEMA
from xpoll.engine.journal.answers import count_answers, read_completions
from xpoll.engine.journal.frames import framed, new_mark
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.sealed import parts
from xpoll.scripts.cli import main

DOCUMENTS = 60
PART = "run/completions/part-00001.parquet"


@pytest.fixture
def polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder whose poll is done, in two parts; the current folder is the one around it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
    job = write_simulated_job(tmp_path, documents=DOCUMENTS, max_in_flight=8, time_scale=0)
    job.write_text(job.read_text().replace('device = "cpu"', 'device = "cpu"\nrows_per_part = 32'))
    assert main(["poll", "job.toml"]) == 0
    assert len(parts(Path("run/completions"))) == 2
    return Path("run")


def unseal(run: Path) -> None:
    """Puts the folder into the state between the last answer and the seal."""
    part = Path(PART)
    (seal,) = [line for line in (run / "completions/sealed.jsonl").read_text().splitlines() if part.name in line]
    rows = pq.read_table(part).cast(COMPLETION_SCHEMA).to_batches()
    pieces = framed(rows, mark=new_mark(), rows_before=0)
    (run / "completions/journal-00001.arrows").write_bytes(b"".join(bytes(piece) for piece in pieces))
    part.unlink()
    lines = (run / "completions/sealed.jsonl").read_text().replace(seal + "\n", "")
    (run / "completions/sealed.jsonl").write_text(lines)


def labels(run: Path) -> list[str | None]:
    return pq.read_table(run / "labels.parquet").column("label").to_pylist()


def test_a_run_that_was_stopped_between_its_last_answer_and_the_seal_is_voted_in_full(polled: Path) -> None:
    assert main(["vote", "run"]) == 0
    whole = labels(polled)
    assert None not in whole
    unseal(polled)
    assert main(["check", "run"]) == 0
    assert main(["vote", "run"]) == 0
    assert labels(polled) == whole


def test_a_disk_that_is_full_while_a_part_is_sealed_loses_no_vote(
    polled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, _table: pa.Table) -> None:
        raise cannot_write(path, OSError(28, "No space left on device"))

    shutil.rmtree(polled)
    with monkeypatch.context() as patch:
        patch.setattr("xpoll.engine.journal.journal.write_part", full)
        assert main(["poll", "job.toml", "--set", "engine.rows_per_part=1000"]) == 2
    assert "part-00000.parquet: No space left on device" in capsys.readouterr().err
    assert (count_answers(polled / "completions"), parts(polled / "completions")) == (DOCUMENTS, [])
    assert main(["vote", "run"]) == 0
    assert None not in labels(polled)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "is missing; 28 answers were in it"),
        (lambda path: path.write_bytes(b""), "has 0 bytes where"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "bytes where"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:300] + b"\0" + path.read_bytes()[301:]),
            "its checksum differs",
        ),
    ],
    ids=["missing", "empty", "cut", "changed"],
)
@pytest.mark.parametrize("step", ["status", "vote", "train", "evaluate", "report", "check"])
def test_a_part_that_is_lost_is_one_line_in_every_step(
    polled: Path, capsys: pytest.CaptureFixture[str], damage: object, said: str, step: str
) -> None:
    assert main(["vote", "run"]) == 0
    damage(Path(PART))  # type: ignore[operator]
    capsys.readouterr()
    assert main([step, "run"]) == 2
    shown = capsys.readouterr()
    lines = [line for line in (shown.out + shown.err).splitlines() if PART in line and "->" in line]
    assert len(lines) == 1
    assert said in lines[0]
    assert lines[0].endswith("-> xpoll poll run")
    assert "Traceback" not in shown.err


def test_a_poll_asks_just_what_a_lost_part_held_and_keeps_what_is_left_of_it(
    polled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["vote", "run"]) == 0
    before = list(read_completions(polled / "completions"))
    Path(PART).write_bytes(b"x" * 500)
    capsys.readouterr()
    assert main(["poll", "run"]) == 0
    assert "28 answers will be asked again" in capsys.readouterr().err
    after = {answer.key: answer for answer in read_completions(polled / "completions")}
    assert len(after) == len(before) == DOCUMENTS
    assert all(after[answer.key] == answer for answer in before[:32]), "what other parts hold stays"
    assert Path(f"{PART}.damaged").read_bytes() == b"x" * 500
    assert not (polled / "labels.parquet").exists(), "it was made of answers that are gone"
    assert main(["vote", "run"]) == 0
    assert main(["check", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["whole"], found["polls"][0]["set_aside"]) == (True, ["part-00001.parquet.damaged"])


def test_check_names_what_is_lost_and_which_documents_miss_answers(
    polled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = pq.read_table(PART).column("document_id").to_pylist()
    Path(PART).unlink()
    capsys.readouterr()
    assert main(["check", "run", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    (poll,) = found["polls"]
    assert (found["whole"], found["commands"]) == (False, ["xpoll poll run"])
    assert (poll["answers"], poll["counted"]) == (32, DOCUMENTS)
    assert [(each["file"], each["lost"]) for each in poll["files"]] == [
        ("part-00000.parquet", 0),
        ("part-00001.parquet", len(missing)),
    ]
    assert poll["documents"]["unsettled_ids"] == missing[:10]


def test_a_part_that_is_there_twice_is_found(polled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(PART, "run/completions/part-00007.parquet")
    assert main(["vote", "run"]) == 2
    assert "holds 88 answers where 60 were counted -> xpoll check run" in capsys.readouterr().err
    assert main(["check", "run"]) == 2
    assert "part-00007.parquet has 28 answers that a file before it has, too -> move it" in capsys.readouterr().out
    Path("run/completions/part-00007.parquet").unlink()
    assert main(["check", "run"]) == 0


def test_a_poll_that_is_not_done_is_whole_and_check_says_how_it_goes_on(
    polled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(polled / "completions")
    engine = {**read_json(polled / "engine.json"), "answers": 3, "sessions": []}
    del engine["settled_documents"]
    write_json(polled / "engine.json", engine)
    with Journal(polled / "completions"):
        pass
    capsys.readouterr()
    assert main(["check", "run"]) == 2, "three answers were counted"
    write_json(polled / "engine.json", {**engine, "answers": 0})
    capsys.readouterr()
    assert main(["check", "run"]) == 0
    shown = capsys.readouterr().out
    assert "0 of 60 documents settled" in shown
    assert "type: xpoll poll run" in shown


def test_votes_of_fewer_answers_than_there_are_are_counted_again(
    polled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["vote", "run"]) == 0
    votes = pq.read_table("run/votes.parquet")
    write_table(Path("run/votes.parquet"), votes.slice(0, 10))
    for step in ("train", "evaluate", "report", "check"):
        assert main([step, "run"]) == 2
        shown = capsys.readouterr()
        assert "run/votes.parquet has 10 votes of 60 answers -> xpoll vote run" in shown.out + shown.err
    assert main(["vote", "run"]) == 0
    assert main(["check", "run"]) == 0


@pytest.mark.parametrize("content", [b"", b"{", b"\0\0\0", b"[1]"])
def test_a_damaged_engine_json_is_one_line_and_holds_no_answer(
    polled: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (polled / "engine.json").write_bytes(content)
    for step in ("status", "vote", "poll", "check"):
        assert main([step, "run"]) == 2
        assert "run/engine.json cannot be read" in capsys.readouterr().err
    (polled / "engine.json").unlink()
    assert main(["poll", "run"]) == 0
    assert main(["vote", "run"]) == 0
    assert count_answers(polled / "completions") == DOCUMENTS


@pytest.mark.parametrize(
    ("name", "command"),
    [("documents", ["vote", "run"]), ("labels", ["report", "run"]), ("votes", ["vote", "run", "--compare"])],
)
def test_a_damaged_table_of_a_later_step_is_one_line(
    polled: Path, capsys: pytest.CaptureFixture[str], name: str, command: list[str]
) -> None:
    assert main(["vote", "run"]) == 0
    path = polled / f"{name}.parquet"
    whole = path.read_bytes()
    flipped = whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]
    for rotten in (b"", whole[:-100], *([flipped] if name != "labels" else [])):
        path.write_bytes(rotten)
        capsys.readouterr()
        assert main(command) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "-> " in line]
        assert f"run/{name}.parquet" in line
