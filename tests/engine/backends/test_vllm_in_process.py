"""One start of the real engine inside this process: what it reads is what Transformers computes, and its death is told.

What a poll makes of a dead engine is in tests/engine/test_faults.py and backends/openvino/test_contract.py.
"""

import asyncio
import json
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.support.tiny import make_tiny_llama
from xpoll.benchmarks.workloads.teacher_forced import teacher_forced
from xpoll.core.questions import YES_NO, Questions
from xpoll.core.records import AnswerSchema, Completion, Prompt, Sampling
from xpoll.engine.backends.backend import BackendSettings, EngineDeadError
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


async def told_of_death(backend: VllmBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts in flight and those that come later end by the error that makes a worker start anew."""
    written = prompt(7, ("good", "bad"), "x", read=False)._replace(answer=AnswerSchema(), sampling=Sampling(1, 1, 400))
    in_flight = [asyncio.create_task(backend.answer(written._replace(sample=i))) for i in range(2)]
    await asyncio.sleep(0.1)

    def failing() -> None:
        raise RuntimeError("CPU Generator does not use offset")

    monkeypatch.setattr(backend._engine._engine, "step", failing)
    for task in in_flight:
        with pytest.raises(EngineDeadError, match="does not use offset"):
            await asyncio.wait_for(task, 60)
    with pytest.raises(EngineDeadError):
        await asyncio.wait_for(backend.answer(written), 60)
    with pytest.raises(EngineDeadError):
        backend.load()


def test_reads_are_exact_bad_labels_are_rows_and_a_dead_engine_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_tiny_llama(tmp_path / "tiny")
    (device,) = find_devices("cpu", 1)
    asked = {name: [prompt(i, labels, text) for i, text in enumerate(TEXTS)] for name, labels in SETS.items()}
    about_each = AnswerSchema(tuple("abcdef"), "{}", logprobs=True, read=True, questions=ABOUT)
    several = prompt(5, (), LONG)._replace(answer=about_each)
    wrong = [prompt(9, ("a", ""), "x"), prompt(9, ("a", "<|end|>"), "x")]

    async def answers() -> tuple[dict[str, list[Completion]], list[Completion], Completion, dict[str, list[list[int]]]]:
        options = {"dtype": "float32", "kv_cache_memory_bytes": 2**28, "max_model_len": 512}
        backend = VllmBackend(BackendSettings(str(folder), device, "test", options))
        others = set(psutil.Process().children(recursive=True))
        await backend.start()
        assert set(psutil.Process().children(recursive=True)) <= others, "on a processor the engine is in this process"
        ids = {name: [backend.token_ids(each) for each in prompts] for name, prompts in asked.items()}
        ids["questions"] = backend.token_ids_of(several)
        try:
            of_all = await asyncio.gather(*(backend.answer(each) for prompts in asked.values() for each in prompts))
            bad = [await backend.answer(each) for each in wrong]
            of_each = await backend.answer(several)
            await told_of_death(backend, monkeypatch)
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
