"""The answers of the personas: how each one votes, how far two of them agree, and what they state as reasons."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpoll.core.files import read_object
from xpoll.core.formatting import percent
from xpoll.core.record_files import stream_records
from xpoll.core.records import Vote, voter_of
from xpoll.core.run_folder import RunFolder
from xpoll.personas.persona_file import HUB
from xpoll.report.decisions import Decisions


class Reason(NamedTuple):
    """A stated reason and the persona that states it; `agrees` where its vote names the document's label."""

    persona: str
    text: str
    agrees: bool


class PersonaFigures(NamedTuple):
    """How one persona answers. `with_label` and `with_raw` are its agreement with the voted label and raw majority."""

    name: str
    answers: int
    parsed: int
    unparsable: int
    errors: int
    mix: list[float | None]
    with_label: float | None
    with_raw: float | None


NAME_LENGTH = 40  # characters of a persona's own words that stand for it


def personas_of(folder: RunFolder) -> list[dict[str, Any]]:
    """Who was asked, as panel.json has it, those chosen from a file included; empty where nobody was asked yet."""
    found: list[dict[str, Any]] = []
    for teacher, poll in folder.polls().items():
        asked = read_object(poll.panel, "personas")["personas"] if poll.panel.exists() else []
        found += [{**each, "teacher": teacher, "voter": voter_of(teacher, each["persona_id"])} for each in asked]
    return found


def panel_size(folder: RunFolder, config: Mapping[str, Any]) -> int:
    """How many personas were asked; those that the config names where there is no panel.json."""
    return len(personas_of(folder)) or len(config["panel"]["personas"])


def panel_section(folder: RunFolder, config: Mapping[str, Any]) -> dict[str, Any]:
    """The panel section of a run as its figures need it: of several teachers all personas, and the most samples."""
    polls = folder.polls()
    if None in polls:
        return dict(config["panel"])
    sections = [read_object(poll.config)["panel"] for poll in polls.values()]
    voters = [each["voter"] for each in personas_of(folder)]
    return {**config["panel"], "personas": voters, "samples": max(section["samples"] for section in sections)}


def names_of(personas: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What to call personas that have no name but a hash: the beginning of their words, with the hash if two are alike.

    Args:
        personas: The personas of panel.json.
    """
    begun = {
        str(each.get("voter", each["persona_id"])): short_phrase(str(each["persona"]))
        for each in personas
        if str(each["persona_id"]).startswith(HUB)
    }
    times = Counter(begun.values())
    return {name: phrase if times[phrase] == 1 else f"{phrase} ({name})" for name, phrase in begun.items()}


def short_phrase(words: str) -> str:
    """The first words of a persona, without its article."""
    phrase = words.removeprefix("an ").removeprefix("a ")
    return (
        phrase
        if len(phrase) <= NAME_LENGTH
        else f"{phrase[:NAME_LENGTH].rpartition(' ')[0] or phrase[:NAME_LENGTH]}\u2026"
    )


class PanelFigures:
    """votes.parquet, read once: how each persona answers, how often two of them agree, and reasons for the sample.

    `personas` are in the order of the config; `agreement[a][b]` is the share of their answers about one document that
    name the same label, None where they share no document. `reasons` are by document id.
    """

    def __init__(
        self,
        path: Path,
        labels: Sequence[str],
        decisions: Decisions,
        panel: Mapping[str, Any],
        names: Mapping[str, str] | None = None,
    ) -> None:
        """Reads the votes.

        Args:
            path: votes.parquet.
            labels: The task's labels in their order.
            decisions: What became of the documents.
            panel: The panel section of the config.
            names: What personas are called on the page, by id; by their id without it.
        """
        self._names = names or {}
        code = {label: i for i, label in enumerate(labels)}
        sampled = {row.document_id: row.label for row in decisions.sample}
        blank = np.full((len(decisions.row_of), panel["samples"]), -1, np.int16)
        votes: dict[str, np.ndarray] = {}
        tallies: dict[str, Counter[str]] = {}
        self.unparsable: Counter[str] = Counter()
        self.reasons: dict[str, Reason] = {}
        for vote in stream_records(path, Vote):
            if vote.document_id not in decisions.row_of:
                continue  # somebody took the document out of labels.parquet
            voter = vote.voter
            if voter not in votes:
                votes[voter], tallies[voter] = blank.copy(), Counter()
            kind = _kind(vote)
            tallies[voter][kind] += 1
            if kind == "unparsable":
                self.unparsable[str(vote.unparsable)] += 1
            if vote.label is not None:
                votes[voter][decisions.row_of[vote.document_id], vote.sample] = code[vote.label]
            if vote.stated_reason and vote.document_id in sampled:
                self._keep_reason(vote, agrees=vote.label is not None and vote.label == sampled[vote.document_id])
        order = {name: i for i, name in enumerate(panel["personas"])}
        asked = sorted(votes, key=lambda name: (order.get(name, len(order)), name))
        self.personas = [
            _persona(self._called(name), votes[name], tallies[name], decisions, len(labels)) for name in asked
        ]
        self.agreement = [[pair_agreement(votes[a], votes[b], same=a == b) for b in asked] for a in asked]

    def least_agreeing(self, rows: Sequence[Sequence[str]], most: int = 5) -> list[Sequence[str]]:
        """The first cells of the rows of those personas that agree least with the voted labels.

        Args:
            rows: One for each persona, in their order.
            most: How many are wanted.
        """
        order = sorted(
            range(len(rows)), key=lambda i: (self.personas[i].with_label is None, self.personas[i].with_label)
        )
        return [rows[i][:7] for i in order[:most]]

    def extreme_pairs(self, most: int = 5) -> list[tuple[str, str, str]]:
        """The pairs of different personas that agree most, then those that agree least.

        Args:
            most: How many of either are wanted.
        """
        pairs = [
            (share, self.personas[i].name, self.personas[j].name)
            for i, row in enumerate(self.agreement)
            for j, share in enumerate(row[:i])
            if share is not None
        ]
        pairs.sort(key=lambda pair: -pair[0])
        chosen = pairs if len(pairs) <= 2 * most else [*pairs[:most], *pairs[-most:]]
        return [(first, second, percent(share)) for share, first, second in chosen]

    def _keep_reason(self, vote: Vote, *, agrees: bool) -> None:
        kept = self.reasons.get(vote.document_id)
        if kept is None or (agrees and not kept.agrees):
            self.reasons[vote.document_id] = Reason(self._called(vote.voter), str(vote.stated_reason), agrees)

    def _called(self, persona_id: str) -> str:
        return self._names.get(persona_id, persona_id)

    @property
    def mean_agreement(self) -> float | None:
        """Mean over all pairs of different personas; None where no pair answers the same document."""
        pairs = [share for i, row in enumerate(self.agreement) for share in row[:i] if share is not None]
        return sum(pairs) / len(pairs) if pairs else None


def _kind(vote: Vote) -> str:
    if vote.label is not None:
        return "parsed"
    return "error" if (vote.unparsable or "").startswith("error: ") else "unparsable"


def _persona(
    name: str, votes: np.ndarray, tally: Mapping[str, int], decisions: Decisions, num_labels: int
) -> PersonaFigures:
    counts = np.bincount(votes[votes >= 0], minlength=num_labels)
    parsed, unparsable, errors = tally["parsed"], tally["unparsable"], tally["error"]
    mix = [int(count) / parsed if parsed else None for count in counts]
    with_label, with_raw = (pair_agreement(votes, d[:, None]) for d in (decisions.final, decisions.raw))
    return PersonaFigures(name, parsed + unparsable, parsed, unparsable, errors, mix, with_label, with_raw)


def pair_agreement(first: np.ndarray, second: np.ndarray, *, same: bool = False) -> float | None:
    """Share of the pairs of answers to one document that name the same label; None without a pair.

    With `same` both are one persona, whose answer is not paired with itself.
    """
    pairs = agreeing = 0
    for s in range(first.shape[1]):
        for t in range(s + 1 if same else 0, second.shape[1]):
            both = (first[:, s] >= 0) & (second[:, t] >= 0)
            pairs += int(both.sum())
            agreeing += int((both & (first[:, s] == second[:, t])).sum())
    return agreeing / pairs if pairs else None
