"""The comparison of backends: what an arm is held against, and that a whole repeat runs on stand-ins."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from xpoll.benchmarks.suites import backends
from xpoll.benchmarks.suites.backends import ARMS, held_against
from xpoll.engine.backends.registry import BACKENDS

SUITE = tomllib.loads((ROOT / "benchmarks/suites/backends.toml").read_text(encoding="utf-8"))


def record(rate: float, start_s: float, *labels: str) -> dict[str, Any]:
    return {"documents_per_s": rate, "start_s": start_s, "labels": list(labels)}


def test_an_arm_is_held_against_the_first() -> None:
    found = held_against(record(2.0, 40.0, "a", "b", "a", "c"), record(3.0, 10.0, "a", "b", "b", "c"))
    assert found == {
        "documents_per_s": 3.0,
        "start_s": 10.0,
        "rate_of_first": 1.5,
        "start_of_first": 0.25,
        "agreement": 0.75,
    }


def test_every_arm_is_a_backend_and_may_be_chosen() -> None:
    assert list(ARMS) == SUITE["choices"]["arms"] == SUITE["parameters"]["arms"]
    assert {backend for backend, _ in ARMS.values()} <= set(BACKENDS)


def test_arms_take_turns_and_are_converted_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: list[tuple[int, str]] = []

    def call(_function: Any, parameters: dict[str, Any], arm: str, **_: Any) -> dict[str, Any]:
        called.append((parameters["documents"], arm))
        return record(1.0, 1.0, "a")

    monkeypatch.setattr(backends, "call_in_subprocess", call)
    monkeypatch.setattr(backends, "resolve_model", lambda *_, **__: str(tmp_path))
    arms = ["vllm", "openvino int8"]
    found = list(backends.measure({**SUITE["parameters"], "repeats": 2, "arms": arms}))
    assert [(each["arm"], each["repeat"]) for each in found] == [(arm, repeat) for repeat in (0, 1) for arm in arms]
    assert called == [(1, "openvino int8"), *[(48, arm) for _ in range(2) for arm in arms]]


def test_an_arm_answers_all_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the simulated backend; the model's files are not needed for that."""
    monkeypatch.setattr(backends, "ARMS", {"simulated": ("simulated", {})})
    parameters = {**SUITE["parameters"], "documents": 3, "simulated": {"time_scale": 0.01}}
    found = backends.answer_all(parameters, "simulated")
    assert len(found["labels"]) == 3 * len(parameters["personas"])
    assert found["documents_per_s"] > 0
