"""The dispatcher on real Ray workers with a simulated engine that fails on purpose."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Xpoll
from tests.support.simulated_job import write_simulated_job
from xpoll.core.config.job import EngineConfig
from xpoll.core.files import read_json
from xpoll.core.records import AnswerSchema, Prompt, Sampling
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import count_answers, read_completions
from xpoll.engine.run import Workload, answer_prompts

pytestmark = pytest.mark.engine

DOCUMENTS = 600


def job() -> Workload:
    sampling, schema = Sampling(0.8, 1.0, 16), AnswerSchema(("good", "bad"))
    messages = ({"role": "user", "content": "Text: the sun shines"},)
    prompts = (
        Prompt(f"doc-{i}", "p", sample, messages, sampling, schema) for i in range(DOCUMENTS) for sample in (0, 1)
    )
    return Workload(prompts, DOCUMENTS, 2)


def test_poison_of_every_kind_becomes_error_rows_and_all_else_is_answered_once(tmp_path: Path) -> None:
    simulated = {
        "time_scale": 0,
        "exit_on": ["doc-50"],  # the whole process ends
        "die_on": ["doc-200", "doc-201"],  # the engine dies, twice side by side
        "hang_on": ["doc-599"],  # nothing comes any more
    }
    config = EngineConfig(backend="simulated", device="cpu", hang_timeout_s=6, max_in_flight=64, simulated=simulated)
    folder = RunFolder(tmp_path)
    answer_prompts(job(), config=config, folder=folder)
    completions = list(read_completions(folder.completions))
    assert len(completions) == len({completion.key for completion in completions}) == 2 * DOCUMENTS
    poison = {completion.document_id for completion in completions if completion.error_kind == "poison"}
    assert poison == {"doc-50", "doc-200", "doc-201", "doc-599"}
    assert Counter(completion.error_kind for completion in completions) == {None: 2 * DOCUMENTS - 8, "poison": 8}
    assert answer_prompts(job(), config=config, folder=folder) == 0, "a settled run asks nothing"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_what_is_in_flight_finish_and_the_same_command_goes_on(
    tmp_path: Path, xpoll: Xpoll, number: signal.Signals
) -> None:
    write_simulated_job(tmp_path, documents=1500, max_in_flight=32, time_scale=2.0)
    command = [sys.executable, "-P", "-m", "xpoll", "poll", "job.toml"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as driver:
        while count_answers(tmp_path / "run/completions") < 50:
            assert driver.poll() is None, driver.stderr and driver.stderr.read()
            time.sleep(0.05)
        driver.send_signal(number)
        _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130, said
    assert "waiting for the answers in flight" in said
    assert "what was done is kept -> xpoll poll job.toml" in said
    assert "Traceback" not in said
    kept = count_answers(tmp_path / "run/completions")
    assert 50 <= kept < 1500
    override = ("--set", "engine.simulated.time_scale=0")
    refused = xpoll("poll", "job.toml", *override, cwd=tmp_path)
    assert "keys that differ: engine.simulated.time_scale" in refused.stderr
    done = xpoll("poll", "job.toml", "--json", cwd=tmp_path, timeout_s=120)
    assert done.returncode == 0, done.stderr
    answers = [completion.key for completion in read_completions(tmp_path / "run/completions")]
    assert len(answers) == len(set(answers)) == 1500
    assert json.loads(done.stdout)["step"] == "poll"
    sessions = read_json(tmp_path / "run/engine.json")["sessions"]
    assert [session["answers"] for session in sessions] == [kept, 1500 - kept]
    assert all(session["wall_s"] > 0 for session in sessions)
