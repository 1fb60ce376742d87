"""What the page shows of texts that personas wrote: what gates and vote kept, who wrote, how far the texts differ."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from xpoll.core.formatting import number, percent
from xpoll.core.record_files import stream_records
from xpoll.core.records import Consensus
from xpoll.core.run_folder import RunFolder
from xpoll.synthesis.figures import SynthesisFigures, read_figures
from xpoll.synthesis.texts import read_texts
from xpoll.synthesis.wording import diversity_rows

Rows = Sequence[Sequence[str]]


class SynthesisSection(NamedTuple):
    """Figures, and tables as rows of cells.

    Attributes:
        figures: synthesis.json.
        gates: Gate, what it takes out, texts, share of those seen.
        labels: Label, texts asked for, kept by the gates; and, of a run with votes, labelled as asked, and their share.
        marginals: Column and value, wanted share, drawn share.
        diversity: Arm, texts, and their measures.
    """

    figures: SynthesisFigures
    gates: Rows
    labels: Rows
    marginals: Rows
    diversity: Rows


def synthesis_section(folder: RunFolder) -> SynthesisSection | None:
    """The section of a run; None where it wrote no texts.

    Raises:
        RunFolderError: a file is damaged or of another version.
    """
    if not folder.synthesis_figures.exists():
        return None
    figures = read_figures(folder.synthesis_figures)
    voted = _voted_as_asked(folder) if folder.labels.exists() else None
    labels = []
    for label, share in figures.labels.items():
        cells = [label, number(share.asked), number(share.kept)]
        if voted is not None:
            cells += [number(voted[label]), percent(voted[label] / share.asked)]
        labels.append(cells)
    marginals = [
        (f"{column}: {value}", percent(share.wanted), percent(share.reached))
        for column, values in figures.marginals.items()
        for value, share in values.items()
    ]
    return SynthesisSection(figures, figures.table(), labels, marginals, diversity_rows(figures))


def _voted_as_asked(folder: RunFolder) -> Counter[str]:
    """Label to the texts that were written for it and are labelled with it."""
    asked = {text.id: text.label for text in read_texts(folder.synthesized, kept=True) if text.label is not None}
    rows = stream_records(folder.labels, Consensus) if asked else ()
    return Counter(row.label for row in rows if row.label is not None and asked.get(row.document_id) == row.label)
