"""A first pass over a batch file: numbers of lines and prompts, models, and an index of the ids.

Memory is 26 bytes per line: ten million lines are 260 MB.
"""

from array import array
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np

from xpoll.core.errors import InputError
from xpoll.engine.batch.requests import Request, read_requests

DIGEST_BYTES = 16


class Survey:
    """Counts and an index of a batch file.

    Attributes:
        lines: Number of lines that are not empty.
        asked: Lines with a custom_id, if any of them can be asked; the others become error lines without being asked.
        prompts: Number of prompts of all lines.
        models: The models that the lines name; at most two, which is enough to see that they differ.
        digest: Digest of the whole content.

    Args:
        requests: The lines in order.

    Raises:
        InputError: two lines have the same custom_id.
    """

    def __init__(self, requests: Iterator[Request]) -> None:
        self.lines = self.asked = 0
        can_be_asked = False
        self.models: list[str] = []
        digests, choices, content = bytearray(), array("H"), blake2b(digest_size=16)
        for request in requests:
            self.lines += 1
            self.asked += request.custom_id is not None
            can_be_asked |= request.custom_id is not None and request.problem is None
            if request.model is not None and request.model not in self.models and len(self.models) < 2:
                self.models.append(request.model)
            digests += _nameless(request.number) if request.custom_id is None else _digest(request.custom_id)
            choices.append(len(request.prompts))
            content.update(request.content + b"\n")
        if not can_be_asked:  # no engine has to start to say what is wrong with the lines
            self.asked = 0
        self.digest = content.hexdigest()
        found = np.frombuffer(digests, dtype=f"S{DIGEST_BYTES}")
        self._choices = np.frombuffer(choices, dtype=np.uint16)
        self._numbers = np.argsort(found, kind="stable")
        self._digests = found[self._numbers]
        self.prompts = int(self._choices.sum())
        same = np.flatnonzero(self._digests[1:] == self._digests[:-1])
        if len(same):
            first, second = self._numbers[same[0]] + 1, self._numbers[same[0] + 1] + 1
            raise InputError(
                f"input: lines {first} and {second} have the same custom_id", mend="give each line its own custom_id"
            )

    def numbers_of(self, custom_ids: Sequence[str]) -> np.ndarray:
        """The line number of each id, from 0, as an int64 array (ids,); every id must be in the file."""
        digests = np.frombuffer(b"".join(map(_digest, custom_ids)), dtype=self._digests.dtype)
        numbers: np.ndarray = self._numbers[np.searchsorted(self._digests, digests)]
        return numbers

    def choices_of(self, custom_id: str) -> int:
        """Number of prompts of an id's line."""
        return int(self._choices[self.numbers_of([custom_id])[0]])


def survey_requests(path: str) -> Survey:
    """Reads a batch file once.

    Raises:
        InputError: it cannot be read, or two lines have the same custom_id.
    """
    return Survey(read_requests(path))


def _digest(custom_id: str) -> bytes:
    """128 bits: with ten million ids two of them share it with a probability of 1.5e-25."""
    return blake2b(custom_id.encode(), digest_size=DIGEST_BYTES).digest()


def _nameless(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=DIGEST_BYTES, person=b"no custom_id").digest()
