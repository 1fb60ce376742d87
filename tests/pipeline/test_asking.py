"""Teachers that need no common device are asked at the same time, each group in a process of its own."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_endpoint import Answer, FakeEndpoint, completion, refusal, serving
from xpoll.core.config.file import load_config
from xpoll.core.config.teachers import teachers_of
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import count_answers
from xpoll.pipeline.asking import groups_of
from xpoll.scripts.cli import main

JOB = """
job.run_folder = "run"
documents.path = "texts.csv"
task.labels = ["good", "bad"]
panel.personas = ["annotator"]
{teachers}
"""


def teacher(name: str, engine: str) -> str:
    return f'[[teachers]]\nname = "{name}"\npanel = {{answer = "label"}}\nengine = {{{engine}}}\n'


def endpoint(name: str, url: str) -> str:
    return teacher(name, f'backend = "openai", model = "m", openai = {{base_url = "{url}"}}')


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes a job of some teachers into an empty folder, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("texts.csv").write_text("text\n" + "\n".join(f"Text {number}." for number in range(8)))

    def written(teachers: str) -> Path:
        Path("job.toml").write_text(JOB.format(teachers=teachers))
        return Path("job.toml")

    return written


def test_those_that_share_a_place_are_one_group(job: Callable[[str], Path]) -> None:
    teachers = (
        teacher("one", 'backend = "simulated", device = "cpu"')
        + endpoint("two", "http://127.0.0.1:1/v1")
        + teacher("three", 'backend = "encoder", model = "none", device = "cpu"').replace('"label"', '"match"')
        + endpoint("four", "http://127.0.0.1:2/v1")
        + endpoint("five", "http://127.0.0.1:1/v1")
    )
    config = load_config(job(teachers))
    found = [[each.name for each in group] for group in groups_of(teachers_of(config))]
    assert found == [["one", "three"], ["two", "five"], ["four"]]


@pytest.mark.engine
def test_two_endpoints_are_asked_at_once_and_a_third_that_refuses_stops_neither(
    job: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    both_are_asked = threading.Barrier(2)

    def meeting(body: dict[str, Any], number: int) -> Answer:
        if number == 0:
            both_are_asked.wait(120)
        return completion(body, "good")

    with ExitStack() as stack:
        yea, nay = (stack.enter_context(serving(FakeEndpoint(meeting))) for _ in range(2))
        gone = stack.enter_context(serving(FakeEndpoint(lambda *_: refusal(401, "no such key"))))
        gone.models = refusal(401, "no such key")
        path = job(endpoint("yea", yea.url) + endpoint("nay", nay.url) + endpoint("gone", gone.url))
        assert main(["poll", str(path)]) == 2
    said = capfd.readouterr().err
    assert "asking side by side: yea; nay; gone" in said
    assert re.search("^xpoll: gone: .* does not accept .* -> export OPENAI_API_KEY", said.splitlines()[-1])
    assert "yea: starting openai" in said
    kept = {name: count_answers(poll.completions) for name, poll in RunFolder(Path("run")).polls().items()}
    assert kept == {"yea": 8, "nay": 8, "gone": 0}


@pytest.mark.engine
def test_sigterm_reaches_all_and_the_same_command_resumes(job: Callable[[str], Path]) -> None:
    requests = threading.Semaphore(0)
    holds_back = [True]

    def script(body: dict[str, Any], number: int) -> Answer:
        requests.release()
        answer = completion(body, "good")
        answer.delay_s = 600.0 if holds_back[0] and number >= 4 else 0.0
        return answer

    with serving(FakeEndpoint(script)) as yea, serving(FakeEndpoint(script)) as nay:
        path = job(endpoint("yea", yea.url) + endpoint("nay", nay.url))
        command = [sys.executable, "-P", "-m", "xpoll", "poll", str(path)]
        running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for _ in range(16):
            assert requests.acquire(timeout=120)
        running.terminate()
        folders = RunFolder(Path("run")).polls().values()
        given_up_s = time.monotonic() + 60
        while [count_answers(poll.completions) for poll in folders] != [4, 4] and time.monotonic() < given_up_s:
            time.sleep(0.1)
        running.terminate()  # the second does not wait for the answers in flight
        assert running.wait(60) == 130, running.stderr and running.stderr.read()
        assert [count_answers(poll.completions) for poll in folders] == [4, 4]
        holds_back[0] = False
        assert main(["poll", str(path)]) == 0
        assert [count_answers(poll.completions) for poll in folders] == [8, 8]
        assert (len(yea.bodies), len(nay.bodies)) == (12, 12)
