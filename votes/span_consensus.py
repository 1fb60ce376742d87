"""Votes of a spans task -> spans of each document: each stretch of a text is voted on by itself.

The ends of all voted spans cut a text into stretches on which every vote says one thing: a label, or none. A vote
method counts these as it counts texts, and neighbouring stretches of one label are one span. So the words that most
votes mark are marked, where the votes differ about the ends too.
"""

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from xpoll.core.config.job import Config
from xpoll.core.records import NO_READABLE_VOTE, Document, Vote
from xpoll.core.span_records import SpanConsensus, SpanVote
from xpoll.core.spans import Quotes, TextSpan, as_spans, trimmed
from xpoll.votes.ballots import ballots_of
from xpoll.votes.consensus import winners
from xpoll.votes.methods.registry import method_of

NO_QUOTE_FOUND = "no quote of any vote is in the text"
"""`abstained` of a document about which answers are readable, but quote what is not there."""
OUTSIDE = "\x00"
"""What a vote says of a stretch that it does not mark; no label holds this character."""


class PlacedVote(NamedTuple):
    """A vote with its quotes found in the text; `not_found` counts those that are not there.

    Its spans are in the order of the text and do not overlap.
    """

    persona_id: str
    sample: int
    spans: list[TextSpan]
    not_found: int

    def at(self, place: int) -> TextSpan | None:
        """The span that holds a character."""
        number = bisect_right(self.spans, place, key=lambda span: span.start) - 1
        return self.spans[number] if number >= 0 and place < self.spans[number].end else None

    @property
    def counts(self) -> bool:
        """Whether it is a vote: one that quotes, and nothing of it is in the text, says nothing about the text."""
        return bool(self.spans) or not self.not_found


class _Stretch(NamedTuple):
    """A part of a document's text on which each vote says one thing."""

    document: int
    start: int
    end: int


class SpanShares(NamedTuple):
    """What a method makes of all votes.

    Attributes:
        stretches: Parts of documents that any vote marks, document by document, in the order of the text.
        shares: (stretches, 1 + labels): of no label, and of each label.
        starts: Places at which most of those that mark a stretch begin a span: (document, start).
    """

    stretches: list[_Stretch]
    shares: np.ndarray
    starts: set[tuple[int, int]]


def placed(text: str, vote: SpanVote) -> PlacedVote:
    """The vote's quotes in the text: each at its first occurrence that is left, in the order of the answer."""
    quotes, found, missing = Quotes(text), [], 0
    for quote in vote.quotes or ():
        place = quotes.place(quote["text"])
        if place is None:
            missing += 1
        else:
            found.append(TextSpan(*place, quote["label"]))
    return PlacedVote(vote.persona_id, vote.sample, sorted(found), missing)


def span_shares(
    cast: Sequence[Sequence[PlacedVote]], labels: Sequence[str], method: str, *, correlation: float
) -> SpanShares:
    """What a method makes of the votes about each document.

    Args:
        cast: The votes about each document that count.
        labels: The task's labels in their order.
        method: Name of a method that reads labels alone.
        correlation: As of `ballots_of`.

    Raises:
        ConfigError: there is no method of that name.
    """
    stretches: list[_Stretch] = []
    ballots: list[Vote] = []
    starts = set()
    for document, votes in enumerate(cast):
        begun: dict[int, Counter[bool]] = defaultdict(Counter)
        for stretch in _cut(document, votes):
            name = str(len(stretches))
            stretches.append(stretch)
            for vote in votes:
                span = vote.at(stretch.start)
                ballots.append(Vote(name, vote.persona_id, vote.sample, span.label if span else OUTSIDE))
                if span:
                    begun[stretch.start][span.start == stretch.start] += 1
        starts |= {(document, place) for place, said in begun.items() if said[True] > said[False]}
    names = [OUTSIDE, *labels]
    if not stretches:
        return SpanShares([], np.zeros((0, len(names))), starts)
    counted = ballots_of([str(number) for number in range(len(stretches))], ballots, names, correlation=correlation)
    return SpanShares(stretches, method_of(method)(counted), starts)


def _cut(document: int, votes: Sequence[PlacedVote]) -> Iterable[_Stretch]:
    """The stretches of a text that any vote marks."""
    spans = [span for vote in votes for span in vote.spans]
    ends = sorted({place for span in spans for place in (span.start, span.end)})
    marked = 0
    opening, closing = Counter(s.start for s in spans), Counter(s.end for s in spans)
    for start, end in pairwise(ends):
        marked += opening[start] - closing[start]
        if marked:
            yield _Stretch(document, start, end)


def decided_spans(texts: Sequence[str], found: SpanShares, labels: Sequence[str]) -> tuple[list[list[TextSpan]], ...]:
    """Of each document the spans with more than half of the weight, and the places with just half of it.

    Args:
        texts: Of the documents.
        found: What a method made of the votes.
        labels: The task's labels in their order.
    """
    best = winners(found.shares) if len(found.stretches) else np.zeros(0, int)
    made: list[list[TextSpan]] = [[] for _ in texts]
    torn: list[list[TextSpan]] = [[] for _ in texts]
    for stretch, number, shares in zip(found.stretches, best.tolist(), found.shares, strict=True):
        document, start, end = stretch
        if number < 0:
            likeliest = int(np.nan_to_num(shares[1:]).argmax())
            torn[document].append(TextSpan(start, end, labels[likeliest], float(shares[1 + likeliest])))
        elif number > 0:
            share, label, of_document = float(shares[number]), labels[number - 1], made[document]
            last = of_document[-1] if of_document else None
            if last and last.label == label and last.end == start and (document, start) not in found.starts:
                mean = (last.share * (start - last.start) + share * (end - start)) / (end - last.start)
                of_document[-1] = last._replace(end=end, share=mean)
            else:
                of_document.append(TextSpan(start, end, label, share))
    return [_trimmed(text, spans) for text, spans in zip(texts, made, strict=True)], [
        _trimmed(text, spans) for text, spans in zip(texts, torn, strict=True)
    ]


def _trimmed(text: str, spans: Sequence[TextSpan]) -> list[TextSpan]:
    kept = []
    for span in spans:
        start, end = trimmed(text, span.start, span.end)
        if start < end:
            kept.append(span._replace(start=start, end=end))
    return kept


def span_consensus_of(
    documents: Iterable[Document], votes: Iterable[SpanVote], config: Config, **_unused: Any
) -> list[SpanConsensus]:
    """One consensus per document, in the documents' order; what people said and label orders play no part."""
    rows, labels = list(documents), list(config.task.labels)
    cast = placed_votes([(row.document_id, row.text) for row in rows], votes)
    counted = [[vote for vote in each if vote.counts] for each in cast]
    found = span_shares(counted, labels, config.vote.method, correlation=config.vote.correlation)
    decided, torn = decided_spans([row.text for row in rows], found, labels)
    return [
        SpanConsensus(
            row.document_id,
            row.split,
            row.text,
            spans=_held(spans) if mine else None,
            candidates=_held(_candidates(mine)),
            undecided=_held(split),
            votes_counted=len(mine),
            quotes_not_found=sum(vote.not_found for vote in every),
            abstained=None if mine else NO_QUOTE_FOUND if every else NO_READABLE_VOTE,
            gold_spans=None if row.gold_label is None else _held(as_spans(json.loads(row.gold_label))),
        )
        for row, every, mine, spans, split in zip(rows, cast, counted, decided, torn, strict=True)
    ]


def placed_votes(texts: Sequence[tuple[str, str]], votes: Iterable[SpanVote]) -> list[list[PlacedVote]]:
    """The readable votes about each document, with their quotes found in its text.

    Args:
        texts: Id and text of each document.
        votes: All votes, readable or not.
    """
    number = {document_id: i for i, (document_id, _) in enumerate(texts)}
    cast: list[list[PlacedVote]] = [[] for _ in texts]
    for vote in votes:
        if vote.quotes is not None and vote.document_id in number:
            cast[number[vote.document_id]].append(placed(texts[number[vote.document_id]][1], vote))
    return cast


def _candidates(votes: Sequence[PlacedVote]) -> list[TextSpan]:
    """Every span that a vote has, with the share of the votes that have it."""
    times = Counter(place for vote in votes for place in {span.place for span in vote.spans})
    return [TextSpan(*place, count / len(votes)) for place, count in sorted(times.items())]


def _held(spans: Sequence[TextSpan]) -> tuple[dict[str, Any], ...]:
    return tuple(span.as_dict() for span in spans)
