"""A prompt's own seed reaches engines that bear it, and no other."""

from xpoll.core.records import AnswerSchema, Prompt, Sampling
from xpoll.engine.backends.vllm.in_process import seed_problem
from xpoll.engine.devices.find import Device

SEEDED = Prompt("x", "", 0, (), Sampling(1.0, 1.0, 8, '{"seed": 1}'), AnswerSchema())


def test_only_a_cpu_engine_is_not_given_a_seed() -> None:
    assert "ends vLLM's CPU engine" in str(seed_problem(SEEDED, Device("cpu", 0, "test")))
    assert seed_problem(SEEDED._replace(sampling=Sampling(1.0, 1.0, 8)), Device("cpu", 0, "test")) is None
    assert seed_problem(SEEDED, Device("xpu", 0, "test")) is None
