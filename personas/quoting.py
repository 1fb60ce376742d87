"""Quotes documents inside prompts, so that nothing in a document can end its quotation.

A text is put between fences that are longer than any run of backticks in it, so that no text can close its
own fence. Control tokens need more than that: the tokenizer reads them before the model sees any fence;
see core/control_tokens.py.
"""

import re

MARK = "`"
SHORTEST = 3


def fence_of(text: str) -> str:
    """The fence of a text: at least three backticks, and one more than the longest run of them in it."""
    if MARK not in text:
        return MARK * SHORTEST
    longest = max((len(run) for run in re.findall(f"{MARK}+", text)), default=0)
    return MARK * max(SHORTEST, longest + 1)


def quoted(text: str) -> str:
    """The text between two lines that consist of its fence."""
    fence = fence_of(text)
    return f"{fence}\n{text}\n{fence}"


def unquoted(block: str) -> str:
    """The text that `quoted` made the block from.

    Raises:
        ValueError: the block is not one that `quoted` makes.
    """
    fence, first_line_ends, rest = block.partition("\n")
    text, last_line_begins, end = rest.rpartition("\n")
    if not (first_line_ends and last_line_begins) or end != fence or fence != fence_of(text):
        raise ValueError("not a text between its fences")
    return text
