"""When a document needs no more votes. The engine calls these rules in its workers, after each answer."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from xpoll.core.config.job import Config
from xpoll.core.records import Completion
from xpoll.personas.probes import is_probe
from xpoll.votes.parse import label_of

ANSWERS_KEPT = 32_768
"""Answers whose label is remembered: those of the documents that are in flight at a time, and more."""


@dataclass(frozen=True, slots=True)
class Decided:
    """Stops when the votes that are left cannot change the majority, a tie being an outcome of its own."""

    labels: tuple[str, ...]

    def fewest(self, answers: Sequence[Completion], left: int) -> int:
        """How many of the `left` answers are needed at least; 0 ends the document."""
        first, second = _two_most_frequent(answers, self.labels)
        # k further votes for the first settle it if first + k > second + (left - k).
        return min(left, max(0, (left + second - first) // 2 + 1))


@dataclass(frozen=True, slots=True)
class Confidence:
    """Stops when the leading label beats the runner-up with the given probability, or is decided.

    The probability is that of a share above one half under a uniform prior, given the votes of the
    two leading labels.

    Source: Aggarwal et al., "Adaptive-Consistency", EMNLP 2023 (arXiv 2305.11860).
    """

    labels: tuple[str, ...]
    threshold: float

    def fewest(self, answers: Sequence[Completion], left: int) -> int:
        """How many of the `left` answers are needed at least; 0 ends the document."""
        first, second = _two_most_frequent(answers, self.labels)
        decided = Decided(self.labels).fewest(answers, left)
        enough = (k for k in range(decided) if _leads_with_probability(first + k, second) >= self.threshold)
        return next(enough, decided)


@dataclass(frozen=True, slots=True)
class StopButAskProbes:
    """A stop rule for all documents except for probes, which every persona answers."""

    rule: Decided | Confidence

    def fewest(self, answers: Sequence[Completion], left: int) -> int:
        """As of the rule; of a probe all that are `left`."""
        if answers and is_probe(answers[0].document_id):
            return left
        return self.rule.fewest(answers, left)


def stop_rule(config: Config) -> Decided | Confidence | None:
    """The rule that `panel.stop` names; None where every vote is asked for."""
    labels = tuple(config.task.labels)
    match config.panel.stop:
        case "never":
            return None
        case "decided":
            return Decided(labels)
        case threshold:
            return Confidence(labels, threshold)


@lru_cache(maxsize=ANSWERS_KEPT)
def _label_of(
    text: str | None, finish_reason: str | None, error_kind: str | None, labels: tuple[str, ...]
) -> str | None:
    """The label of an answer, read once: a rule looks at all answers of a document whenever one more is there."""
    answer = Completion("", "", 0, text=text, finish_reason=finish_reason, error_kind=error_kind)
    return label_of(answer, list(labels))


def _two_most_frequent(answers: Sequence[Completion], labels: tuple[str, ...]) -> tuple[int, int]:
    read = (_label_of(answer.text, answer.finish_reason, answer.error_kind, labels) for answer in answers)
    counts = Counter(label for label in read if label)
    (_, first), (_, second) = [*counts.most_common(2), ("", 0), ("", 0)][:2]
    return first, second


def _leads_with_probability(first: int, second: int) -> float:
    """P(p > 1/2) for p ~ Beta(first + 1, second + 1): a sum of binomial terms, exact for whole numbers."""
    n = first + second + 1
    return float(sum(math.comb(n, i) for i in range(first + 1)) / 2**n)
