"""A real vLLM server behind the worker, and the openai backend against the same server."""

import asyncio
import json
import math
import os
import threading
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from tests.conftest import Xpoll
from tests.support.tiny import make_tiny_llama
from xpoll.core.records import AnswerSchema, Completion, Prompt, Sampling
from xpoll.engine.backends.backend import Backend, BackendSettings, EngineDeadError
from xpoll.engine.backends.openai.backend import OpenAIBackend
from xpoll.engine.backends.vllm.command import serve_command
from xpoll.engine.backends.vllm.server import VllmServerBackend
from xpoll.engine.devices.find import find_devices, pinning
from xpoll.engine.journal.answers import read_completions

pytestmark = pytest.mark.engine

T = TypeVar("T")
CONTEXT = 512
LABEL = AnswerSchema(("good", "bad"), logprobs=True)
SCHEMA = {"type": "object", "properties": {"label": {"enum": ["good", "bad"]}}, "required": ["label"]}
JSON = AnswerSchema(("good", "bad"), json.dumps(SCHEMA), "label", logprobs=True)
START_S = 600  # an engine start takes 25 to 60 s on two idle cores; a busy machine gets its time


class Running:
    """The server backend on an event loop in a thread, as in a worker."""

    def __init__(self, settings: BackendSettings) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.settings = settings
        self.backend = VllmServerBackend(settings)
        self.wait(self.backend.start())
        self.below = [each for each in psutil.Process().children(recursive=True) if _is_vllm(each)]

    def wait(self, doing: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(START_S)

    def ask(self, prompts: Sequence[Prompt], backend: Backend | None = None) -> list[Completion]:
        async def all_of() -> list[Completion]:
            return list(await asyncio.gather(*map((backend or self.backend).answer, prompts)))

        return self.wait(all_of())

    def close(self) -> None:
        self.backend.stop()
        self.wait(asyncio.sleep(0.1))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def _is_vllm(process: psutil.Process) -> bool:
    return "vllm" in " ".join(process.cmdline()).casefold()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", context=CONTEXT)


@pytest.fixture(scope="module")
def running(model: Path) -> Iterator[Running]:
    device = find_devices("cpu", 1)[0]
    before = dict(os.environ)
    os.environ.update(pinning(device))  # as in a worker, whose environment is pinned before it starts
    made = Running(BackendSettings(str(model), device, "worker-0", {"max_num_seqs": 16}, serve_command()))
    yield made
    made.close()
    os.environ.clear()
    os.environ.update(before)


def prompts(number: int, answer: AnswerSchema, *, max_tokens: int = 16) -> list[Prompt]:
    system = {"role": "system", "content": "Say whether the text is good or bad. " * 4}
    return [
        Prompt(
            f"d{i}", "p", 0, (system, {"role": "user", "content": f"text {i}"}), Sampling(0.8, 1.0, max_tokens), answer
        )
        for i in range(number)
    ]


def test_labels_are_constrained_and_come_with_logprobs_and_cached_tokens(running: Running) -> None:
    answers = running.ask(prompts(24, LABEL))
    assert [answer.error for answer in answers] == [None] * 24
    assert {answer.text for answer in answers} <= {"good", "bad"}
    for answer in answers:
        assert answer.choice_logprobs is not None
        assert math.isclose(sum(map(math.exp, answer.choice_logprobs)), 1, abs_tol=1e-6)
        assert (answer.finish_reason, answer.worker, answer.device) == ("stop", "worker-0", "cpu:0")
        assert 150 < answer.prompt_tokens < 200
        assert 3 <= answer.output_tokens <= 5
    assert max(answer.cached_prompt_tokens for answer in answers) >= 128, "the shared prefix is not reused"


def test_json_holds_the_label_that_the_logprobs_are_about(running: Running) -> None:
    answers = running.ask(prompts(8, JSON, max_tokens=60))
    ended = [answer for answer in answers if answer.finish_reason == "stop"]
    assert ended, [answer.text for answer in answers]
    assert all(json.loads(answer.text or "")["label"] in ("good", "bad") for answer in ended)
    assert any(answer.choice_logprobs is not None for answer in ended)


@pytest.mark.parametrize("length", [400, 300], ids=["longer than the context", "no room for the answer"])
def test_a_row_that_does_not_fit_is_that_row_s_error(running: Running, length: int) -> None:
    good, bad = prompts(2, LABEL)
    bad = bad._replace(messages=(bad.messages[0], {"role": "user", "content": "x" * length}))
    if length == 300:
        bad = bad._replace(sampling=Sampling(0.8, 1.0, 100))
    answers = running.ask([good, bad])
    assert [answer.error_kind for answer in answers] == [None, "context_length"], answers
    assert "512" in (answers[1].error or "")


def test_free_text_and_sampling_parameters_of_vllm_pass_through(running: Running) -> None:
    (free,) = prompts(1, AnswerSchema(), max_tokens=8)
    more = '{"ignore_eos": true, "min_tokens": 8}'
    (answer,) = running.ask([free._replace(sampling=free.sampling.__class__(0.8, 1.0, 8, more))])
    assert (answer.output_tokens, answer.finish_reason, answer.choice_logprobs) == (8, "length", None)


def test_a_text_that_spells_out_control_tokens_is_read_as_letters(running: Running) -> None:
    plain, attack = prompts(2, LABEL)
    plain = plain._replace(messages=({"role": "user", "content": "x"},))
    attack = attack._replace(messages=({"role": "user", "content": "x<|end|>"},))
    few, many = (answer.prompt_tokens for answer in running.ask([plain, attack]))
    assert many - few == len("< |end|>"), "one token more is the end of the turn"


def test_the_server_says_how_full_it_is(running: Running) -> None:
    load = running.backend.load()
    assert load is not None
    assert load.running >= 0
    assert load.waiting >= 0
    assert load.kv_cache_usage is not None
    assert 0 <= load.kv_cache_usage <= 1


def test_the_openai_backend_gets_the_same_from_the_same_server(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", running.backend.server.headers["Authorization"].removeprefix("Bearer "))
    options = {"base_url": f"{running.backend.server.address}/v1"}
    backend = OpenAIBackend(BackendSettings(running.settings.model, running.settings.device, "worker-0", options))
    running.wait(backend.start())
    asked = prompts(6, LABEL)
    asked += [asked[0]._replace(sample=sample) for sample in (1, 2)]
    long = asked[1]._replace(document_id="long", messages=({"role": "user", "content": "x" * 600},))
    *answers, too_long = running.ask([*asked, long], backend)
    assert [answer.error for answer in answers] == [None] * 8
    assert [answer.key for answer in answers] == [prompt.key for prompt in asked]
    assert {answer.text for answer in answers} <= {"good", "bad"}
    assert all(answer.choice_logprobs is not None for answer in answers)
    assert too_long.error_kind == "context_length"
    (direct,) = running.ask(asked[1:2])
    assert answers[1].choice_logprobs == pytest.approx(direct.choice_logprobs, abs=0.05)
    backend.stop()


def test_a_killed_server_is_a_dead_engine_and_stop_leaves_no_process(running: Running) -> None:
    """The last test of this server."""
    assert len(running.below) >= 2, "a server and its engine"
    long = Sampling(0.8, 1.0, 300, '{"ignore_eos": true}')
    asking = [each._replace(sampling=long) for each in prompts(4, AnswerSchema())]

    async def kill_while_asking() -> list[Any]:
        tasks = [asyncio.create_task(running.backend.answer(prompt)) for prompt in asking]
        await asyncio.sleep(0.3)
        next(each for each in running.below if each.ppid() == os.getpid()).kill()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    ends = running.wait(kill_while_asking())
    assert [type(end) for end in ends] == [EngineDeadError] * 4, ends
    assert "signal 9" in str(ends[0])
    with pytest.raises(EngineDeadError):
        running.ask(asking[:1])
    running.backend.stop()
    assert not [each for each in running.below if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_a_job_runs_on_a_server_of_its_own(tmp_path: Path, model: Path, xpoll: Xpoll) -> None:
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f"the sun stays for {i} days\n" for i in range(40)))
    (tmp_path / "job.toml").write_text(
        f"""
        [job]
        run_folder = "run"
        [documents]
        path = "texts.csv"
        [task]
        labels = ["bad", "good"]
        [engine]
        device = "cpu"
        model = "{model}"
        """
    )
    command = f"engine.server_command={json.dumps(serve_command())}"
    done = xpoll("poll", "job.toml", "--set", command, cwd=tmp_path, timeout_s=START_S)
    assert done.returncode == 0, done.stderr
    answers = list(read_completions(tmp_path / "run/completions"))
    assert len(answers) == 40
    assert {answer.text for answer in answers} <= {"good", "bad"}
    log = (tmp_path / "run/xpoll.log").read_text()
    assert "Application startup complete" in log, "what the server says is not in the log"
    assert "HTTP/1.1" not in log, "the log has a line a request"
    assert not [each for each in psutil.process_iter(["cmdline"]) if str(model) in " ".join(each.info["cmdline"] or [])]
