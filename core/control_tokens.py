"""Takes control tokens, such as the end of a turn, out of texts that are data.

A chat template writes control tokens around each message, and the tokenizer finds them wherever they
are: a document that contains "<|im_end|>" ends its turn and begins one of its own, whatever quotes
are around it.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from xpoll.core.files import json_value
from xpoll.core.records import Message


def without_control_tokens(text: str, control_tokens: Sequence[str]) -> str:
    """The text with a space after the first character of each control token, so that none is left.

    A token of one character is removed instead. All of them are where one contains a space, because then
    a space need not break a token.

    Args:
        text: Any text.
        control_tokens: The strings that the tokenizer reads as control tokens, e.g. "<|im_end|>": its
            special tokens and its added tokens that are marked special.
    """
    pattern = _pattern(tuple(control_tokens))
    if pattern is None or not pattern.search(text):
        return text
    can_break = not any(" " in token for token in control_tokens)

    def broken(found: re.Match[str]) -> str:
        token = found[0]
        return f"{token[0]} {token[1:]}" if can_break and len(token) > 1 else ""

    while pattern.search(text):  # again, because what is left around one may form another
        text = pattern.sub(broken, text)
    return text


def messages_without_control_tokens(messages: Sequence[Message], control_tokens: Sequence[str]) -> list[Message]:
    """The messages with the control tokens in their contents broken up; see `without_control_tokens`."""
    return [{**each, "content": without_control_tokens(each["content"], control_tokens)} for each in messages]


def control_tokens_in(tokenizer_file: Path) -> list[str]:
    """The control tokens that a tokenizer.json lists, sorted; for use where no tokenizer is loaded.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not JSON.
    """
    added = json_value(tokenizer_file.read_text(encoding="utf-8")).get("added_tokens", [])
    return sorted({token["content"] for token in added if token.get("special")})


@lru_cache(maxsize=8)
def _pattern(control_tokens: tuple[str, ...]) -> re.Pattern[str] | None:
    """A pattern that finds any of them, the longest first; None without any."""
    tokens = sorted(filter(None, control_tokens), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, tokens))) if tokens else None
