"""A longest answer that a label does not fit into is refused where the model's tokens are known."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from xpoll.core.errors import ConfigError
from xpoll.core.records import AnswerSchema, Prompt, Sampling
from xpoll.engine.planning import token_counts

LABELS = ("bad", "balance not updated")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model of which each byte is a token."""
    alphabet = {letter: number for number, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr(token_counts, "model_file", lambda model, name: tmp_path / name if model == "bytes" else None)
    return "bytes"


def prompt(max_tokens: int | None, answer: AnswerSchema) -> Prompt:
    return Prompt("0", "p", 0, (), Sampling(0, 1, max_tokens), answer)


def test_too_short_an_answer_for_a_label_is_refused(model: str) -> None:
    with pytest.raises(ConfigError, match=r"max_tokens = 16 is too short for the label 'balance not updated' of 19"):
        token_counts.check_room(prompt(16, AnswerSchema(LABELS)), model)


@pytest.mark.parametrize(
    ("max_tokens", "answer"),
    [
        (19, AnswerSchema(LABELS)),
        (None, AnswerSchema(LABELS)),
        (1, AnswerSchema(LABELS, read=True)),
        (4, AnswerSchema()),
    ],
)
def test_what_fits_or_is_free_is_not(model: str, max_tokens: int | None, answer: AnswerSchema) -> None:
    token_counts.check_room(prompt(max_tokens, answer), model)
    token_counts.check_room(prompt(1, AnswerSchema(LABELS)), "a model that is not here")
