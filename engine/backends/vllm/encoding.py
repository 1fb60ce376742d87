"""Tokenises rendered chats with a cache of the pieces that prompts share.

The prompts of a job share personas, instructions and examples, which are delimited by control tokens. A
tokenizer splits a text at its control tokens before anything else, so the pieces in between can be tokenised
one by one, and recent ones are cached: a prompt of 380 tokens, of which 50 are its own, takes 0.12 ms instead
of 1.2 ms, in the same event loop that passes the engine's answers on.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

KEPT_PIECES = 1024
LONGEST_KEPT = 8192  # characters; a longer piece is a document, which occurs at most once per persona

_ANYWHERE = {"ByteLevel", "Split", "Digits", "NFC", "NFD", "NFKC", "NFKD", "Lowercase"}
"""Tokenizer steps that treat a piece the same at any position (SentencePiece marks the first piece of a text)."""


def encoder_of(tokenizer: Any) -> Callable[[str], list[int]]:
    """A function from a text to its token ids, without added special tokens.

    Args:
        tokenizer: A tokenizer of Transformers. One that is not written in Rust, or whose pieces depend on
            their surroundings, tokenises whole texts without a cache.
    """
    rust = getattr(tokenizer, "backend_tokenizer", None)
    if rust is None:
        return lambda text: list(tokenizer.encode(text, add_special_tokens=False))
    rust.no_truncation()  # tokenizer.json may ask for it, for other uses
    rust.no_padding()

    def whole(text: str) -> list[int]:
        # Directly: the wrapper of Transformers takes half of the time.
        return list(rust.encode(text, add_special_tokens=False).ids)

    parsed = json.loads(rust.to_str())
    marks = sorted((str(token["content"]) for token in parsed["added_tokens"]), key=len, reverse=True)
    if not marks or not pieces_stand_alone(parsed):
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
    """Whether the token ids of a text are the concatenated ids of its pieces between added tokens.

    Args:
        tokenizer: The content of tokenizer.json.
    """
    added = tokenizer["added_tokens"]
    if any(token[rule] for token in added for rule in ("normalized", "lstrip", "rstrip", "single_word")):
        return False  # how such a token matches depends on its surroundings
    return _anywhere(tokenizer["normalizer"]) and _anywhere(tokenizer["pre_tokenizer"])


def _anywhere(step: Mapping[str, Any] | None) -> bool:
    if step is None:
        return True
    if step["type"] == "Sequence":
        return all(map(_anywhere, step.get("normalizers") or step.get("pretokenizers") or []))
    return step["type"] in _ANYWHERE and not step.get("add_prefix_space", False)
