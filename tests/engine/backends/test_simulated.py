"""The simulated engine draws the same answers everywhere, keeps to its roofline, and fails only where told to."""

import asyncio
import json
import math
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from xpoll.core.errors import ConfigError, EngineError
from xpoll.core.questions import Questions
from xpoll.core.records import AnswerSchema, Prompt, Sampling
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.simulated.backend import SimulatedBackend
from xpoll.engine.backends.simulated.draws import true_choice
from xpoll.engine.devices.find import Device
from xpoll.engine.planning.rooflines import MODEL_SHAPES, ROOFLINES, decode_step_s, kv_capacity_tokens, prefill_s

T = TypeVar("T")

LABELS = ("negative", "neutral", "positive")
TILE, LLAMA = ROOFLINES["max-1550-tile"], MODEL_SHAPES["llama-3.1-8b"]
PROMPT_TOKENS, OUTPUT_TOKENS = 8, 16


class SkippingSelector(selectors.DefaultSelector):
    """Passes the time of a timer at once instead of waiting for it."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now_s += timeout or 0.0
        return super().select(timeout if timeout is None else 0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now_s


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs in virtual time: exact however busy the machine is."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def make_prompt(
    document_id: str, sample: int = 0, *, tokens: int = PROMPT_TOKENS, schema: str | None = None, logprobs: bool = False
) -> Prompt:
    messages = ({"role": "user", "content": "x" * 4 * tokens},)
    answer = AnswerSchema(LABELS, schema, "label" if schema else None, logprobs=logprobs)
    return Prompt(document_id, "annotator", sample, messages, Sampling(0.8, 1.0, OUTPUT_TOKENS), answer)


PINNED = ["neutral", "positive", "negative", "neutral", "negative", "negative"]
PROMPTS = [make_prompt(f"d{i}") for i in range(64)]


async def started(worker: str = "worker-0", **options: Any) -> SimulatedBackend:
    # Answers that would be longer end at the prompt's max_tokens, which makes all of them equally long.
    options = {"choice_output_tokens": 1000, **options}
    backend = SimulatedBackend(BackendSettings("any", Device("cpu", 0, "any"), worker, options))
    await backend.start()
    return backend


async def ask(backend: SimulatedBackend, prompts: Sequence[Prompt], *, within_s: float = 1e4) -> list[Any]:
    """A completion, an EngineDeadError, or None where neither came in time."""
    tasks = [asyncio.create_task(backend.answer(prompt)) for prompt in prompts]
    await asyncio.wait(tasks, timeout=within_s)
    return [(task.exception() or task.result()) if task.done() else None for task in tasks]


def answers(prompts: Sequence[Prompt], worker: str = "worker-0", **options: Any) -> list[Any]:
    async def main() -> list[Any]:
        return await ask(await started(worker, **options), prompts)

    return run(main())


def kinds(outcomes: Sequence[Any]) -> Counter[str]:
    return Counter("in flight" if outcome is None else type(outcome).__name__ for outcome in outcomes)


def predicted_s(running: int) -> float:
    """From the first token of the prompts to the last of the answers."""
    contexts = [running * (PROMPT_TOKENS + step) for step in range(OUTPUT_TOKENS)]
    decode_s = sum(decode_step_s(TILE, LLAMA, running, context) for context in contexts)
    return prefill_s(TILE, LLAMA, running * PROMPT_TOKENS) + decode_s


def test_answers_depend_on_the_key_and_the_seed_alone() -> None:
    prompts = [make_prompt(f"d{i}", sample, logprobs=True) for i in range(100) for sample in range(3)]

    def by_key(prompts: Sequence[Prompt], **options: Any) -> dict[Any, Any]:
        found = answers(prompts, agreement=0.5, fail_share=0.1, choice_output_tokens=4, **options)
        return {a.key: (a.text, a.choice_logprobs, a.output_tokens, a.error_kind) for a in found}

    at_once = by_key(prompts, time_scale=0)
    assert at_once == by_key(prompts[::-1], time_scale=0)
    assert at_once == by_key(prompts[::-1], time_scale=1, max_num_seqs=7)
    assert at_once != by_key(prompts, time_scale=0, seed=1)


def test_hidden_true_choices_are_the_same_in_every_process_and_order_of_labels() -> None:
    assert [true_choice(f"d{i}", LABELS) for i in range(6)] == PINNED
    assert [true_choice(f"d{i}", LABELS[::-1]) for i in range(6)] == PINNED


def test_the_share_of_true_and_of_failed_answers_is_the_one_asked_for() -> None:
    prompts = [make_prompt(f"d{i}") for i in range(5000)]
    found = answers(prompts, time_scale=0, agreement=0.7)
    agreeing = sum(answer.text == true_choice(answer.document_id, LABELS) for answer in found)
    assert abs(agreeing - 3500) < 4 * math.sqrt(5000 * 0.7 * 0.3)
    found = answers(prompts, time_scale=0, fail_share=0.02)
    failed = [answer for answer in found if answer.error_kind == "simulated"]
    assert abs(len(failed) - 100) < 4 * math.sqrt(5000 * 0.02 * 0.98)
    assert all((answer.text is None) == (answer in failed) for answer in found)


def test_logprobs_are_the_distribution_that_the_answer_is_drawn_from() -> None:
    truth = LABELS.index(true_choice("d0", LABELS))
    asked, unasked = answers([make_prompt("d0", logprobs=True), make_prompt("d0", 1)], agreement=0.7)
    expected = [0.7 if i == truth else 0.15 for i in range(3)]
    assert [math.exp(value) for value in asked.choice_logprobs] == pytest.approx(expected)
    assert unasked.choice_logprobs is None


def test_a_json_answer_holds_the_choice_in_its_property() -> None:
    bare, wrapped = answers([make_prompt("d0"), make_prompt("d0", schema="{}")], time_scale=0)
    assert json.loads(wrapped.text) == {"reason": "simulated", "label": bare.text}
    assert (bare.device, bare.worker, bare.prompt_tokens) == ("simulated:max-1550-tile", "worker-0", PROMPT_TOKENS)


def test_the_roofline_of_an_8b_model_on_a_tile_is_what_the_arithmetic_says() -> None:
    # 2 flop x 8.030 G weights x 1000 tokens / 419.5 Tflop/s
    assert prefill_s(TILE, LLAMA, 1000) == pytest.approx(0.038285, rel=1e-4)
    # (16.0605 GB of weights + 1000 tokens x 131,072 B) / 1638.4 GB/s, and twice that at half the peak
    assert decode_step_s(TILE, LLAMA, 10, 1000) == pytest.approx(0.0098826, rel=1e-4)
    assert decode_step_s(TILE, LLAMA, 10, 1000, bandwidth_efficiency=0.5) == pytest.approx(0.0197651, rel=1e-4)
    # 1000 tokens at once are bound by arithmetic: the weights are read in a quarter of the time
    assert decode_step_s(TILE, LLAMA, 1000, 1000) == prefill_s(TILE, LLAMA, 1000)
    # (0.9 x 64 GiB - 16.0605 GB) / 131,072 B
    assert kv_capacity_tokens(TILE, LLAMA) == 349327
    assert all(roofline.source for roofline in ROOFLINES.values())


def test_concurrent_prompts_share_the_reading_of_the_weights() -> None:
    async def main() -> tuple[float, float]:
        backend, loop = await started(), asyncio.get_running_loop()
        begun_s = loop.time()
        await ask(backend, PROMPTS)
        together_s = loop.time() - begun_s
        for prompt in PROMPTS:
            await backend.answer(prompt)
        return together_s, loop.time() - begun_s - together_s

    together_s, in_turn_s = run(main())
    assert together_s == pytest.approx(predicted_s(64))
    assert in_turn_s == pytest.approx(64 * predicted_s(1))
    assert in_turn_s > 40 * together_s


def test_simulated_time_passes_as_real_time() -> None:
    async def main() -> float:
        backend = await started(time_scale=2)
        begun_s = time.monotonic()
        await ask(backend, PROMPTS)
        return time.monotonic() - begun_s

    assert asyncio.run(main()) == pytest.approx(2 * predicted_s(64), rel=0.3)


def test_only_the_slow_worker_is_slow() -> None:
    slow, fast = (answers(PROMPTS, worker, slow_workers={"worker-1": 3}) for worker in ("worker-1", "worker-0"))
    assert [a.latency_s for a in fast] == pytest.approx([predicted_s(64)] * 64)
    assert [a.latency_s for a in slow] == pytest.approx([3 * predicted_s(64)] * 64)


@pytest.mark.parametrize("bound", [{"max_num_seqs": 5}, {"device": "arc-pro-b60"}])
def test_the_batch_is_bounded_and_an_abandoned_answer_makes_room(bound: dict[str, Any]) -> None:
    # A fifth of what the B60's KV cache holds, which is less than a seventh of the tile's.
    fifth = kv_capacity_tokens(ROOFLINES["arc-pro-b60"], LLAMA) // 5
    prompts = [make_prompt(f"d{i}", tokens=fifth - OUTPUT_TOKENS) for i in range(8)]

    async def main() -> None:
        backend = await started(**bound)
        tasks = [asyncio.create_task(backend.answer(prompt)) for prompt in prompts]
        await asyncio.sleep(1e-6)
        assert backend.load()[:2] == (5, 3)
        tasks[0].cancel()
        tasks[7].cancel()
        await asyncio.sleep(1e-6)
        assert backend.load()[:2] == (4, 2)
        assert kinds(await asyncio.gather(*tasks, return_exceptions=True)) == {"Completion": 6, "CancelledError": 2}
        assert backend.load()[:2] == (0, 0)

    run(main())


def test_a_prompt_larger_than_the_kv_cache_ends_as_an_error_row() -> None:
    refused, answered = answers([make_prompt("d0", tokens=kv_capacity_tokens(TILE, LLAMA)), PROMPTS[1]])
    assert (refused.error_kind, refused.text) == ("context_length", None)
    assert answered.text in LABELS


@pytest.mark.parametrize("time_scale", [0, 1])
def test_a_poison_document_kills_its_engine_and_no_other(time_scale: float) -> None:
    async def main() -> None:
        backend, other = [await started(time_scale=time_scale, die_on=["poison"], fail_share=s) for s in (1.0, 0.0)]
        assert {answer.error_kind for answer in await ask(backend, PROMPTS)} == {"simulated"}
        assert kinds(await ask(backend, [make_prompt("poison")])) == {"EngineDeadError": 1}
        assert kinds(await ask(backend, PROMPTS)) == {"EngineDeadError": 64}
        assert kinds(await ask(other, PROMPTS)) == {"Completion": 64}

    run(main())


def test_a_poison_document_takes_along_what_is_in_flight() -> None:
    async def main() -> None:
        backend = await started(die_on=["poison"], max_num_seqs=4)
        in_flight = asyncio.create_task(ask(backend, PROMPTS[:7]))
        await asyncio.sleep(predicted_s(4) * 1.5)
        poison = await ask(backend, [make_prompt("poison")])
        assert kinds(await in_flight) == {"Completion": 4, "EngineDeadError": 3}
        assert kinds(poison) == {"EngineDeadError": 1}
        assert backend.load()[:2] == (0, 0)

    run(main())


@pytest.mark.parametrize("time_scale", [0, 1])
def test_an_engine_that_hangs_answers_nothing_until_it_is_stopped(time_scale: float) -> None:
    async def main() -> None:
        backend = await started(time_scale=time_scale, hang_on=["sticky"])
        assert kinds(await ask(backend, PROMPTS[:10])) == {"Completion": 10}
        in_flight = asyncio.create_task(ask(backend, [make_prompt("sticky")], within_s=1e9))
        await asyncio.sleep(1)
        assert kinds(await ask(backend, PROMPTS[10:20])) == {"in flight": 10}
        assert backend.load()[:2] == (1, 10)
        backend.stop()
        assert kinds(await in_flight) == {"EngineDeadError": 1}
        assert kinds(await ask(backend, PROMPTS[20:30])) == {"EngineDeadError": 10}

    run(main())


@pytest.mark.parametrize("time_scale", [0, 1])
def test_a_device_is_lost_after_as_many_answers_as_it_was_told_to_give(time_scale: float) -> None:
    options = {"time_scale": time_scale, "lose_device_after_answers": 20, "lose_device_workers": ["worker-1"]}
    lost, kept = (answers(PROMPTS, worker, **options) for worker in ("worker-1", "worker-0"))
    assert kinds(lost) == {"Completion": 20, "EngineDeadError": 44}
    assert "DEVICE_LOST" in str(lost[-1])
    assert kinds(kept) == {"Completion": 64}


def test_a_device_that_is_lost_for_good_does_not_start_again(tmp_path: Path) -> None:
    options = {"lose_device_after_answers": 20, "lost_devices_folder": str(tmp_path)}
    assert kinds(answers(PROMPTS, **options)) == {"Completion": 20, "EngineDeadError": 44}
    with pytest.raises(EngineError, match="DEVICE_LOST"):
        run(started(**options))
    assert kinds(answers(PROMPTS, worker="another", lost_devices_folder=str(tmp_path))) == {"Completion": 64}


def test_a_document_can_end_the_whole_process() -> None:
    program = """
import asyncio
from tests.engine.backends.test_simulated import ask, make_prompt, started
async def main() -> None:
    backend = await started(exit_on=["last"])
    print(len(await ask(backend, [make_prompt("first")])), flush=True)
    await ask(backend, [make_prompt("last")])
    print("still here")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path.cwd(), timeout=60)
    assert (done.returncode, done.stdout) == (1, "1\n"), done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"agrement": 1}, "engine.simulated.agrement -> did you mean engine.simulated.agreement"),
        ({"zzz": 1}, "unknown config key engine.simulated.zzz"),
        ({"agreement": 1.5}, "engine.simulated.agreement: input should be less than or equal to 1, got 1.5"),
        ({"device": "h100"}, "engine.simulated.device: 'h100' is none of max-1100, max-1550-tile, arc-pro-b60"),
        ({"slow_workers": {"worker-1": 0}}, "engine.simulated.slow_workers.worker-1: input should be greater than 0"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        run(started(**options))
    assert message in str(refused.value)


def test_without_choices_the_answer_is_free_text_or_minimal_json() -> None:
    text = make_prompt("d0")._replace(answer=AnswerSchema(), sampling=Sampling(1.0, 1.0, None))
    (free,) = answers([text], time_scale=0, text_output_tokens=40)
    assert 20 <= free.output_tokens == len(free.text.split()) <= 60
    (cut,) = answers([text._replace(sampling=Sampling(1.0, 1.0, 5))], time_scale=0, text_output_tokens=40)
    assert cut.output_tokens == len(cut.text.split()) == 5
    (made,) = answers([text._replace(answer=AnswerSchema(json_schema='{"type": "object"}'))], time_scale=0)
    assert (made.text, made.error_kind) == ("{}", None)


def test_a_read_names_its_likeliest_choice_and_generates_one_token() -> None:
    prompts = [make_prompt(f"d{i}", logprobs=True) for i in range(40)]
    reads = answers([each._replace(answer=replace(each.answer, read=True)) for each in prompts], agreement=0.7)
    assert len({answer.text for answer in reads}) == len(LABELS)
    for answer in reads:
        assert answer.choice_logprobs is not None
        assert answer.text == LABELS[answer.choice_logprobs.index(max(answer.choice_logprobs))]
        assert answer.output_tokens == 1


def test_each_choice_that_is_asked_about_by_itself_has_a_probability_of_its_own() -> None:
    questions = Questions(tuple(f"Is it {label}?" for label in LABELS), "Which?")
    schema = AnswerSchema(LABELS, '{"type": "array"}', logprobs=True, read=True, questions=questions)
    prompts = [make_prompt(f"d{i}")._replace(answer=schema, persona_id=f"p{k}") for i in range(200) for k in range(2)]
    found = answers(prompts, agreement=0.8, time_scale=0)
    assert [each.text for each in answers(prompts, agreement=0.8, time_scale=0)] == [each.text for each in found]
    yes = [[math.exp(value) for value in each.choice_logprobs] for each in found]
    assert {round(value, 6) for row in yes for value in row} == {0.8, 0.2}
    assert [json.loads(each.text) for each in found] == [
        [label for label, value in zip(LABELS, row, strict=True) if value > 0.5] for row in yes
    ]
    sizes = Counter(len(json.loads(each.text)) for each in found)
    assert set(sizes) == {0, 1, 2, 3}, "a set may have any size"
    agree = [a == b for one, other in zip(yes[::2], yes[1::2], strict=True) for a, b in zip(one, other, strict=True)]
    assert 0.6 < sum(agree) / len(agree) < 0.76, "two personas agree where both are right or both wrong: 0.68"
    assert all(each.output_tokens == 3 for each in found)
    assert all(each.prompt_tokens - each.cached_prompt_tokens == PROMPT_TOKENS + 9 for each in found)
