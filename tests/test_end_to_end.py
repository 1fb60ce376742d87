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
DOCUMENTS, GOLD = 160, 20
FEW = 64  # documents of the job that is killed, whose answers are long
LONG, EMPTY = "too-long", "no-text"
START_S = 300  # an engine start takes 25 to 60 s here; a slower machine gets its time


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_llama(folder / "teacher", context=1024)
    make_tiny_bert(folder / "encoder")
    return folder


def write_job(tmp_path: Path, models: Path, documents: int) -> Path:
    """A job of 2 personas with one text that is too long for the model and one that is empty."""
    rows = [f"doc-{i},the {'sun' if i % 2 else 'rain'} stays for {i} days" for i in range(documents - 2)]
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


def test_killed_and_run_again_no_finished_answer_is_lost_and_none_is_asked_twice(
    tmp_path: Path, models: Path, xpoll: Xpoll
) -> None:
    job, run = write_job(tmp_path, models, FEW), tmp_path / "run"
    changes = ("--set", "panel.answer=chain_of_thought", "--set", "student.recipe=robust")
    command = [sys.executable, "-P", "-m", "xpoll", "run", str(job), *changes]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as driver:
        until_s = time.monotonic() + START_S
        while count_answers(run / "completions") < 20:
            assert driver.poll() is None and time.monotonic() < until_s, driver.stderr and driver.stderr.read()
            time.sleep(0.1)
        below = psutil.Process(driver.pid).children(recursive=True)
        assert any("VLLM" in " ".join(process.cmdline()) for process in below), "the engine is not below the driver"
        os.kill(driver.pid, signal.SIGKILL)
    _, left = psutil.wait_procs(below, timeout=30)
    assert not left, f"these outlive the killed run: {[process.name() for process in left]}"

    state = xpoll("status", job, "--json", cwd=tmp_path)
    answered = json.loads(state.stdout)["answered"]
    wanted = 2 * (FEW + GOLD)
    assert 20 <= answered < wanted, state.stdout
    before = journaled(run)
    assert len(before) == answered

    done = xpoll("run", job, *changes, cwd=tmp_path, timeout_s=START_S)
    assert done.returncode == 0, done.stderr
    after = {completion.key: completion for completion in read_completions(run / "completions")}
    assert len(after) == wanted == count_answers(run / "completions")
    assert all(after[key] == completion for key, completion in before.items()), "a finished answer was asked again"

    votes = rows_of(run / "votes.parquet", Vote)
    read = [vote for vote in votes if vote.label is not None]
    assert read, "a random model under a JSON schema finishes some answers"
    assert {vote.label for vote in read} <= set(LABELS)
    assert any(vote.stated_reason for vote in read), "a schema with a reason gives answers with one"
    assert any(vote.distribution is not None for vote in read), "no logprobs of the label inside the JSON"
    metrics = read_json(run / "metrics.json")
    assert metrics["prompts"] == wanted
    assert metrics["engine"]["starts"] == 2
    assert metrics["votes"]["counted"] == len(read)
    assert read_json(run / "student/training.json")["recipe"] == "robust"

    again = xpoll("run", job, *changes, cwd=tmp_path)
    assert again.returncode == 0
    assert "nothing left to do" in again.stderr
    refused = xpoll("run", job, cwd=tmp_path)
    assert refused.returncode == 2
    assert "keys that differ: panel.answer" in refused.stderr


def journaled(run: Path) -> dict[object, Completion]:
    """What a killed run left: opening its journal seals it, as the next run does."""
    from xpoll.engine.journal.journal import Journal

    with Journal(run / "completions"):
        pass
    return {completion.key: completion for completion in read_completions(run / "completions")}


def test_each_step_can_be_run_alone_and_bad_rows_do_not_touch_their_neighbours(
    tmp_path: Path, models: Path, xpoll: Xpoll
) -> None:
    job, run = write_job(tmp_path, models, DOCUMENTS), tmp_path / "run"
    for step in ("poll", "vote", "train", "evaluate", "report"):
        done = xpoll(step, job if step == "poll" else run, cwd=tmp_path, timeout_s=START_S)
        assert done.returncode == 0, (step, done.stderr)
        assert "Traceback" not in done.stderr

    completions = list(read_completions(run / "completions"))
    errors = {(c.document_id, c.error_kind) for c in completions if c.error_kind is not None}
    assert errors == {(LONG, "context_length"), (EMPTY, "document")}
    answered = [completion for completion in completions if completion.error_kind is None]
    assert len(answered) == 2 * (DOCUMENTS + GOLD - 2)
    assert {completion.text for completion in answered} <= set(LABELS)
    assert all(completion.choice_logprobs is not None for completion in answered)
    assert sum(completion.cached_prompt_tokens for completion in answered) > 0, "shared prefixes are not reused"

    labels = {row.document_id: row for row in rows_of(run / "labels.parquet", Consensus)}
    assert len(labels) == DOCUMENTS + GOLD
    assert labels[LONG].label is None
    assert labels[LONG].abstained == "no readable vote"

    metrics = read_json(run / "metrics.json")
    assert metrics["errors"] == {"context_length": 2, "document": 2}
    assert metrics["documents"] == DOCUMENTS + GOLD
    assert metrics["completions"] == len(answered)
    assert metrics["labels"]["abstained"] >= 2
    engine, planned = metrics["engine"], read_json(run / "plan.json")
    assert engine["cached_share"] == pytest.approx(engine["cached_prompt_tokens"] / engine["prompt_tokens"], abs=1e-4)
    assert engine["prompt_order"] == planned["prompt_order"] == "persona_first"
    assert engine["predicted_cached_share"] == planned["predicted_cached_share"]
    assert engine["predicted_cached_share"] == pytest.approx(engine["cached_share"], abs=0.03)
    assert {"schema_version", "votes", "engine", "teacher", "student", "energy", "cost"} <= metrics.keys()
    energy = metrics["energy"]
    assert {"poll", "vote", "train", "evaluate"} <= energy["stages"].keys() == energy["wall_s"].keys()
    assert (energy["source"] == "none") == (energy["energy_j"] is None) == bool(energy["why"]), energy
    assert (run / "report.html").stat().st_size > 10_000

    predicted = xpoll("predict", run, "gold.csv", "out.csv", "--json", cwd=tmp_path)
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout)["rows"] == GOLD
    status = json.loads(xpoll("status", run, "--json", cwd=tmp_path).stdout)
    assert status["steps_done"] == ["poll", "vote", "train", "evaluate", "report"]
