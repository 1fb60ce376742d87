"""A vLLM that is not there: modules with the names and parameters that a version was recorded with.


What that version does not know it refuses, as the real one does; what it calls of ours it calls with its
own parameters. It answers every prompt with the constraint's first choice, with an empty list where it has none.
"""

import abc
import dataclasses
import enum
import os
from collections.abc import AsyncIterator, Callable
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import pytest

Start = Callable[[Any], None]


class _Token(NamedTuple):
    """What vLLM tells of a token at one place of an answer."""

    decoded_token: str
    logprob: float


class Tokenizer:
    """As much of one as the backend asks for."""

    chat_template = "{{ messages }}"
    all_special_tokens = ("<|end|>",)
    added_tokens_decoder: ClassVar[dict[int, Any]] = {}

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        return " ".join(message["content"] for message in messages)

    def encode(self, text: str, **options: Any) -> list[int]:
        return list(range(len(text)))


def install(monkeypatch: pytest.MonkeyPatch, record: dict[str, Any], on_start: Start = lambda arguments: None) -> None:
    """Puts the fake in the place of vllm.

    Args:
        monkeypatch: Takes it away again.
        record: One of `recorded()`.
        on_start: Called with the engine's arguments; may raise.
    """
    sampling = {
        "RequestOutputKind": enum.Enum("RequestOutputKind", record["output_kinds"]),
        "SamplingParams": _struct("SamplingParams", record["sampling_params"]),
        **{name: _struct(name, fields) for name, fields in {**record["structured"], **record["guided"]}.items()},
    }
    contexts = enum.Enum("UsageContext", record["usage_contexts"])
    modules = {
        "vllm": {"__version__": record["version"], "SamplingParams": sampling["SamplingParams"]},
        "vllm.sampling_params": sampling,
        "vllm.engine.arg_utils": {"AsyncEngineArgs": _struct("AsyncEngineArgs", record["engine_args"])},
        "vllm.usage.usage_lib": {"UsageContext": contexts},
        "vllm.v1.engine.async_llm": {"AsyncLLM": (llm := _llm(record, on_start))},
        "vllm.v1.engine.llm_engine": {"LLMEngine": _stepped(llm)},
        "vllm.distributed": {"cleanup_dist_env_and_memory": lambda: None},
        "vllm.v1.metrics.loggers": {"StatLoggerBase": _logger(record)},
        **_errors(record),
    }
    for name in list(modules):
        for parent in (name.rpartition(".")[0], name.rpartition(".")[0].rpartition(".")[0]):
            modules.setdefault(parent or "vllm", {})
    for name in [loaded for loaded in __import__("sys").modules if loaded.split(".")[0] == "vllm"]:
        monkeypatch.delitem(__import__("sys").modules, name)
    for name, members in sorted(modules.items()):
        module = ModuleType(name)
        module.__path__ = []  # a package without files: what is not here cannot be imported
        vars(module).update(members)
        monkeypatch.setitem(__import__("sys").modules, name, module)


def _struct(name: str, fields: list[str]) -> type:
    return dataclasses.make_dataclass(name, [(field, Any, dataclasses.field(default=None)) for field in fields])


def _errors(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The exception classes where the version has them; its module of them is missing where it had none."""
    made: dict[str, Any] = {}
    for name, bases in record["errors"].items():
        known = [made.get(base) or getattr(__import__("builtins"), base) for base in bases]
        made[name] = type(name, tuple(known), {})
    inside = {"vllm.v1.engine.exceptions": {name: made[name] for name in ("EngineDeadError", "EngineGenerateError")}}
    rest = {name: error for name, error in made.items() if name not in inside["vllm.v1.engine.exceptions"]}
    return {**inside, "vllm.exceptions": rest} if rest else inside


def _logger(record: dict[str, Any]) -> type:
    """The base class, abstract where it was."""

    def method(self: Any, *args: Any, **named: Any) -> None:
        raise NotImplementedError

    members = {
        name: abc.abstractmethod(method) if name in record["stat_logger_abstract"] else method
        for name in record["stat_logger"]
    }
    return abc.ABCMeta("StatLoggerBase", (), members)


def _only(record: dict[str, Any], called: str, named: dict[str, Any]) -> None:
    unknown = set(named) - set(record[called])
    if unknown:
        raise TypeError(f"{called}() got an unexpected keyword argument {sorted(unknown)[0]!r}")


def _llm(record: dict[str, Any], on_start: Start) -> type:
    class AsyncLLM:
        model_config = SimpleNamespace(max_model_len=4096)
        errored = False

        @classmethod
        def from_engine_args(cls, engine_args: Any, **named: Any) -> "AsyncLLM":
            _only(record, "from_engine_args", named)
            on_start(engine_args)
            engine = cls()
            engine.arguments = engine_args  # type: ignore[attr-defined]
            for make in named["stat_loggers"]:
                logger = make(SimpleNamespace(), 0)
                known = dict.fromkeys(record["scheduler_stats"], 2)
                stats = SimpleNamespace(**{**known, "kv_cache_usage": 0.5})
                values = [stats, *([None] * (len(record["stat_logger"]["record"]) - 2))]
                logger.record(**dict(zip(record["stat_logger"]["record"][1:], values, strict=True)))
                logger.log_engine_initialized()
            return engine

        async def generate(
            self, prompt: Any, sampling_params: Any, request_id: str, **named: Any
        ) -> AsyncIterator[Any]:
            _only(record, "generate", named)
            constraint = getattr(sampling_params, "structured_outputs", None) or getattr(
                sampling_params, "guided_decoding", None
            )
            text = (constraint.choice or ["[]"])[0] if constraint else "free"
            told = None
            if getattr(sampling_params, "logprobs", None):  # all of the answer in its first token
                told = [{1: _Token(text, -0.5), 3: _Token("other", -1.0)}, {2: _Token("", 0.0)}]
            output = SimpleNamespace(text=text, finish_reason="stop", token_ids=[1, 2], logprobs=told)
            yield SimpleNamespace(outputs=[output], num_cached_tokens=None)

        def shutdown(self, *timeout: Any) -> None:
            os.sched_yield()

    def get_tokenizer(self: Any) -> Tokenizer:
        return Tokenizer()

    async def get_tokenizer_later(self: Any) -> Tokenizer:
        return Tokenizer()

    AsyncLLM.get_tokenizer = get_tokenizer_later if record["get_tokenizer_is_async"] else get_tokenizer  # type: ignore[attr-defined]
    return AsyncLLM


def _stepped(llm: Any) -> type:
    """The engine without processes: what AsyncLLM answers at once is the output of a step."""

    class LLMEngine:
        def __init__(self, inner: Any) -> None:
            self.inner, self.waiting = inner, []  # type: ignore[var-annotated]
            self.model_config = inner.model_config
            self.engine_core = SimpleNamespace(shutdown=lambda: None)

        @classmethod
        def from_engine_args(cls, engine_args: Any, **named: Any) -> "LLMEngine":
            assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
            return cls(llm.from_engine_args(engine_args, **named))

        def get_tokenizer(self) -> Any:
            return Tokenizer()

        def add_request(self, request_id: str, prompt: Any, params: Any) -> None:
            self.waiting.append((request_id, prompt, params))

        def has_unfinished_requests(self) -> bool:
            return bool(self.waiting)

        def step(self) -> list[Any]:
            request_id, prompt, params = self.waiting.pop(0)
            try:
                self.inner.generate(prompt, params, request_id).asend(None).send(None)
            except StopIteration as answered:
                answered.value.request_id, answered.value.finished = request_id, True
                return [answered.value]
            raise AssertionError("the fake answers at once")

    return LLMEngine
