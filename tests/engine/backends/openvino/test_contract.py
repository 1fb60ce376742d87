"""What a run promises holds on openvino as on vLLM: a killed driver loses nothing, poison costs its own row."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.conftest import Xpoll
from tests.support.reckless_openvino import POISON
from tests.support.tiny import make_tiny_llama
from xpoll.core.config.job import EngineConfig
from xpoll.core.files import read_json
from xpoll.core.records import AnswerSchema, Completion, Prompt, Sampling
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import count_answers, read_completions
from xpoll.engine.journal.journal import Journal
from xpoll.engine.run import Workload, answer_prompts

pytest.importorskip("openvino_genai")
pytest.importorskip("openvino_tokenizers")
pytestmark = pytest.mark.engine

DOCUMENTS, START_S = 60, 300


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_job(folder: Path) -> Path:
    rows = "".join(f"t{i},the weather is number {i} today\n" for i in range(DOCUMENTS))
    (folder / "texts.csv").write_text(f"id,text\n{rows}")
    job = f"""
        [job]
        name = "job"
        run_folder = "run"
        [documents]
        path = "texts.csv"
        id_column = "id"
        [task]
        labels = ["good", "bad"]
        [panel]
        personas = ["software_engineer"]
        [engine]
        backend = "openvino"
        device = "cpu"
        replicas = 1
        model = "{make_tiny_llama(folder / "tiny", context=4096)}"
        """
    (folder / "job.toml").write_text(textwrap.dedent(job))
    return folder / "job.toml"


def journaled(run: Path) -> dict[object, Completion]:
    """What a killed run left: opening its journal seals it, as the next run does."""
    with Journal(run / "completions"):
        pass
    return {completion.key: completion for completion in read_completions(run / "completions")}


def test_killed_and_run_again_no_finished_answer_is_lost_and_none_is_asked_twice(tmp_path: Path, xpoll: Xpoll) -> None:
    job, run = write_job(tmp_path), tmp_path / "run"
    command = [sys.executable, "-P", "-m", "xpoll", "poll", str(job)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as driver:
        until_s = time.monotonic() + START_S
        while count_answers(run / "completions") < 5:
            assert driver.poll() is None and time.monotonic() < until_s, driver.stderr and driver.stderr.read()
            time.sleep(0.05)
        below = psutil.Process(driver.pid).children(recursive=True)
        os.kill(driver.pid, signal.SIGKILL)
    _, left = psutil.wait_procs(below, timeout=60)
    assert not left, f"these outlive the killed run: {[process.name() for process in left]}"
    before = journaled(run)
    assert len(before) >= 5

    done = xpoll("poll", job, cwd=tmp_path, timeout_s=START_S)
    assert done.returncode == 0, done.stderr
    after = {completion.key: completion for completion in read_completions(run / "completions")}
    assert len(after) == DOCUMENTS == count_answers(run / "completions")
    assert all(after[key] == completion for key, completion in before.items()), "a finished answer was asked again"
    assert {completion.error for completion in after.values()} == {None}
    assert {completion.text for completion in after.values()} <= {"good", "bad"}
    assert len(read_json(run / "engine.json")["sessions"]) == 2, "the killed one, and the one that finished"


def test_a_document_that_kills_the_engine_costs_its_own_row_and_no_other(tmp_path: Path) -> None:
    model = make_tiny_llama(tmp_path / "tiny")
    messages = ({"role": "user", "content": "Text: the sun shines"},)
    sampling, schema = Sampling(0.8, 1.0, 4), AnswerSchema(("good", "bad"))
    prompts = (Prompt(f"doc-{i}", "p", 0, messages, sampling, schema) for i in range(2))
    config = EngineConfig(
        backend="tests.support.reckless_openvino:RecklessOpenVino", device="cpu", model=str(model), max_restarts=1
    )
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    answer_prompts(Workload(prompts, 2, 1), config=config, folder=folder)
    completions = list(read_completions(folder.completions))
    assert Counter(completion.error_kind for completion in completions) == {None: 1, "poison": 1}
    assert {completion.document_id for completion in completions if completion.error_kind} == {POISON}
    assert {completion.text for completion in completions} <= {None, "good", "bad"}
