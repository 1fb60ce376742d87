"""JSON values through a pipe, each behind its length: four bytes, big-endian."""

import asyncio
import json
from typing import Any, BinaryIO

LENGTH_BYTES = 4


def framed(value: Any) -> bytes:
    """A value as it goes through the pipe."""
    body = json.dumps(value).encode()
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def read_frame(pipe: BinaryIO) -> Any:
    """The next value.

    Raises:
        EOFError: the other side is gone.
    """
    length = pipe.read(LENGTH_BYTES)
    body = pipe.read(int.from_bytes(length, "big")) if len(length) == LENGTH_BYTES else b""
    if not body:
        raise EOFError
    return json.loads(body)


async def next_frame(pipe: asyncio.StreamReader) -> Any:
    """The next value.

    Raises:
        EOFError: the other side is gone.
    """
    length = await pipe.readexactly(LENGTH_BYTES)  # its IncompleteReadError is an EOFError
    return json.loads(await pipe.readexactly(int.from_bytes(length, "big")))
