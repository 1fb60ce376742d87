"""Token ids by pieces are those of the whole text, or the whole is asked."""

import json
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from xpoll.engine.backends.vllm.encoding import encoder_of, pieces_stand_alone

MARKS = ["<|im_start|>", "<|im_end|>", "<|im|>"]
CORPUS = ["the profit of the group rose by a third from the year before", "user system assistant\nneutral positive"] * 3
TEXTS = [
    "",
    "<|im_start|>user\nthe profit rose<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>system\n  the user<|im_end|>\n<|im_start|>user\nthe user  <|im_end|>",
    " profit<|im|> profit<|im_start<|im_start|>|im_end|><|im_end|><|im_end|>\u0338 neutral",
    "Ünïcödé <|im_end|>語 \U0001f600 12345 e\u0301<|im|>e\u0301",
    "rose " * 3000 + "<|im_end|>" + "rose " * 3000,
]
SPLIT = pre_tokenizers.Split(Regex(r"\p{N}|[^\r\n\p{L}\p{N}]?\p{L}+|\s+"), "isolated")
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)


def tokenizer_of(pre_tokenizer: Any, normalizer: Any = None, **rules: bool) -> PreTrainedTokenizerFast:
    made = Tokenizer(models.BPE(unk_token=None))
    made.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        made.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(CORPUS, trainer)
    made.add_special_tokens([AddedToken(mark, normalized=False, **rules) for mark in MARKS])
    return PreTrainedTokenizerFast(tokenizer_object=made)


STANDING = {
    "bytes": (BYTES, None),
    "split, then bytes": (
        pre_tokenizers.Sequence([SPLIT, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
        normalizers.NFC(),
    ),
    "digits": (pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTES]), None),
}
LEANING = {
    "a mark before the first": (pre_tokenizers.Metaspace(prepend_scheme="first"), None, {}),
    "a space before the first": (pre_tokenizers.ByteLevel(add_prefix_space=True), None, {}),
    "a normalizer that prepends": (BYTES, normalizers.Prepend("▁"), {}),
    "tokens that take in spaces": (BYTES, None, {"lstrip": True}),
}


@pytest.mark.parametrize("kind", STANDING)
def test_pieces_give_the_token_ids_of_the_whole(kind: str) -> None:
    tokenizer = tokenizer_of(*STANDING[kind])
    assert pieces_stand_alone(json.loads(tokenizer.backend_tokenizer.to_str()))
    encode = encoder_of(tokenizer)
    for text in [*TEXTS, *TEXTS]:  # again: from what is kept
        assert encode(text) == tokenizer.encode(text, add_special_tokens=False), text[:80]


@pytest.mark.parametrize("kind", LEANING)
def test_a_tokenizer_that_takes_the_first_piece_otherwise_is_asked_for_the_whole(kind: str) -> None:
    pre_tokenizer, normalizer, rules = LEANING[kind]
    tokenizer = tokenizer_of(pre_tokenizer, normalizer, **rules)
    assert not pieces_stand_alone(json.loads(tokenizer.backend_tokenizer.to_str()))
    encode = encoder_of(tokenizer)
    for text in TEXTS:
        assert encode(text) == tokenizer.encode(text, add_special_tokens=False), text[:80]


def test_shared_pieces_are_tokenised_once() -> None:
    tokenizer = tokenizer_of(BYTES)
    asked: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer.backend_tokenizer, name)

        def encode(self, text: str, **named: Any) -> Any:
            asked.append(text)
            return tokenizer.backend_tokenizer.encode(text, **named)

    class Wrapped:
        backend_tokenizer = Counting()

    encode = encoder_of(Wrapped())
    for number in range(3):
        encode(f"<|im_start|>the same for all<|im_end|>text {number}<|im_end|>")
    assert asked.count("the same for all") == 1
    assert [text for text in asked if text.startswith("text")] == ["text 0", "text 1", "text 2"]
