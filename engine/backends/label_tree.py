"""Probability of each label from what a model says of single tokens: a walk down the tree of the labels' tokens.

The probability of a label is that of its tokens one after the other, as a model that is made to write the label
would give them, and the distribution is that over the labels. One forward pass says how likely each first token
is. Where a token that more can follow is likely enough to matter, another pass says how likely each second token
is, and so on, likeliest first, until what is not known yet is less than TOLERANCE of the whole.

A label that another one continues ("card", "card lost") is followed by the token that ends an answer.
"""

import math
from collections.abc import Mapping, Sequence

Path = tuple[int, ...]
"""Tokens from the beginning of a label."""

TOLERANCE = 5e-4
"""Share of the probability that may be left where a walk ends; the distribution is exact to it."""


class SameTokensError(ValueError):
    """Two labels have the same tokens, or one has none, so that no model can tell them apart; says which."""


class LabelTree:
    """The tokens of a closed set of labels.

    Args:
        labels: Token ids of each label, in the labels' order.
        end: Token that ends an answer; follows a label that another one continues.
        names: The labels, for errors.

    Raises:
        SameTokensError: two labels have the same tokens, or one has none.
    """

    def __init__(self, labels: Sequence[Sequence[int]], end: int, names: Sequence[str]) -> None:
        paths = [tuple(label) for label in labels]
        for place, path in enumerate(paths):
            if not path:
                raise SameTokensError(f"{names[place]!r} has no token")
            if path in paths[:place]:
                raise SameTokensError(f"{names[paths.index(path)]!r} and {names[place]!r} have the same tokens")
        self.following: dict[Path, list[int]] = {}
        """Tokens that can follow each beginning that is not a whole label."""
        beginnings = {path[:length] for path in paths for length in range(len(path))}
        self.label_at: dict[Path, int] = {}
        """Place of the label that each whole path is."""
        for place, path in enumerate(paths):
            whole = (*path, end) if path in beginnings else path
            self.label_at[whole] = place
            for length, token in enumerate(whole):
                after = self.following.setdefault(whole[:length], [])
                if token not in after:
                    after.append(token)

    @property
    def most_requests(self) -> int:
        """How many requests a walk takes at most: one for each beginning that something follows."""
        return len(self.following)

    def below(self, path: Path) -> list[int]:
        """Every token that can come after a beginning, at once or later; those that follow at once stand first."""
        first = self.following.get(path, [])
        later = (token for token in first for token in self.below((*path, token)))
        return list(dict.fromkeys((*first, *later)))

    def depth(self, path: Path) -> int:
        """Most tokens that can come after a beginning."""
        return max((1 + self.depth((*path, token)) for token in self.following.get(path, [])), default=0)

    def labels_below(self, path: Path) -> list[int]:
        """Places of the labels that begin with a path."""
        return [place for whole, place in self.label_at.items() if whole[: len(path)] == path]


class Walk:
    """What is known of one prompt's labels so far.

    Args:
        tree: The labels' tokens.
    """

    def __init__(self, tree: LabelTree) -> None:
        self._tree = tree
        self._open: dict[Path, float] = {(): 0.0}  # beginnings whose next token is not known, and their logprobs
        self._ends: dict[int, float] = {}  # logprob of each label that is known to its end

    def learn(self, path: Path, logprobs: Mapping[int, float]) -> None:
        """Takes the natural logarithms of the probability of each token that can follow a beginning."""
        if path not in self._open:
            return
        before = self._open.pop(path)
        for token in self._tree.following[path]:
            longer, logprob = (*path, token), before + logprobs[token]
            place = self._tree.label_at.get(longer)
            if place is None:
                self._open[longer] = logprob
            else:
                self._ends[place] = logprob

    def wanted(self) -> list[Path]:
        """The beginnings to ask about next, likeliest first; empty where less than TOLERANCE is not known."""
        likeliest = sorted(self._open, key=lambda path: -self._open[path])
        top = max((*self._open.values(), *self._ends.values()))
        left = [math.exp(self._open[path] - top) for path in likeliest]
        known = sum(math.exp(logprob - top) for logprob in self._ends.values())
        missing = sum(left)
        for number, share in enumerate(left):
            if missing <= TOLERANCE * (known + sum(left)):
                return likeliest[:number]
            missing -= share
        return likeliest

    def distribution(self) -> tuple[tuple[float, ...], int]:
        """Natural logarithm of each label's probability, normalised, and how many are bounds and not known.

        What is left of a beginning is shared evenly by the labels that begin so.
        """
        logprobs = dict(self._ends)
        for path, logprob in self._open.items():
            below = self._tree.labels_below(path)
            logprobs |= dict.fromkeys(below, logprob - math.log(len(below)))
        top = max(logprobs.values())
        total = top + math.log(sum(math.exp(logprob - top) for logprob in logprobs.values()))
        ordered = (logprobs[place] for place in range(len(logprobs)))
        return tuple(logprob - total for logprob in ordered), len(logprobs) - len(self._ends)
