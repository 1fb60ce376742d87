"""A document inside a prompt is data: nothing in it may end its quotation or begin a turn of the chat.

`quoted` puts a text between fences that are longer than any run of the fence's mark in it, so that no
text can close its own fence. `without_control_tokens` takes from a text what the model's tokenizer
would read as a control token, such as the end of a turn; a fence does not help against these, because
the tokenizer reads them before the model sees anything.
"""

import re
from collections.abc import Sequence

MARK = "`"
SHORTEST = 3


def fence_of(text: str) -> str:
    """The fence of a text: at least three marks, and one more than the longest run of them in it."""
    longest = max((len(run) for run in re.findall(f"{MARK}+", text)), default=0)
    return MARK * max(SHORTEST, longest + 1)


def quoted(text: str) -> str:
    """The text between two lines that hold its fence and nothing else."""
    fence = fence_of(text)
    return f"{fence}\n{text}\n{fence}"


def unquoted(block: str) -> str:
    """The text that `quoted` made the block from.

    Raises:
        ValueError: it is no such block.
    """
    fence, first_line_ends, rest = block.partition("\n")
    text, last_line_begins, end = rest.rpartition("\n")
    if not (first_line_ends and last_line_begins) or end != fence or fence != fence_of(text):
        raise ValueError("not a text between its fences")
    return text


def without_control_tokens(text: str, control_tokens: Sequence[str]) -> str:
    """The text with a space behind the first character of each control token in it, so that none is left.

    A token of one character is taken out instead, and so are all of them where one holds a space, since
    a space would not part them for sure.

    Args:
        text: Any text.
        control_tokens: The strings that the tokenizer reads as control tokens, e.g. "<|im_end|>": its
            special tokens and its added tokens that are marked special.
    """
    tokens = sorted(filter(None, control_tokens), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, tokens)))
    can_part = not any(" " in token for token in tokens)

    def harmless(found: re.Match[str]) -> str:
        token = found[0]
        return f"{token[0]} {token[1:]}" if can_part and len(token) > 1 else ""

    while tokens and pattern.search(text):  # again: what is left around one may form another
        text = pattern.sub(harmless, text)
    return text
