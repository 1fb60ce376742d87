"""What files and answers may hold that nobody meant: strategies, and the promise that holds for each reader of them.

`HYPOTHESIS_PROFILE=search` draws new ones; what that finds becomes an @example.
"""

import json
import os
import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st

from xpoll.core.errors import UserError

LONGEST_S = 5.0
SLACK_BYTES = 6 * 2**20
"""What a reader may hold whatever the size of its input, e.g. buffers and what it imports."""

_ODD = ["", "a", "good", "=1", "0", "-1", "1e999", "NaN", "\ud800", "\x00", "ä", "\u2028", "../x"]
word = st.sampled_from(_ODD) | st.text(max_size=8)
scalar = st.none() | st.booleans() | st.integers() | st.floats() | word
anything = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(word, inner, max_size=3), max_leaves=6
)
"""Any value of JSON, numbers that are none included."""

DEEP = b"[" * 100_000
ROTTEN = [b"", b"{", b"[1]", b"{}", b"null", b"1", b'"x"', b"\xff\xfe{", b"\0" * 64, DEEP]
"""What a JSON file holds that is none, or one of another form."""


def examples(number: int) -> settings:
    """So many examples in each run of the tests, and twenty times as many new ones in a search."""
    times = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "search" else 1
    return settings(max_examples=times * number, deadline=None)


def json_bytes(value: Any) -> bytes:
    """As a program writes it that checks nothing: half of surrogate pairs as escapes."""
    return json.dumps(value).encode()


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """A file of which some bytes were cut, flipped, zeroed, doubled, or replaced by lengths that are out of bounds."""
    changed, dice = bytearray(content), random.Random(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(1, 4))):
        at = dice.randrange(max(1, len(changed)))
        match dice.randrange(6):
            case 0:
                del changed[at:]
            case 1:
                changed[at : at + 1] = bytes(byte ^ 1 << dice.randrange(8) for byte in changed[at : at + 1])
            case 2:
                changed[at : at + dice.randint(1, 64)] = bytes(dice.randint(1, 64))
            case 3:
                changed[at:at] = changed[dice.randrange(max(1, len(changed))) :][: dice.randint(1, 50)]
            case 4:
                changed[at : at + 1] = dice.choice([b'"', b"\n", b"[", b"{", b"\xff", b"\0", b"=", b"'"])
            case _:
                changed[at : at + 4] = dice.choice([b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff\xff\xff\xff"])
    return bytes(changed)


def holds(read: Callable[[], object], *, size: int) -> None:
    """Reads: no crash, at most one line of error, no hang, no memory beyond ten times the input.

    Args:
        read: What reads the input, to its end.
        size: Of the input, in bytes.
    """
    tracemalloc.start()
    begun_s = time.monotonic()
    before = pa.total_allocated_bytes()
    said = ""
    try:
        read()
    except UserError as error:
        said = str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert "\n" not in said
    assert time.monotonic() - begun_s < LONGEST_S
    assert peak + max(0, pa.total_allocated_bytes() - before) <= 10 * size + SLACK_BYTES
