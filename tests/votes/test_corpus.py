"""Completions as models write them, and as nobody should, each with the one right verdict.

corpus/*.jsonl holds a completion a line, with the labels of its task, the label that it is or null, and
why. All of them were written for this test.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpoll.core.records import VOTE_SCHEMA, Completion, to_table
from xpoll.votes.parse import parse, to_vote
from xpoll.votes.stop import Decided

FILES = sorted(Path(__file__).parent.glob("corpus/*.jsonl"))
ROWS: list[dict[str, Any]] = [
    {**json.loads(line), "file": path.stem}
    for path in FILES
    for line in path.read_text(encoding="utf-8").split("\n")
    if line
]
LABELS = ["negative", "neutral", "positive"]


def test_the_corpus_is_large_and_says_each_thing_once() -> None:
    assert len(ROWS) >= 300
    assert len({(row["completion"], *row["labels"], row.get("truncated")) for row in ROWS}) == len(ROWS)
    assert all(row["label"] is None or row["label"] in row["labels"] for row in ROWS)
    assert all(row["why"] for row in ROWS)
    assert 100 < sum(row["label"] is None for row in ROWS) < len(ROWS) - 100


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_every_completion_has_its_verdict(name: str) -> None:
    wrong = []
    for row in ROWS:
        if row["file"] == name:
            parsed = parse(row["completion"], row["labels"], truncated=row.get("truncated", False))
            if parsed.label != row["label"] or (parsed.label is None) == (parsed.unparsable is None):
                wrong.append((row["completion"], row["why"], row["label"], parsed))
    assert not wrong


def test_the_order_of_the_labels_changes_no_verdict() -> None:
    rng = random.Random(0)
    for row in ROWS:
        turned = rng.sample(row["labels"], len(row["labels"]))
        cut = row.get("truncated", False)
        assert parse(row["completion"], turned, truncated=cut) == parse(row["completion"], row["labels"], truncated=cut)


def test_every_vote_can_be_written_and_the_stop_rule_counts_the_same_labels() -> None:
    for row in ROWS:
        reason = "length" if row.get("truncated") else "stop"
        completion = Completion("d", "p", 0, text=row["completion"], finish_reason=reason)
        vote = to_vote(completion, row["labels"])
        to_table([vote], VOTE_SCHEMA).validate(full=True)
        # Of three answers one with a label leaves one more that could settle it, one without leaves two.
        left = Decided(tuple(row["labels"])).fewest([completion], 2)
        assert left == (1 if vote.label else 2), row


GIANTS = {
    "a long reason": ('{"reason": "' + "x" * 20_000 + '", "label": "positive"}', "positive"),
    "many further keys": (json.dumps({**{f"k{i}": i for i in range(5000)}, "label": "positive"}), "positive"),
    "an object nested deep": ('{"a":' * 500 + '"positive"' + "}" * 500, None),
    "an object nested without end": ('{"a":' * 100_000, None),
    "braces": ("{" * 100_000, None),
    "a number of 5000 digits": ('{"label": ' + "9" * 5000 + "}", None),
    "marks": ("*" * 100_000, None),
    "quotes around a label": ('"' * 50_000 + "positive" + '"' * 50_000, None),
    "lines": ("\n" * 100_000 + "x", None),
    "a fence and lines": ("```json" + "\n" * 100_000 + "x", None),
    "a label again and again": ("positive " * 20_000, None),
    "a label at the end": ("x " * 50_000 + "positive", None),
    "spaces around a label": (" " * 100_000 + "positive" + "\n" * 100_000, "positive"),
    "thoughts": ("<think>" * 20_000 + "</think>positive", "positive"),
    "accents": ("e" + "\u0301" * 50_000, None),
}


@pytest.mark.parametrize("what", GIANTS)
def test_an_answer_of_any_length_has_its_verdict(what: str) -> None:
    completion, label = GIANTS[what]
    assert parse(completion, LABELS).label == label


FRAGMENTS = [
    *("positive", "negative", "neutral", "very positive", "not", " ", "\n", ".", "...", '"', "'", "*", "_", "`", "```"),
    *("```json\n", "\n```", "{", "}", '{"label": "', '"}', '{"reason": "', '", "label": "', "[", "]", ",", ":", "null"),
    *("<think>", "</think>", "\\u", "\ud83d", "\u200b", "\u0301", "é", "1", "true", "NaN", "\x00", "label"),
]
ALIKE = ["A", "a", "A*", "ß", "ss", "e\u0301"]
completions = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
words = st.one_of(st.sampled_from([*FRAGMENTS, *ALIKE]), st.text(min_size=1)).filter(str.strip)
label_lists = st.one_of(
    st.just(LABELS),
    st.just(["very positive", "positive", "not positive"]),
    st.lists(words, min_size=2, max_size=6, unique_by=lambda word: word.strip().casefold()),  # as the config wants them
)


@settings(max_examples=300, deadline=None)
@given(completions, label_lists, st.booleans(), st.randoms(use_true_random=False))
def test_no_answer_raises_and_none_gives_a_label_that_is_not_there(
    completion: str, labels: list[str], truncated: bool, rng: random.Random
) -> None:
    parsed = parse(completion, labels, truncated=truncated)
    assert parsed.label is None or parsed.label in labels
    assert (parsed.label is None) == (parsed.unparsable is not None)
    assert parse(completion, labels, truncated=truncated) == parsed
    assert parse(completion, rng.sample(labels, len(labels)), truncated=truncated) == parsed
    if parsed.stated_reason is not None:
        parsed.stated_reason.encode()


@settings(max_examples=200, deadline=None)
@given(label_lists, st.data())
def test_a_label_as_the_answer_is_always_that_label(labels: list[str], data: st.DataObject) -> None:
    label = data.draw(st.sampled_from(labels))
    assert parse(json.dumps({"reason": "r", "label": label}), labels).label == label
    # A label that looks like a fence, a thought or an object is one only inside JSON.
    if label.strip() == label and not label.startswith(("```", "<think>", "{")) and label.isprintable():
        assert parse(label, labels).label == label
