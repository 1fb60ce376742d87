"""A plan says that OpenVINO is done first where that is so: small jobs on CPUs of models that it takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny import make_tiny_llama
from xpoll.core.config.job import EngineConfig
from xpoll.core.records import AnswerSchema, Prompt, Sampling
from xpoll.engine.devices.find import Device
from xpoll.engine.planning import first_done as module
from xpoll.engine.planning.first_done import EVEN_AT, first_done
from xpoll.engine.planning.model_shape import ModelShapeOnDisk

CPU, GPU = Device("cpu", 0, "a processor", (0,)), Device("xpu", 0, "Intel Data Center GPU Max 1550")
SHAPE = ModelShapeOnDisk(4, 2, 32, "float32", None, 1_000_000, 512)
EVEN = int(EVEN_AT / (100 * 1_000_000))
"""Prompts of 100 tokens up to which it is first."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny")


def notes(
    model: Path, *, prompts: int = EVEN, device: Device = CPU, read: bool = False, logprobs: bool = False, **engine: Any
) -> list[str]:
    first = Prompt("d", "p", 0, (), Sampling(0.8, 1.0, 16), AnswerSchema(("a", "b"), logprobs=logprobs, read=read))
    config = EngineConfig(**{"model": str(model), **engine})
    return first_done(config, [device], SHAPE, first, prompts=prompts, tokens_each=100)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "package_version", {"openvino-genai": "2026.4.1"}.get)


def test_a_small_job_is_told_and_a_large_one_is_not(model: Path) -> None:
    (note,) = notes(model)
    assert note.endswith("--set engine.backend=openvino")
    assert notes(model, prompts=EVEN + 1) == []


def test_nobody_is_sent_to_an_engine_that_is_slower_or_not_there(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert notes(model, device=GPU) == []
    assert notes(model, read=True) == [], "a request per label"
    assert notes(model, logprobs=True) == [], "they are wrong there: docs/howto/openvino.md"
    assert notes(model, backend="simulated") == []
    assert notes(model, address="10.0.0.1:6379") == []
    assert notes(Path("no-such-model")) == []
    monkeypatch.setattr(module, "package_version", lambda _: None)
    assert notes(model) == []


def test_nobody_is_sent_to_an_engine_that_refuses_the_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["MambaForCausalLM"]}))
    assert notes(tmp_path) == []
