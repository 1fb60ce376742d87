"""The answers of earlier sessions: which documents are settled, and the answers of those that are not.

Memory is 16 bytes per settled document, so that a run of ten million can be resumed; a new run takes none.
"""

from array import array
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np

from xpoll.core.records import Completion
from xpoll.engine.journal.answers import Inventory, read_batches, whole_batches
from xpoll.engine.work import LIGHT_COLUMNS, StopRule, Work, light_answers


class Ledger:
    """Settled and open documents, read once at the start of a session.

    Attributes:
        answers: Number of answers on disk.

    Args:
        folder: completions/ of the run folder.
        asked_each: Number of prompts per document, or a function of the document's id.
        stop: The rule that settles a document early.
        found: An inventory of the folder, to read what is whole of it where other files are damaged.

    Raises:
        RunFolderError: a file is damaged, and there is no inventory.
    """

    def __init__(
        self, folder: Path, *, asked_each: int | Callable[[str], int], stop: StopRule, found: Inventory | None = None
    ) -> None:
        self._open: dict[str, list[Completion]] = {}
        self.answers = 0
        settled = array("Q")
        asked_of = (lambda _: asked_each) if isinstance(asked_each, int) else asked_each
        for batch in whole_batches(found, LIGHT_COLUMNS) if found else read_batches(folder, LIGHT_COLUMNS):
            touched: dict[str, None] = {}
            for answer in light_answers(batch):
                self.answers += 1
                self._open.setdefault(answer.document_id, []).append(answer)
                touched[answer.document_id] = None
            for document_id in touched:  # once a batch and not with each answer: a rule reads all of a document's
                answers = self._open[document_id]
                left = asked_of(document_id) - len(answers)
                if left <= 0 or stop.fewest(answers, left) == 0:
                    del self._open[document_id]
                    settled.extend(_digest(document_id))
        pairs = np.frombuffer(settled, dtype=np.uint64).reshape(-1, 2)
        self._settled = pairs[np.argsort(pairs[:, 0], kind="stable")]

    @property
    def settled(self) -> int:
        """Number of settled documents."""
        return len(self._settled)

    def is_settled(self, document_id: str) -> bool:
        """Whether the document needs no more answers."""
        if not len(self._settled):
            return False
        high, low = _digest(document_id)
        begin = np.searchsorted(self._settled[:, 0], np.uint64(high), "left")
        end = np.searchsorted(self._settled[:, 0], np.uint64(high), "right")
        return bool((self._settled[begin:end, 1] == np.uint64(low)).any())

    def left(self, work: Iterator[Work]) -> Iterator[Work]:
        """What is left of documents: of those that are settled nothing, and of others the prompts without an answer."""
        if not self.answers:
            return work
        return (left for each in work if (left := self.left_of(each)) is not None)

    def left_of(self, work: Work) -> Work | None:
        """The unanswered part of a document's work; None if the document is settled."""
        if self.is_settled(work.document_id):
            return None
        answers = self._open.get(work.document_id)
        if answers is None:
            return work
        answered = {answer.key for answer in answers}
        prompts = tuple(prompt for prompt in work.prompts if prompt.key not in answered)
        return work._replace(prompts=prompts, answers=tuple(answers))


def _digest(document_id: str) -> tuple[int, int]:
    """128 bits: with ten million documents two of them share it with a probability of 1.5e-25."""
    digest = blake2b(document_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
