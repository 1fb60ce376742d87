"""From a rendered chat to token ids, without tokenising again what many prompts share.

The prompts of a job share personas, instructions and examples, which stand between control tokens. A tokenizer
cuts a text at its control tokens before anything else, so the pieces between them can be tokenised one by
one, and those that were seen lately are kept: a prompt of 380 tokens of which 50 are its own takes 0.12 ms
in place of 1.2, in the same event loop that hands the engine's answers on.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

KEPT_PIECES = 1024
LONGEST_KEPT = 8192  # characters; a longer piece is a document, which comes once for each persona at most

_ANYWHERE = {"ByteLevel", "Split", "Digits", "NFC", "NFD", "NFKC", "NFKD", "Lowercase"}
"""Steps of a tokenizer that treat a piece the same wherever it stands (SentencePiece's mark the first of a text)."""


def encoder_of(tokenizer: Any) -> Callable[[str], list[int]]:
    """From a text to its token ids, as the tokenizer has them without special tokens of its own.

    Args:
        tokenizer: Of Transformers. One that is not written in Rust, or that could take a piece otherwise than
            the whole, is asked for the whole.
    """
    rust = getattr(tokenizer, "backend_tokenizer", None)
    if rust is None:
        return lambda text: list(tokenizer.encode(text, add_special_tokens=False))
    rust.no_truncation()  # what tokenizer.json may ask for is for other uses
    rust.no_padding()

    def whole(text: str) -> list[int]:
        # Without the half of the time that Transformers spends around its Rust tokenizer.
        return list(rust.encode(text, add_special_tokens=False).ids)

    said = json.loads(rust.to_str())
    marks = sorted((str(token["content"]) for token in said["added_tokens"]), key=len, reverse=True)
    if not marks or not pieces_stand_alone(said):
        return whole
    cut = re.compile(f"({'|'.join(map(re.escape, marks))})")
    kept = lru_cache(KEPT_PIECES)(lambda piece: tuple(whole(piece)))

    def by_pieces(text: str) -> list[int]:
        ids: list[int] = []
        for piece in cut.split(text):
            ids += kept(piece) if len(piece) <= LONGEST_KEPT else whole(piece)
        return ids

    return by_pieces


def pieces_stand_alone(tokenizer: Mapping[str, Any]) -> bool:
    """Whether the token ids of a text are those of its pieces between added tokens, one after the other.

    Args:
        tokenizer: What a tokenizer.json holds.
    """
    added = tokenizer["added_tokens"]
    if any(token[rule] for token in added for rule in ("normalized", "lstrip", "rstrip", "single_word")):
        return False  # such a token is found, or takes in what is beside it, depending on its surroundings
    return _anywhere(tokenizer["normalizer"]) and _anywhere(tokenizer["pre_tokenizer"])


def _anywhere(step: Mapping[str, Any] | None) -> bool:
    if step is None:
        return True
    if step["type"] == "Sequence":
        return all(map(_anywhere, step.get("normalizers") or step.get("pretokenizers") or []))
    return step["type"] in _ANYWHERE and not step.get("add_prefix_space", False)
