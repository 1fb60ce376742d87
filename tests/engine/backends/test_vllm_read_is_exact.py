"""What the real engine reads is the probability that Transformers gives each label."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.support.tiny import make_tiny_llama
from xpoll.benchmarks.workloads.teacher_forced import teacher_forced
from xpoll.core.records import AnswerSchema, Completion, Prompt, Sampling
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.vllm.in_process import VllmBackend
from xpoll.engine.devices.find import find_devices

pytestmark = pytest.mark.engine

SETS = {
    "letters": ("a", "b", "c"),
    "words": ("good", "bad", "neither", "good enough", "neither good nor bad", "go", "no"),
    "many": tuple(chr(letter) + ending for letter in range(ord("!"), ord("!") + 70) for ending in ("", "x", "yz")),
}
TEXTS = ["fine", "The parcel came two days late.", "Ünïcödé " * 12]


def prompt(number: int, labels: tuple[str, ...], text: str, *, read: bool = True) -> Prompt:
    messages = ({"role": "system", "content": "judge"}, {"role": "user", "content": text})
    answer = AnswerSchema(labels, logprobs=True, read=read)
    return Prompt(str(number), "p", 0, messages, Sampling(0.8, 1.0, 16), answer)


def test_reads_of_the_real_engine_are_exact_and_bad_labels_are_rows(tmp_path: Path) -> None:
    folder = make_tiny_llama(tmp_path / "tiny")
    (device,) = find_devices("cpu", 1)
    asked = {name: [prompt(i, labels, text) for i, text in enumerate(TEXTS)] for name, labels in SETS.items()}
    wrong = [prompt(9, ("a", ""), "x"), prompt(9, ("a", "<|end|>"), "x")]

    async def answers() -> tuple[dict[str, list[Completion]], list[Completion], dict[str, list[list[int]]]]:
        options = {"dtype": "float32", "kv_cache_memory_bytes": 2**28, "max_model_len": 512}
        backend = VllmBackend(BackendSettings(str(folder), device, "test", options))
        await backend.start()
        ids = {name: [backend.token_ids(each) for each in prompts] for name, prompts in asked.items()}
        try:
            of_all = await asyncio.gather(*(backend.answer(each) for prompts in asked.values() for each in prompts))
            bad = [await backend.answer(each) for each in wrong]
        finally:
            backend.stop()
        numbers = iter(of_all)
        return {name: [next(numbers) for _ in prompts] for name, prompts in asked.items()}, bad, ids

    found, bad, ids = asyncio.run(answers())
    for name, labels in SETS.items():
        assert [each.error for each in found[name]] == [None] * len(TEXTS)
        logprobs = np.array([each.choice_logprobs for each in found[name]], dtype=float)
        expected = teacher_forced(str(folder), ids[name], labels)
        assert np.abs(np.exp(logprobs) - expected).max() < 1e-3
        assert [each.text for each in found[name]] == [labels[place] for place in logprobs.argmax(1)]
    assert all(each.unread_choices == 0 and each.output_tokens == 1 for each in found["letters"])
    assert [each.error_kind for each in bad] == ["refused", "refused"]
    assert "'' has no token" in str(bad[0].error)
    assert "control token" in str(bad[1].error)
