"""`xpoll serve STUDENT` as its clients have it: the openai package, a plain client, and clients that do it wrong."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import psutil
import pytest

from tests.conftest import Xpoll
from tests.support.served import ServedProcess, make_student, served
from tests.support.toy import LABELS
from xpoll.pipeline.serving.server import bound_socket

pytestmark = pytest.mark.engine

TEXT = "the firm said its year ended with a gain"
CHOICES = [{"value": label} for label in LABELS]
CHOICE = {"type": "choice", "name": "which", "instructions": "Which label fits the text best?", "choices": CHOICES}
ASKED = {"model": "my_job", "input": TEXT, "questions": [CHOICE]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a student, as far as serving reads one."""
    folder = tmp_path_factory.mktemp("runs") / "my_job"
    make_student(folder / "student")
    config = {"job": {"name": "my_job"}, "task": {"labels": LABELS, "question": "Which label fits the text best?"}}
    (folder / "config.resolved.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[ServedProcess]:
    with served(run, cwd=run.parent) as process:
        yield process


@pytest.fixture(scope="module")
def shares(run: Path) -> dict[str, float]:
    """What the student says of TEXT when it is asked without a server."""
    from xpoll.student.inference.model import StudentModel

    return dict(zip(LABELS, StudentModel(run / "student").probabilities([TEXT])[0].tolist(), strict=True))


def test_it_says_where_it_is_and_listens_on_loopback_alone(server: ServedProcess) -> None:
    ready = server.ready
    assert ready["address"].startswith("http://127.0.0.1:") and ready["address"].endswith("/v1")
    assert (ready["decisions"], ready["labels"], ready["devices"]) == ("my_job", LABELS, [])
    listening = [each for each in psutil.Process(server.process.pid).net_connections() if each.status == "LISTEN"]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}


def test_the_openai_package_is_answered(server: ServedProcess, shares: dict[str, float]) -> None:
    client = openai.OpenAI(base_url=server.ready["address"], api_key="none", max_retries=0)
    decided = client.decisions.create(
        model="my_job",
        input=[{"role": "user", "content": [{"type": "input_text", "text": TEXT}]}],
        questions=[
            {"type": "choice", "name": "which", "instructions": "Which label fits?", "choices": CHOICES},  # type: ignore[typeddict-item]
            {"type": "predicate", "name": "good", "instructions": "Is it good?"},
            {"type": "score", "instructions": "How good?", "levels": [{"label": label} for label in LABELS]},
        ],
    )
    which, good, how = decided.answers
    assert which.type == "choice" and good.type == "predicate" and how.type == "score"
    best = max(shares, key=shares.__getitem__)
    assert (which.choice, which.name) == (best, "which")
    assert {each.value: each.probability for each in which.probabilities} == pytest.approx(shares, abs=1e-5)
    assert which.confidence == pytest.approx(shares[best], abs=1e-5)
    assert good.probability == pytest.approx(shares["good"], abs=1e-5)
    assert how.score == pytest.approx(sum(i * share for i, share in enumerate(shares.values())), abs=1e-5)
    assert decided.usage.input_tokens == len(TEXT.split()) + 2
    assert decided.model == "my_job"
    listed = {model.id for model in client.models.list()}
    assert listed == {"my_job"}


def test_the_asynchronous_client_of_the_openai_package_is_answered(server: ServedProcess) -> None:
    async def play() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=server.ready["address"], api_key="none") as client:
            return await asyncio.gather(*(client.decisions.create(**ASKED) for _ in range(40)))  # type: ignore[arg-type]

    answers = asyncio.run(play())
    assert len({each.answers[0].choice for each in answers}) == 1


def test_errors_are_the_openai_packages_own(server: ServedProcess) -> None:
    client = openai.OpenAI(base_url=server.ready["address"], api_key="none", max_retries=0)
    with pytest.raises(openai.NotFoundError, match="the model 'gpt' does not exist; this server has 'my_job'"):
        client.decisions.create(**ASKED | {"model": "gpt"})  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError) as caught:
        client.decisions.create(**ASKED | {"questions": [CHOICE | {"choices": [{"value": "x"}, {"value": "bad"}]}]})  # type: ignore[arg-type]
    assert caught.value.param == "questions.0"


def test_a_plain_client_of_vllms_decisions_is_answered(server: ServedProcess, shares: dict[str, float]) -> None:
    status, body, _ = server.post("/v1/decisions", ASKED)
    assert status == 200
    assert body.keys() == {"model", "answers", "usage", "xpoll"}, "vLLM's response, and one key of ours"
    [answer] = body["answers"]
    assert answer.keys() == {"type", "name", "choice", "probabilities", "confidence"}
    assert {each["value"]: each["probability"] for each in answer["probabilities"]} == pytest.approx(shares, abs=1e-5)
    usage = {"input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens"}
    assert body["usage"].keys() == usage
    assert body["xpoll"] == {"answered_by": "student", "question": "Which label fits the text best?"}


def test_a_plain_client_of_the_older_schema_is_answered(server: ServedProcess, shares: dict[str, float]) -> None:
    questions = {"good": {"type": "noul"}, "which": {"type": "choice", "criteria": dict.fromkeys(LABELS)}}
    status, body, _ = server.post("/v1/systemone", {"state": TEXT, "questions": questions})
    assert status == 200
    assert body["object"] == "structured_decision"
    assert body["answers"]["which"]["probabilities"] == pytest.approx(shares, abs=1e-5)
    assert body["answers"]["good"]["noul"] == pytest.approx(shares["good"], abs=1e-5)
    assert body["diagnostics"].keys() == questions.keys()


@pytest.mark.parametrize("path", ["/classify", "/v1/classify"])
def test_texts_are_classified(server: ServedProcess, shares: dict[str, float], path: str) -> None:
    texts = [TEXT, "loss", *(f"gain {'that ' * i}" for i in range(40))]
    status, body, _ = server.post(path, {"model": "my_job", "input": texts})
    assert status == 200
    assert [each["index"] for each in body["data"]] == list(range(42))
    assert body["data"][0]["probs"] == pytest.approx(list(shares.values()), abs=1e-5)
    assert body["data"][0]["label"] == LABELS[int(np.argmax(body["data"][0]["probs"]))]
    assert body["data"][0]["num_classes"] == 3
    assert server.post(path, {"input": TEXT}).body["data"][0]["probs"] == pytest.approx(list(shares.values()), abs=1e-5)


def test_what_is_said_of_the_server(server: ServedProcess) -> None:
    assert server.get("/health").status == 200
    assert server.get("/version").body == {"version": "0.1.0"}
    [card] = server.get("/v1/models").body["data"]
    assert (card["id"], card["object"], card["owned_by"]) == ("my_job", "model", "xpoll")
    assert (card["labels"], card["max_model_len"]) == (LABELS, 64)
    before = count(server, "vllm:request_success_total")
    server.post("/classify", {"input": ["loss", "gain", "flat"]})
    assert count(server, "vllm:request_success_total") == before + 3
    assert count(server, "vllm:prompt_tokens_total") >= 9
    assert count(server, "vllm:e2e_request_latency_seconds_count") == before + 3
    page = server.get("/metrics").body
    assert 'vllm:num_requests_running{engine="0",model_name="my_job"} 0.0' in page
    assert 'http_requests_total{handler="/classify",method="POST",status="2xx"}' in page


def count(server: ServedProcess, name: str) -> float:
    lines = [line for line in str(server.get("/metrics").body).splitlines() if line.startswith(f"{name}{{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


WRONG: list[tuple[str, Any, int, str]] = [
    ("/v1/decisions", b"{", 400, "the body is not JSON"),
    ("/v1/decisions", [], 400, "Input should be an object"),
    ("/v1/decisions", {"model": "my_job", "questions": [CHOICE]}, 400, "input is missing"),
    ("/v1/decisions", ASKED | {"input": 5}, 400, "input: must be a text or a list of messages"),
    ("/v1/decisions", ASKED | {"input": "  "}, 400, "input: the text is empty"),
    ("/v1/decisions", ASKED | {"input": [{"role": "system", "content": "x"}]}, 400, "input.0.role: input should be"),
    (
        "/v1/decisions",
        ASKED | {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]},
        400,
        "input.0.content.0: the type 'input_image' is none that this server takes: 'input_text', 'input_json'",
    ),
    ("/v1/decisions", ASKED | {"questions": []}, 400, "questions: list should have at least 1 item"),
    ("/v1/decisions", ASKED | {"questions": [{"type": "box"}]}, 400, "questions.0: the type 'box' is none that"),
    ("/v1/decisions", ASKED | {"temperature": 0}, 400, "unknown field temperature"),
    (
        "/v1/decisions",
        ASKED | {"questions": [CHOICE | {"choices": [{"value": "spam"}, {"value": "bad"}]}]},
        400,
        "questions.0: there is no label 'spam'; the labels are 'bad', 'fair', 'good'",
    ),
    ("/v1/decisions", ASKED | {"model": "other"}, 404, "the model 'other' does not exist; this server has 'my_job'"),
    ("/v1/systemone", {"state": TEXT, "questions": {}}, 400, "questions: dictionary should have at least 1 item"),
    ("/classify", {"input": [1, 2]}, 400, "input.0: input should be a valid string"),
    ("/classify", {"input": ["loss", ""]}, 400, "input.1: the text is empty"),
    ("/classify", {"input": "a", "use_activation": False}, 400, "use_activation: this model gives probabilities"),
    ("/v1/decisions", b'"' + b"x" * 17 * 2**20 + b'"', 413, "the body is longer than 16777216 bytes"),
    ("/v1/chat/completions", {}, 404, "Not Found"),
    ("/health", {}, 405, "Method Not Allowed"),
]


@pytest.mark.parametrize(("path", "body", "status", "said"), WRONG, ids=[each[3][:40] for each in WRONG])
def test_wrong_input_is_one_line_in_the_form_of_openais_errors(
    server: ServedProcess, path: str, body: Any, status: int, said: str
) -> None:
    reply = server.post(path, body)
    assert reply.status == status
    error = reply.body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"].startswith(said)
    assert "\n" not in error["message"]
    assert error["code"] == status


def test_a_form_of_a_web_page_is_refused(server: ServedProcess) -> None:
    reply = server.post("/v1/decisions", ASKED, content_type="text/plain")
    assert reply.status == 415
    assert "Content-Type: application/json" in reply.body["error"]["message"]


def test_the_process_is_killed_under_load_and_comes_back_and_a_signal_lets_requests_be_answered(run: Path) -> None:
    with served(run, "--name", "mine", cwd=run.parent) as server:
        [worker] = server.workers()
        statuses: list[int] = []
        until_s = time.monotonic() + 120

        def ask() -> None:
            while time.monotonic() < until_s and not done.is_set():
                statuses.append(server.post("/v1/decisions", ASKED | {"model": "mine"}, timeout_s=100).status)

        done = threading.Event()
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        while len(statuses) < 50:
            time.sleep(0.01)
        worker.kill()
        killed_s, before = time.monotonic(), len(statuses)
        health = 200
        while health == 200 and time.monotonic() < killed_s + 5:
            health = server.get("/health").status
        assert health == 503
        while len(statuses) < before + 50 and time.monotonic() < killed_s + 100:
            time.sleep(0.01)
        done.set()
        for thread in threads:
            thread.join(timeout=100)
            assert not thread.is_alive(), "a request hangs"
        assert set(statuses) == {200}, "each was asked again"
        assert len(statuses) >= before + 50, "it is back"
        [other] = server.workers()
        assert other.pid != worker.pid
        assert count(server, "xpoll_restarts_total") == 1
        assert server.get("/health").status == 200
        drains(server)


def drains(server: ServedProcess) -> None:
    """What SIGTERM does: requests are answered, and no process is left."""
    workers, found = server.workers(), list[int]()
    body = {"input": [TEXT] * 600}
    asking = threading.Thread(target=lambda: found.append(server.post("/classify", body).status))
    asking.start()
    while count(server, "vllm:num_requests_waiting") < 100:
        time.sleep(0.005)
    server.process.terminate()
    asking.join()
    _, said = server.process.communicate(timeout=60)
    assert found == [200]
    assert server.process.returncode == 0, said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_a_server_that_is_killed_leaves_no_process(run: Path) -> None:
    with served(run, cwd=run.parent) as server:
        workers = server.workers()
        server.process.kill()
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert len(workers) == 1 and not alive


def test_what_cannot_be_served_is_one_line(run: Path, tmp_path: Path, xpoll: Xpoll) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/config.resolved.json").write_text("{}")
    for arguments, said in (
        (["empty"], "the student cannot be served: empty is no student: it holds no config.json"),
        (["begun"], "begun is a run without a student -> xpoll train begun, or --panel"),
        (["nowhere.toml"], "nowhere.toml does not exist"),
        ([str(run), "--set", "job.seed=1"], "--set: a student has no keys to override -> --panel serves"),
        ([str(run), "--host", "203.0.113.7"], "cannot listen on 203.0.113.7:8000: Cannot assign requested address"),
    ):
        done = xpoll("serve", *arguments, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_small_answers_are_sent_at_once() -> None:
    """asyncio sets TCP_NODELAY on accepted sockets where the listening one names TCP; without it each waits 40 ms."""
    with bound_socket("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP
