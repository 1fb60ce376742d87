"""What a tokenizer reads as a control token, such as the end of a turn, is taken apart in texts that are data.

A chat template writes control tokens around each message, and the tokenizer finds them wherever they
stand: a document that spells out "<|im_end|>" ends its turn and begins one of its own, whatever quotes
are around it.
"""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from xpoll.core.records import Message


def without_control_tokens(text: str, control_tokens: Sequence[str]) -> str:
    """The text with a space behind the first character of each control token in it, so that none is left.

    A token of one character is taken out instead, and so are all of them where one holds a space, since
    a space would not part them for sure.

    Args:
        text: Any text.
        control_tokens: The strings that the tokenizer reads as control tokens, e.g. "<|im_end|>": its
            special tokens and its added tokens that are marked special.
    """
    pattern = _pattern(tuple(control_tokens))
    if pattern is None or not pattern.search(text):
        return text
    can_part = not any(" " in token for token in control_tokens)

    def harmless(found: re.Match[str]) -> str:
        token = found[0]
        return f"{token[0]} {token[1:]}" if can_part and len(token) > 1 else ""

    while pattern.search(text):  # again: what is left around one may form another
        text = pattern.sub(harmless, text)
    return text


def messages_without_control_tokens(messages: Sequence[Message], control_tokens: Sequence[str]) -> list[Message]:
    """The messages with the same done to their texts."""
    return [{**each, "content": without_control_tokens(each["content"], control_tokens)} for each in messages]


def control_tokens_in(tokenizer_file: Path) -> list[str]:
    """The control tokens that a tokenizer.json states, for where no tokenizer is loaded."""
    added = json.loads(tokenizer_file.read_text(encoding="utf-8")).get("added_tokens", [])
    return sorted({token["content"] for token in added if token.get("special")})


@lru_cache(maxsize=8)
def _pattern(control_tokens: tuple[str, ...]) -> re.Pattern[str] | None:
    """What finds any of them, the longest first."""
    tokens = sorted(filter(None, control_tokens), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, tokens))) if tokens else None
