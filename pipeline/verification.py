"""Label verification: a text that was written for a label keeps a label only if the vote names the same one."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from xpoll.core.config.job import Config
from xpoll.core.formatting import counted, number, percent
from xpoll.core.records import AnyRecord, Consensus
from xpoll.core.run_folder import RunFolder
from xpoll.synthesis.texts import read_texts

NOT_VERIFIED = "the vote does not name the label that the text was written for"
"""`abstained` of such a text."""


class Verified(NamedTuple):
    """How often the vote named the label that was asked for.

    Attributes:
        texts: Texts that were written for a label.
        agreed: Of these, those whose vote names it.
    """

    texts: int
    agreed: int

    @property
    def line(self) -> str:
        """In words."""
        share = percent(self.agreed / self.texts) if self.texts else "none"
        return (
            f"the vote names the label that was asked for in {number(self.agreed)} of "
            f"{counted(self.texts, 'text')} ({share}); the others get none"
        )


def requested_labels(config: Config, folder: RunFolder) -> dict[str, str]:
    """Document id to the label that its text was written for; empty where votes are not to agree with any."""
    if not (config.synthesis.count and config.synthesis.verify) or config.documents.path:
        return {}
    return {text.id: text.label for text in read_texts(folder.synthesized, kept=True) if text.label is not None}


def verified(voted: Iterable[AnyRecord], requested: dict[str, str]) -> Iterator[AnyRecord]:
    """The consensus of each document; without a label where it is not the one that the text was written for.

    What a person has labelled stays as it is.
    """
    for row in voted:
        if isinstance(row, Consensus) and row.split == "train" and row.voted_label is None and row.label is not None:
            wanted = requested.get(row.document_id)
            if wanted is not None and wanted != row.label:
                yield row._replace(label=None, abstained=NOT_VERIFIED)
                continue
        yield row


def count_verified(labels: Iterable[Consensus], requested: dict[str, str]) -> Verified:
    """How often the vote named the label that was asked for."""
    rows = [row for row in labels if row.document_id in requested]
    return Verified(len(rows), sum(row.label == requested[row.document_id] for row in rows))
