"""A prompt's own seed reaches engines that bear it, and no other."""

import pytest

from core.records import AnswerSchema, Prompt, Sampling
from engine.backends import BackendSettings
from engine.backends.vllm import VllmBackend
from engine.devices import Device

SEEDED = Prompt("x", "", 0, (), Sampling(1.0, 1.0, 8, '{"seed": 1}'), AnswerSchema())


class Reckless(VllmBackend):
    seed_is_safe = True


def backend(kind: type[VllmBackend], device: str) -> VllmBackend:
    return kind(BackendSettings("m", Device(device, 0, "test"), "worker-0"))


def test_a_cpu_engine_is_not_given_a_seed_unless_it_is_said_to_be_safe() -> None:
    with pytest.raises(ValueError, match="ends vLLM's CPU engine"):
        backend(VllmBackend, "cpu")._check_seed(SEEDED)
    backend(VllmBackend, "cpu")._check_seed(SEEDED._replace(sampling=Sampling(1.0, 1.0, 8)))
    backend(Reckless, "cpu")._check_seed(SEEDED)
    backend(VllmBackend, "xpu")._check_seed(SEEDED)
