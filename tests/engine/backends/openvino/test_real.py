"""OpenVINO GenAI itself, on a tiny Llama that is converted here: what it answers, tells, refuses and survives."""

import asyncio
import json
import math
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny import make_tiny_llama
from xpoll.core.errors import ConfigError, EngineError, ModelError
from xpoll.core.questions import Questions
from xpoll.core.records import AnswerSchema, Completion, Prompt, Sampling
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.openvino import conversion
from xpoll.engine.backends.openvino.backend import OpenVinoBackend
from xpoll.engine.devices.find import Device

pytest.importorskip("openvino_genai")
pytest.importorskip("openvino_tokenizers")
pytestmark = pytest.mark.engine

CHOICES = ("good", "bad", "goodness")


def prompt(
    answer: AnswerSchema, text: str = "the sun", *, temperature: float = 0.0, tokens: int = 12, **more: Any
) -> Prompt:
    messages = ({"role": "user", "content": f"Text: {text}"},)
    return Prompt(
        text, "p", 0, messages, Sampling(temperature, 1.0, tokens, json.dumps(more) if more else None), answer
    )


class Running:
    """A backend and the event loop that it lives in."""

    def __init__(self, model: Path, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.backend = OpenVinoBackend(BackendSettings(str(model), Device("cpu", 0, "test"), "w", options))
        self.run(self.backend.start())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def ask(self, *prompts: Prompt) -> list[Completion]:
        async def all_at_once() -> list[Completion]:
            return list(await asyncio.gather(*map(self.backend.answer, prompts)))

        found: list[Completion] = self.run(all_at_once())
        return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def running(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        running = Running(model, properties={"INFERENCE_PRECISION_HINT": "f32"})
        yield running
        running.backend.stop()


def exact_logprobs(model: Path, token_ids: Sequence[int], choices: Sequence[Sequence[int]]) -> list[float]:
    """By Transformers, each choice's tokens after the prompt, normalised."""
    import torch
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    told = []
    for choice in choices:
        ids = [*token_ids, *choice]
        with torch.inference_mode():
            logprobs = torch.log_softmax(loaded(torch.tensor([ids])).logits[0], -1)
        told.append(sum(float(logprobs[len(token_ids) + i - 1, token]) for i, token in enumerate(choice)))
    total = math.log(sum(map(math.exp, told)))
    return [each - total for each in told]


def test_a_read_is_what_transformers_computes(model: Path, running: Running) -> None:
    chat = running.backend._chat
    end = chat.tokenizer.eos_token_id
    for text in ("the sun", "the sun shines", "the sun shines on me and on you", "a"):
        asked = prompt(AnswerSchema(CHOICES, read=True), text)
        (answer,) = running.ask(asked)
        ids = chat.encode(chat.rendered(asked, asked.messages))
        labels = [[*chat.encode("good"), end], chat.encode("bad"), chat.encode("goodness")]
        assert answer.choice_logprobs == pytest.approx(exact_logprobs(model, ids, labels), abs=0.02)
        assert answer.text == CHOICES[answer.choice_logprobs.index(max(answer.choice_logprobs))]
        assert (answer.error, answer.unread_choices, answer.finish_reason) == (None, 0, "stop")


def test_logprobs_beside_an_answer_are_exact_while_others_are_written(model: Path, running: Running) -> None:
    chat = running.backend._chat
    labels = [[*chat.encode("good"), chat.tokenizer.eos_token_id], chat.encode("bad"), chat.encode("goodness")]
    asked = [
        prompt(AnswerSchema(CHOICES, logprobs=True), f"the sun shines on {'me ' * i}", temperature=1.0)
        for i in range(12)
    ]
    others = [prompt(AnswerSchema(), f"you {'and you ' * i}", tokens=40) for i in range(12)]
    mixed = [each for pair in zip(asked, others, strict=True) for each in pair]
    told = running.ask(*mixed)[::2]
    for each, answer in zip(asked, told, strict=True):
        ids = chat.encode(chat.rendered(each, each.messages))
        assert answer.choice_logprobs == pytest.approx(exact_logprobs(model, ids, labels), abs=0.02)


@pytest.mark.parametrize("kind", ["Qwen2", "Qwen3"])
def test_other_architectures_are_converted_right(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    import transformers

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = make_tiny_llama(tmp_path / "tiny")
    about = json.loads((folder / "config.json").read_text())
    sizes = {name: about[name] for name in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512}
    config = getattr(transformers, f"{kind}Config")(
        **sizes, **heads, eos_token_id=about["eos_token_id"], bos_token_id=None, tie_word_embeddings=kind == "Qwen3"
    )
    torch.manual_seed(1)
    made = getattr(transformers, f"{kind}ForCausalLM")(config)
    for name, weights in made.named_parameters():  # biases begin at 0, norms at 1
        if name.endswith(("bias", "norm.weight")):
            torch.nn.init.uniform_(weights, 0.5, 1.5)
    made.save_pretrained(folder)
    running = Running(folder, properties={"INFERENCE_PRECISION_HINT": "f32"})
    asked = prompt(AnswerSchema(CHOICES, read=True), "the sun shines on me")
    (answer,) = running.ask(asked)
    chat = running.backend._chat
    labels = [[*chat.encode("good"), chat.tokenizer.eos_token_id], chat.encode("bad"), chat.encode("goodness")]
    ids = chat.encode(chat.rendered(asked, asked.messages))
    running.backend.stop()
    assert answer.choice_logprobs == pytest.approx(exact_logprobs(folder, ids, labels), abs=0.05)


def test_answers_are_held_to_choices_schemas_and_patterns(running: Running) -> None:
    schema = json.dumps({"type": "object", "properties": {"label": {"enum": ["a", "b"]}}, "required": ["label"]})
    asked = [
        prompt(AnswerSchema(CHOICES, logprobs=True), temperature=1.0),
        prompt(AnswerSchema(json_schema=schema), tokens=100, structured_outputs={}),
        prompt(AnswerSchema(), structured_outputs={"regex": "(yes|no)"}),
        prompt(AnswerSchema(), tokens=5),
    ]
    choice, value, pattern, free = running.ask(*asked)
    assert [answer.error for answer in (choice, value, pattern, free)] == [None] * 4
    assert choice.text in CHOICES
    assert choice.choice_logprobs is not None
    assert sum(map(math.exp, choice.choice_logprobs)) == pytest.approx(1)
    assert value.finish_reason == "length" or json.loads(value.text or "")["label"] in ("a", "b")
    assert pattern.text in ("yes", "no")
    assert (free.finish_reason, free.output_tokens) == ("length", 5)


def test_questions_are_read_one_by_one(running: Running) -> None:
    questions = Questions(("Is it a?", "Is it b?"), "Which of a and b?")
    (answer,) = running.ask(prompt(AnswerSchema(("a", "b"), read=True, questions=questions)))
    assert answer.choice_logprobs is not None
    assert len(answer.choice_logprobs) == 2
    assert all(logprob < 0 for logprob in answer.choice_logprobs)
    assert set(json.loads(answer.text or "")) <= {"a", "b"}


def test_what_cannot_be_answered_is_a_row_and_the_rest_goes_on(running: Running) -> None:
    asked = [
        prompt(AnswerSchema(CHOICES), "fine"),
        prompt(AnswerSchema(), structured_outputs={"regex": "(["}),
        prompt(AnswerSchema(), "far " * 200),
        prompt(AnswerSchema(), min_p=0.5),
        prompt(AnswerSchema(CHOICES, read=True), "fine, too"),
        prompt(AnswerSchema(("<|end|>", "b"), read=True)),
    ]
    kinds = [(answer.error_kind, answer.error) for answer in running.ask(*asked)]
    assert [kind for kind, _ in kinds] == [None, "refused", "context_length", "refused", None, "refused"]
    assert "Unclosed" in str(kinds[1])
    assert "has no min_p" in str(kinds[3])
    assert "control token" in str(kinds[5])


def test_the_same_seeds_give_the_same_answers(running: Running) -> None:
    def texts() -> list[str | None]:
        asked = [prompt(AnswerSchema(), temperature=1.0, seed=seed) for seed in (1, 2, 3)]
        return [answer.text for answer in running.ask(*asked)]

    first = texts()
    assert len(set(first)) == 3
    assert texts() == first


def test_an_answer_that_nobody_waits_for_leaves_the_engine(running: Running) -> None:
    engine = running.backend._engine

    async def until(busy: bool) -> None:
        while bool(engine.running if busy else engine.has_work) is not busy:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def abandoned() -> None:
        task = asyncio.ensure_future(running.backend.answer(prompt(AnswerSchema(), tokens=400, ignore_eos=True)))
        await until(True)
        task.cancel()
        await until(False)

    running.run(asyncio.wait_for(abandoned(), 30))
    (answer,) = running.ask(prompt(AnswerSchema(CHOICES)))
    assert answer.text in CHOICES


def test_int8_and_int4_are_smaller_and_say_nearly_the_same(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "xpoll/openvino" / conversion._name(model, "int8")
    folder.with_name(f".{folder.name}.1.tmp").mkdir(parents=True)  # of a conversion that was killed
    sizes, told = [], []
    for weights in ("fp16", "int8", "int4"):
        running = Running(model, weights=weights)
        (answer,) = running.ask(prompt(AnswerSchema(CHOICES, read=True)))
        running.backend.stop()
        (folder,) = tmp_path.glob(f"xpoll/openvino/tiny-{weights}-*")
        sizes.append((folder / "openvino_model.bin").stat().st_size)
        told.append(answer.choice_logprobs)
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3
    assert told[1] == pytest.approx(told[0], abs=0.1)
    assert not list(tmp_path.glob("xpoll/openvino/*.tmp")) + list(tmp_path.glob("xpoll/openvino/**/*.gguf"))


def test_a_folder_that_is_exported_is_taken_as_it_is(model: Path, running: Running) -> None:
    exported = conversion.openvino_folder(model, None)
    for file in (*model.glob("tokenizer*"), *model.glob("chat_template*")):
        (exported / file.name).write_bytes(file.read_bytes())
    again = Running(exported)
    (answer,) = again.ask(prompt(AnswerSchema(CHOICES, read=True)))
    again.backend.stop()
    (first,) = running.ask(prompt(AnswerSchema(CHOICES, read=True)))
    assert answer.choice_logprobs == pytest.approx(first.choice_logprobs, abs=0.05)
    with pytest.raises(ModelError, match="is exported already"):
        conversion.openvino_folder(exported, "int8")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"device": "GPU"}, EngineError, "OpenVINO sees no GPU"),
        ({"device": "NPU"}, ConfigError, "CPU, GPU or GPU.NUMBER"),
        ({"scheduler": {"max_seqs": 1}}, EngineError, "SchedulerConfig has no such field"),
        ({"scheduler": {"max_num_seqs": "many"}}, EngineError, "does not fit"),
        ({"properties": {"NUM_THREADZ": 1}}, EngineError, "NUM_THREADZ"),
    ],
)
def test_what_openvino_does_not_take_is_one_line(
    model: Path, running: Running, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as raised:
        Running(model, **options)
    assert len(str(raised.value).splitlines()) == 1
