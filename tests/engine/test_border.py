"""The command against endpoints that misbehave: what is kept, what is said, and what is written nowhere."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.fake_endpoint import Answer, FakeEndpoint, Script, completion, refusal, serving
from xpoll.engine.backends.openai.endpoint import HELLO
from xpoll.engine.journal.answers import read_completions
from xpoll.engine.journal.journal import Journal

pytestmark = pytest.mark.engine

TEXTS = 12
SECRETS = {
    "OPENAI_API_KEY": "planted-openai-key-1",
    "HF_TOKEN": "planted-hub-token-2",
    "RAY_AUTH_TOKEN": "planted0ray0token0planted0ray0token03",
}


class Ended(NamedTuple):
    """How a command ended: its exit code, and both of its outputs."""

    code: int
    said: str


def write_job(folder: Path, url: str) -> None:
    rows = [{"document_id": f"d{i}", "text": f"text {i}"} for i in range(TEXTS)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "job.toml").write_text(
        f"""
        job.run_folder = "run"
        documents = {{path = "texts.jsonl", id_column = "document_id"}}
        task.labels = ["good", "bad"]
        panel = {{personas = ["retail_investor"], samples = 1, logprobs = false}}
        [engine]
        backend = "openai"
        model = "m"
        [engine.openai]
        base_url = "{url}"
        first_wait_s = 0.01
        longest_wait_s = 2
        max_retries = 1
        max_concurrency = 4
        """
    )


def command(folder: Path, *arguments: str, **variables: str) -> Ended:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "xpoll", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **variables},
    )
    return Ended(done.returncode, done.stdout + done.stderr)


def poll(folder: Path, script: Script, **variables: str) -> tuple[Ended, FakeEndpoint]:
    with serving(FakeEndpoint(script)) as endpoint:
        if not (folder / "job.toml").exists():
            write_job(folder, "http://127.0.0.1:9/v1")
        return command(
            folder, "poll", "job.toml", "--set", f"engine.openai.base_url={endpoint.url}", **variables
        ), endpoint


def kinds(folder: Path) -> Counter[str | None]:
    """Error kinds of all answers on disk; opening the journal seals what a run that ended left."""
    with Journal(folder / "run" / "completions"):
        pass
    return Counter(answer.error_kind for answer in read_completions(folder / "run" / "completions"))


def last_line(ended: Ended) -> str:
    return ended.said.strip().splitlines()[-1]


def test_out_of_credit_stops_the_run_and_the_same_command_resumes_it(tmp_path: Path) -> None:
    def broke(body: dict[str, Any], number: int) -> Answer:
        return completion(body) if number < 5 else refusal(402, "Insufficient Balance")

    with serving(FakeEndpoint(broke)) as endpoint:
        write_job(tmp_path, endpoint.url)
        ended = command(tmp_path, "poll", "job.toml")
        assert ended.code == 75, ended.said
        assert "wants payment (HTTP 402): Insufficient Balance -> add credit; the same command" in last_line(ended)
        assert "Traceback" not in ended.said
        assert kinds(tmp_path) == {None: 5}, "no error row: the account is what has no credit"
        endpoint.bodies.clear()
        endpoint.script = lambda body, _: completion(body)
        ended = command(tmp_path, "poll", "job.toml")
    assert ended.code == 0, ended.said
    assert (len(endpoint.bodies), kinds(tmp_path)) == (TEXTS - 5, {None: TEXTS})


def test_a_refused_parameter_ends_the_poll_with_its_first_rows(tmp_path: Path) -> None:
    def only_one(body: dict[str, Any], _number: int) -> Answer:
        return completion(body) if body.get("temperature", 1) == 1 else refusal(400, "temperature must be 1")

    ended, endpoint = poll(tmp_path, only_one)
    assert ended.code == 2, ended.said
    assert "panel.temperature: the endpoint refuses it for every text: temperature must be 1" in last_line(ended)
    assert len(endpoint.bodies) < 2 * TEXTS
    assert kinds(tmp_path) == {}


def test_errors_are_counted_by_kind_with_the_first_of_the_commonest(tmp_path: Path) -> None:
    def some(body: dict[str, Any], _number: int) -> Answer:
        text = body["messages"][-1]["content"]
        if body["messages"] == HELLO or not any(f"text {i}" in text for i in (3, 4, 5)):
            return completion(body)
        return refusal(400, "this text is not allowed")

    ended, _ = poll(tmp_path, some)
    assert ended.code == 0, ended.said
    assert f"3 of {TEXTS} answers are errors: 3 refused; the first, d" in ended.said
    assert "this text is not allowed -> the engine refuses these rows" in ended.said


def test_a_poll_of_nothing_but_errors_is_no_success(tmp_path: Path) -> None:
    ended, _ = poll(tmp_path, lambda *_: Answer(raw='data: {"choices": []}\n\n'))
    assert ended.code == 2, ended.said
    assert f"{TEXTS} of {TEXTS} answers are errors: {TEXTS} malformed; the first, d" in last_line(ended)
    assert "text/event-stream" in last_line(ended)
    assert "panel.samples" not in ended.said


@pytest.mark.parametrize(("status", "code"), [(200, 0), (401, 2), (429, 75)])
def test_what_an_endpoint_echoes_of_a_key_is_written_nowhere(tmp_path: Path, status: int, code: int) -> None:
    """With status 200 every other text is refused, so that answers and error rows are both there."""
    made: list[FakeEndpoint] = []

    def echo(body: dict[str, Any], _number: int) -> Answer:
        said = f"you sent {SECRETS} and {dict(made[0].headers[-1])}"
        if status == 200 and body["messages"] != HELLO and len(made[0].bodies) % 2:
            return refusal(400, said)
        return completion(body, said) if status == 200 else refusal(status, said)

    with serving(FakeEndpoint(echo)) as endpoint:
        made.append(endpoint)
        write_job(tmp_path, endpoint.url)
        ended = command(tmp_path, "poll", "job.toml", **SECRETS)
    assert ended.code == code, ended.said
    written = {"the terminal": ended.said.encode()}
    written |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    if (tmp_path / "run" / "completions").exists():
        kinds(tmp_path)
        answers = list(read_completions(tmp_path / "run" / "completions"))
        written["the answers"] = repr(answers).encode()
    for place, content in written.items():
        assert not [name for name, secret in SECRETS.items() if secret.encode() in content], place
    assert any(b"***" in content for content in written.values()) or status == 401, "nothing was echoed"
