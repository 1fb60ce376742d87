"""`xpoll serve` as a user has it: an address that answers, and nothing left when it is ended."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from tests.conftest import Xpoll
from tests.support.listening import LOOPBACK, listening_below
from tests.support.served import asked
from tests.support.tiny import make_tiny_llama

JOB = """
[documents]
path = "texts.csv"
[task]
labels = ["bad", "good"]
[engine]
device = "cpu"
model = "{model}"
[engine.vllm]
max_num_seqs = 16
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(url: str, **body: Any) -> str:
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=120) as reply:
        return str(reply.read().decode())


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=120) as reply:
        return str(reply.read().decode())


@pytest.mark.engine
def test_one_address_answers_and_a_signal_ends_every_process(tmp_path: Path) -> None:
    model = make_tiny_llama(tmp_path / "tiny")
    (tmp_path / "job.toml").write_text(JOB.format(model=model))
    command = [sys.executable, "-P", "-m", "xpoll", "serve", "job.toml", "--json", "--port", str(free_port())]
    with (
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as serving,
        ExitStack() as at_the_end,
    ):
        at_the_end.callback(serving.kill)  # else a failed assertion waits for it for ever
        assert serving.stdout is not None
        assert serving.stderr is not None
        line = serving.stdout.readline()
        assert line, serving.stderr.read()
        ready = json.loads(line)
        assert (ready["model"], ready["devices"]) == (str(model), ["cpu:0"])
        asked = {"model": ready["model"], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        url = f"{ready['address']}/chat/completions"
        answer = json.loads(post(url, **asked, structured_outputs={"choice": ["bad", "good"]}))
        assert answer["choices"][0]["message"]["content"] in ("bad", "good", "goo")
        streamed = post(url, **asked, stream=True, ignore_eos=True)
        events = [event.removeprefix("data: ") for event in streamed.split("\n\n") if event]
        assert events[-1] == "[DONE]"
        assert len(events) >= 4, streamed
        open_to = listening_below(serving.pid)
        assert len(open_to) >= 2, "the address of all, and the engine's server behind it"
        assert {address for address, _ in open_to} <= LOOPBACK, open_to
        decides(ready)
        comes_back(ready, psutil.Process(serving.pid))
        below = psutil.Process(serving.pid).children(recursive=True)
        assert any("vllm/command.py" in " ".join(process.cmdline()) for process in below)
        serving.send_signal(signal.SIGTERM)
        _, said = serving.communicate(timeout=60)
    assert serving.returncode == 0, said
    assert "Traceback" not in said, said
    assert "INFO" not in said, said
    _, left = psutil.wait_procs(below, timeout=30)
    assert not left, f"these outlive it: {[process.name() for process in left]}"
    assert "Application startup complete" in (tmp_path / "runs/job.serve.log").read_text()


def decides(ready: dict[str, Any]) -> None:
    """The job's panel answers decisions on the engine that chat requests go to, to the openai package too."""
    client = openai.OpenAI(base_url=ready["address"], api_key="none", max_retries=0)
    choices: Any = [{"value": "good"}, {"value": "bad"}]
    questions: Any = [{"type": "choice", "name": "which", "instructions": "Which fits?", "choices": choices}]
    decided = client.decisions.create(model="job", input="a fine year", questions=questions)
    [answer] = decided.answers
    assert answer.type == "choice" and answer.choice in ("bad", "good")
    assert sum(each.probability for each in answer.probabilities) == pytest.approx(1)
    assert decided.usage.input_tokens > 0
    about = decided.model_extra and decided.model_extra["xpoll"]
    assert about == {
        "answered_by": "panel",
        "question": "Which label fits the text best?",
        "counting": "majority",
        "votes": 1,
        "abstained": None,
    }
    with pytest.raises(openai.BadRequestError, match="the labels are 'bad', 'good'"):
        client.decisions.create(
            model="job", input="a", questions=[questions[0] | {"choices": [{"value": "x"}, *choices]}]
        )
    with pytest.raises(openai.BadRequestError, match="the panel cannot be asked about this text"):
        client.decisions.create(model="job", input="a year " * 200, questions=questions)
    assert {model.id for model in client.models.list()} == {"job", ready["model"]}
    base = str(ready["address"]).removesuffix("/v1")
    page = get(f"{base}/metrics")
    assert "vllm:kv_cache_usage_perc" in page and 'xpoll_texts_total{answered_by="panel"' in page
    assert page.count("# TYPE process_cpu_seconds_total counter") == 1, "each family stands once"
    assert get(f"{base}/health") == "" and "version" in get(f"{base}/version")


def comes_back(ready: dict[str, Any], serving: psutil.Process) -> None:
    """An engine that is killed is started again; a request meanwhile is answered late or told so, and none hangs."""
    question = {"type": "predicate", "name": "good", "instructions": "Is it?"}
    body = json.dumps({"model": "job", "input": "a fine year", "questions": [question]}).encode()
    [engine] = [each for each in serving.children(recursive=True) if "vllm/command.py" in " ".join(each.cmdline())]
    engine.kill()
    statuses: list[int] = []
    until_s = time.monotonic() + 300
    while 200 not in statuses and time.monotonic() < until_s:
        request = urllib.request.Request(f"{ready['address']}/decisions", body, {"Content-Type": "application/json"})
        statuses.append(asked(request, timeout_s=310).status)
        time.sleep(1)
    assert set(statuses) <= {200, 503} and statuses[-1] == 200
    assert get(f"{str(ready['address']).removesuffix('/v1')}/health") == ""


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("engine.backend=replay", "only vllm, openai, simulated can be served, not 'replay'"),
        ("engine.model=./nowhere", "there is no folder ./nowhere"),
    ],
)
def test_what_cannot_be_served_is_one_line(tmp_path: Path, xpoll: Xpoll, override: str, said: str) -> None:
    (tmp_path / "job.toml").write_text(JOB.format(model="none"))
    done = xpoll("serve", "job.toml", "--port", free_port(), "--set", override, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_an_address_that_is_taken_is_one_line(tmp_path: Path, xpoll: Xpoll) -> None:
    (tmp_path / "job.toml").write_text(JOB.format(model=make_tiny_llama(tmp_path / "tiny")))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = xpoll("serve", "job.toml", "--port", port, cwd=tmp_path)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use -> --port 8001" in done.stderr
