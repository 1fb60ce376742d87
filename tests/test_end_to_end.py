"""The real engine on a model of random weights: vLLM's AsyncLLM in a Ray actor on this machine's CPU."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from tests.conftest import Xpoll
from tests.support.tiny import make_tiny_bert, make_tiny_llama
from xpoll.core.files import read_json
from xpoll.core.records import Completion, Consensus, Vote, from_table
from xpoll.engine.journal.answers import count_answers, read_completions

pytestmark = pytest.mark.engine

LABELS = ["bad", "good"]
DOCUMENTS, GOLD = 64, 20
LONG, EMPTY = "too-long", "no-text"
START_S = 300  # an engine start takes 25 to 60 s here; a slower machine gets its time


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_llama(folder / "teacher", context=1024)
    make_tiny_bert(folder / "encoder")
    return folder


def write_job(tmp_path: Path, models: Path) -> Path:
    """A job of 2 personas with one text that is too long for the model and one that is empty."""
    rows = [f"doc-{i},the {'sun' if i % 2 else 'rain'} stays for {i} days" for i in range(DOCUMENTS - 2)]
    rows += [f"{LONG},{'very ' * 400}long", f"{EMPTY},"]
    (tmp_path / "texts.csv").write_text("id,text\n" + "\n".join(rows) + "\n")
    gold = [f"gold-{i},{'sun' if i % 2 else 'rain'} again,{'good' if i % 2 else 'bad'}" for i in range(GOLD)]
    (tmp_path / "gold.csv").write_text("id,text,label\n" + "\n".join(gold) + "\n")
    (tmp_path / "job.toml").write_text(
        f"""
        [job]
        run_folder = "run"
        [documents]
        path = "texts.csv"
        id_column = "id"
        gold_path = "gold.csv"
        [task]
        labels = {LABELS}
        [panel]
        personas = ["annotator", "retail_investor"]
        reason_max_chars = 16
        [engine]
        device = "cpu"
        model = "{models}/teacher"
        [vote]
        method = "calibrated"
        [student]
        encoder = "{models}/encoder"
        min_steps = 0
        epochs = 1
        """
    )
    return tmp_path / "job.toml"


def rows_of(path: Path, record: type) -> list:  # type: ignore[type-arg]
    return from_table(pq.read_table(path), record)


def test_killed_and_finished_step_by_step_nothing_is_lost_or_asked_twice_and_bad_rows_touch_no_other(
    tmp_path: Path, models: Path, xpoll: Xpoll
) -> None:
    job, run = write_job(tmp_path, models), tmp_path / "run"
    changes = ("--set", "panel.answer=chain_of_thought", "--set", "student.recipe=robust")
    killed_after(20, tmp_path, [sys.executable, "-P", "-m", "xpoll", "run", str(job), *changes])

    state = xpoll("status", job, "--json", cwd=tmp_path)
    answered = json.loads(state.stdout)["answered"]
    wanted = 2 * (DOCUMENTS + GOLD)
    assert 20 <= answered < wanted, state.stdout
    before = journaled(run)
    assert len(before) == answered

    for step in ("poll", "vote", "train", "evaluate", "report"):
        given = (job, *changes) if step == "poll" else (run,)
        done = xpoll(step, *given, cwd=tmp_path, timeout_s=START_S)
        assert done.returncode == 0, (step, done.stderr)
        assert "Traceback" not in done.stderr
    after = {completion.key: completion for completion in read_completions(run / "completions")}
    assert len(after) == wanted == count_answers(run / "completions")
    assert all(after[key] == completion for key, completion in before.items()), "a finished answer was asked again"
    check_answers(run, list(after.values()))
    check_metrics(run, wanted)

    predicted = xpoll("predict", run, "gold.csv", "out.csv", "--json", cwd=tmp_path)
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout)["rows"] == GOLD
    status = json.loads(xpoll("status", run, "--json", cwd=tmp_path).stdout)
    assert status["steps_done"] == ["poll", "vote", "train", "evaluate", "report"]
    again = xpoll("run", job, *changes, cwd=tmp_path)
    assert again.returncode == 0
    assert "nothing left to do" in again.stderr
    refused = xpoll("run", job, cwd=tmp_path)
    assert refused.returncode == 2
    assert "keys that differ: panel.answer" in refused.stderr


def killed_after(answers: int, folder: Path, command: list[str]) -> None:
    """Runs it, kills it with SIGKILL once so many answers are kept, and waits until no process of it is left."""
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as driver:
        until_s = time.monotonic() + START_S
        while count_answers(folder / "run/completions") < answers:
            assert driver.poll() is None and time.monotonic() < until_s, driver.stderr and driver.stderr.read()
            time.sleep(0.1)
        below = psutil.Process(driver.pid).children(recursive=True)
        assert any("WorkerActor" in " ".join(each.cmdline()) for each in below), "the engine is not below the driver"
        os.kill(driver.pid, signal.SIGKILL)
    _, left = psutil.wait_procs(below, timeout=30)
    assert not left, f"these outlive the killed run: {[process.name() for process in left]}"


def check_answers(run: Path, completions: list[Completion]) -> None:
    errors = {(each.document_id, each.error_kind) for each in completions if each.error_kind is not None}
    assert errors == {(LONG, "context_length"), (EMPTY, "document")}
    answered = [each for each in completions if each.error_kind is None]
    assert len(answered) == 2 * (DOCUMENTS + GOLD - 2)
    assert sum(each.cached_prompt_tokens for each in answered) > 0, "shared prefixes are not reused"
    votes = rows_of(run / "votes.parquet", Vote)
    read = [vote for vote in votes if vote.label is not None]
    assert read, "a random model under a JSON schema finishes some answers"
    assert {vote.label for vote in read} <= set(LABELS)
    assert any(vote.stated_reason for vote in read), "a schema with a reason gives answers with one"
    assert any(vote.distribution is not None for vote in read), "no logprobs of the label inside the JSON"
    labels = {row.document_id: row for row in rows_of(run / "labels.parquet", Consensus)}
    assert len(labels) == DOCUMENTS + GOLD
    assert labels[LONG].label is None
    assert labels[LONG].abstained == "no readable vote"
    assert read_json(run / "metrics.json")["votes"]["counted"] == len(read)


def check_metrics(run: Path, prompts: int) -> None:
    metrics = read_json(run / "metrics.json")
    assert metrics["prompts"] == prompts
    assert metrics["errors"] == {"context_length": 2, "document": 2}
    assert metrics["documents"] == DOCUMENTS + GOLD
    assert metrics["completions"] == prompts - 4
    assert metrics["labels"]["abstained"] >= 2
    engine, planned = metrics["engine"], read_json(run / "plan.json")
    assert engine["starts"] == 2
    assert engine["cached_share"] == pytest.approx(engine["cached_prompt_tokens"] / engine["prompt_tokens"], abs=1e-4)
    assert engine["prompt_order"] == planned["prompt_order"] == "persona_first"
    assert engine["predicted_cached_share"] == planned["predicted_cached_share"]
    # The text that is too long is in the prediction, a tenth of its tokens, and not in what was computed.
    assert engine["predicted_cached_share"] == pytest.approx(engine["cached_share"], abs=0.15)
    assert {"schema_version", "votes", "engine", "teacher", "student", "energy", "cost"} <= metrics.keys()
    energy = metrics["energy"]
    assert {"poll", "vote", "train", "evaluate"} <= energy["stages"].keys() == energy["wall_s"].keys()
    assert (energy["source"] == "none") == (energy["energy_j"] is None) == bool(energy["why"]), energy
    assert (run / "report.html").stat().st_size > 10_000
    assert read_json(run / "student/training.json")["recipe"] == "robust"


def journaled(run: Path) -> dict[object, Completion]:
    """What a killed run left: opening its journal seals it, as the next run does."""
    from xpoll.engine.journal.journal import Journal

    with Journal(run / "completions"):
        pass
    return {completion.key: completion for completion in read_completions(run / "completions")}
