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

from core.files import read_json
from core.records import Completion, Consensus, Vote, from_table
from engine.journal import count_answers, read_completions
from tests.conftest import Xpoll
from tests.tiny import make_tiny_bert, make_tiny_llama

pytestmark = pytest.mark.engine

LABELS = ["bad", "good"]
DOCUMENTS, GOLD = 160, 20
WANTED = 2 * (DOCUMENTS + GOLD)  # answers of 2 personas
LONG, EMPTY = "too-long", "no-text"
REASONS = ("--set", "panel.answer=chain_of_thought")
START_S = 300  # an engine start takes 25 to 60 s here; a slower machine gets its time


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_llama(folder / "teacher", context=1024)
    make_tiny_bert(folder / "encoder")
    return folder


@pytest.fixture
def job(tmp_path: Path, models: Path) -> Path:
    """A job of 2 personas with one text that is too long for the model and one that is empty."""
    # Texts differ from their first letter on: the plan does not count on texts that begin alike.
    rows = [f"doc-{i},{i} days of {'sun' if i % 2 else 'rain'}" for i in range(DOCUMENTS - 2)]
    rows += [f"{LONG},{'very ' * 400}long", f"{EMPTY},"]
    (tmp_path / "texts.csv").write_text("id,text\n" + "\n".join(rows) + "\n")
    gold = [f"gold-{i},{i} times {'sun' if i % 2 else 'rain'},{'good' if i % 2 else 'bad'}" for i in range(GOLD)]
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


def test_killed_and_gone_on_with_step_by_step(job: Path, xpoll: Xpoll) -> None:
    """One test, because each start of the engine takes most of a minute."""
    run = job.parent / "run"
    before = killed_while_polling(job, run, xpoll)
    done = xpoll("poll", job, *REASONS, cwd=job.parent, timeout_s=START_S)
    assert done.returncode == 0, done.stderr
    after = {completion.key: completion for completion in read_completions(run / "completions")}
    assert len(after) == WANTED == count_answers(run / "completions")
    assert all(after[key] == completion for key, completion in before.items()), "a finished answer was asked again"

    for step in ("vote", "train", "evaluate", "report"):
        done = xpoll(step, run, cwd=job.parent, timeout_s=START_S)
        assert done.returncode == 0, (step, done.stderr)
        assert "Traceback" not in done.stderr
    check_bad_rows(run, list(after.values()))
    check_votes(run)
    check_metrics(run)

    predicted = xpoll("predict", run, "gold.csv", "out.csv", "--json", cwd=job.parent)
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout)["rows"] == GOLD
    status = json.loads(xpoll("status", run, "--json", cwd=job.parent).stdout)
    assert status["steps_done"] == ["poll", "vote", "train", "evaluate", "report"]
    again = xpoll("run", job, *REASONS, cwd=job.parent)
    assert again.returncode == 0
    assert "nothing left to do" in again.stderr
    refused = xpoll("run", job, cwd=job.parent)
    assert refused.returncode == 2
    assert "keys that differ: panel.answer" in refused.stderr


def killed_while_polling(job: Path, run: Path, xpoll: Xpoll) -> dict[object, Completion]:
    """The answers that `xpoll run` has kept when it is killed; its engine ends with it."""
    command = [sys.executable, "-m", "scripts.cli", "run", str(job), *REASONS]
    with subprocess.Popen(command, cwd=job.parent, stderr=subprocess.PIPE, text=True) as driver:
        until_s = time.monotonic() + START_S
        while count_answers(run / "completions") < 40:
            assert driver.poll() is None and time.monotonic() < until_s, driver.stderr and driver.stderr.read()
            time.sleep(0.1)
        below = psutil.Process(driver.pid).children(recursive=True)
        assert any("VLLM" in " ".join(process.cmdline()) for process in below), "the engine is not below the driver"
        os.kill(driver.pid, signal.SIGKILL)
    _, left = psutil.wait_procs(below, timeout=30)
    assert not left, f"these outlive the killed run: {[process.name() for process in left]}"
    answered = json.loads(xpoll("status", job, "--json", cwd=job.parent).stdout)["answered"]
    assert 40 <= answered < WANTED
    kept = journaled(run)
    assert len(kept) == answered
    return kept


def journaled(run: Path) -> dict[object, Completion]:
    """What a killed run left: opening its journal seals it, as the next run does."""
    from engine.journal import Journal

    with Journal(run / "completions"):
        pass
    return {completion.key: completion for completion in read_completions(run / "completions")}


def check_bad_rows(run: Path, completions: list[Completion]) -> None:
    errors = {(c.document_id, c.error_kind) for c in completions if c.error_kind is not None}
    assert errors == {(LONG, "context_length"), (EMPTY, "document")}
    answered = [completion for completion in completions if completion.error_kind is None]
    assert len(answered) == 2 * (DOCUMENTS + GOLD - 2)
    assert sum(completion.cached_prompt_tokens for completion in answered) > 0, "shared prefixes are not reused"
    labels = {row.document_id: row for row in rows_of(run / "labels.parquet", Consensus)}
    assert len(labels) == DOCUMENTS + GOLD
    assert labels[LONG].label is None
    assert labels[LONG].abstained == "no readable vote"


def check_votes(run: Path) -> None:
    read = [vote for vote in rows_of(run / "votes.parquet", Vote) if vote.label is not None]
    assert read, "a random model under a JSON schema finishes some answers"
    assert {vote.label for vote in read} <= set(LABELS)
    assert any(vote.stated_reason for vote in read), "a schema with a reason gives answers with one"
    assert any(vote.distribution is not None for vote in read), "no logprobs of the label inside the JSON"
    assert read_json(run / "metrics.json")["votes"]["counted"] == len(read)


def check_metrics(run: Path) -> None:
    metrics = read_json(run / "metrics.json")
    assert metrics["errors"] == {"context_length": 2, "document": 2}
    assert (metrics["prompts"], metrics["documents"]) == (WANTED, DOCUMENTS + GOLD)
    assert metrics["completions"] == WANTED - 4
    assert metrics["labels"]["abstained"] >= 2
    engine, planned = metrics["engine"], read_json(run / "plan.json")
    assert engine["starts"] == 2
    assert engine["cached_share"] == pytest.approx(engine["cached_prompt_tokens"] / engine["prompt_tokens"], abs=1e-4)
    assert engine["prompt_order"] == planned["prompt_order"] == "persona_first"
    assert engine["predicted_cached_share"] == planned["predicted_cached_share"]
    assert engine["predicted_cached_share"] == pytest.approx(engine["cached_share"], abs=0.03)
    assert {"schema_version", "votes", "engine", "teacher", "student", "energy", "cost"} <= metrics.keys()
    energy = metrics["energy"]
    assert {"poll", "vote", "train", "evaluate"} <= energy["stages"].keys() == energy["wall_s"].keys()
    assert (energy["source"] == "none") == (energy["energy_j"] is None) == bool(energy["why"]), energy
    assert (run / "report.html").stat().st_size > 10_000
