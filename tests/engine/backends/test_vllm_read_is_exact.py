"""What the real engine reads is the probability that Transformers gives each label, or yes and no about each label."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.tiny import make_tiny_llama
from xpoll.benchmarks.workloads.teacher_forced import teacher_forced
from xpoll.core.questions import YES_NO, Questions
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


ABOUT = Questions(tuple(f"Label: {letter * 9}. Does it fit?" for letter in "abcdef"), "Which fit?")
LONG = "The parcel came two days late and the box was torn. " * 4


def test_reads_of_the_real_engine_are_exact_and_bad_labels_are_rows(tmp_path: Path) -> None:
    folder = make_tiny_llama(tmp_path / "tiny")
    (device,) = find_devices("cpu", 1)
    asked = {name: [prompt(i, labels, text) for i, text in enumerate(TEXTS)] for name, labels in SETS.items()}
    about_each = AnswerSchema(tuple("abcdef"), "{}", logprobs=True, read=True, questions=ABOUT)
    several = prompt(5, (), LONG)._replace(answer=about_each)
    wrong = [prompt(9, ("a", ""), "x"), prompt(9, ("a", "<|end|>"), "x")]

    async def answers() -> tuple[dict[str, list[Completion]], list[Completion], Completion, dict[str, list[list[int]]]]:
        options = {"dtype": "float32", "kv_cache_memory_bytes": 2**28, "max_model_len": 512}
        backend = VllmBackend(BackendSettings(str(folder), device, "test", options))
        await backend.start()
        ids = {name: [backend.token_ids(each) for each in prompts] for name, prompts in asked.items()}
        ids["questions"] = backend.token_ids_of(several)
        try:
            of_all = await asyncio.gather(*(backend.answer(each) for prompts in asked.values() for each in prompts))
            bad = [await backend.answer(each) for each in wrong]
            of_each = await backend.answer(several)
        finally:
            backend.stop()
        numbers = iter(of_all)
        return {name: [next(numbers) for _ in prompts] for name, prompts in asked.items()}, bad, of_each, ids

    found, bad, of_each, ids = asyncio.run(answers())
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

    yes = teacher_forced(str(folder), ids["questions"], YES_NO)[:, 0]
    assert np.abs(np.exp(np.array(of_each.choice_logprobs)) - yes).max() < 1e-3
    assert json.loads(of_each.text or "") == [label for label, fits in zip("abcdef", yes > 0.5, strict=True) if fits]
    shared = len(LONG) // 32 * 32
    assert of_each.cached_prompt_tokens >= (len("abcdef") - 1) * shared, "the text was computed once"
