"""Labelled spans from the prompt to the consensus: quotes, votes by stretch, gold files, and what is hostile."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError
from xpoll.core.records import Document, to_table
from xpoll.core.span_records import SPAN_CONSENSUS_SCHEMA, SpanConsensus, SpanVote
from xpoll.personas.documents import stream_documents
from xpoll.personas.persona import Persona
from xpoll.personas.prompts import answer_schema, build_prompts
from xpoll.votes.check import check_votes
from xpoll.votes.quotes import parse_quotes
from xpoll.votes.span_consensus import NO_QUOTE_FOUND, span_consensus_of
from xpoll.votes.tasks.registry import KINDS

LABELS = ["time", "date"]
JOB = """
[documents]
path = "texts.csv"
gold_path = "gold.csv"
[task]
kind = "spans"
labels = ["time", "date"]
[[task.examples]]
text = "At 5 on Monday."
spans = [{text = "5", label = "time"}, {text = "Monday", label = "date"}]
reason = "Both."
"""


def config_of(tmp_path: Path, *overrides: str) -> Config:
    (tmp_path / "job.toml").write_text(JOB)
    files = [f"documents.{key}='{tmp_path}/{name}.csv'" for key, name in (("path", "texts"), ("gold_path", "gold"))]
    return load_config(tmp_path / "job.toml", [*files, *overrides])


def vote(document: str, persona: str, *quotes: tuple[str, str]) -> SpanVote:
    return SpanVote(document, persona, 0, tuple({"text": text, "label": label} for text, label in quotes))


def marked(row: SpanConsensus, of: str = "spans") -> list[tuple[str, str, float]]:
    spans = getattr(row, of) or ()
    return [(row.text[each["start"] : each["end"]], each["label"], round(each["share"], 3)) for each in spans]


@pytest.mark.parametrize("answer", ["label", "chain_of_thought"])
def test_quotes_are_asked_for_under_a_schema(tmp_path: Path, answer: str) -> None:
    config = config_of(tmp_path, f"panel.answer={answer}")
    form = KINDS["spans"].form
    prompt = next(build_prompts([Document("1", "Now.", "train")], [Persona("a", "an optimist")], config, form=form))
    system, _, shown, last = [message["content"] for message in prompt.messages]
    assert "quote them word by word" in system
    assert system.endswith("with the labels: time, date.")
    said = json.loads(shown)
    assert (said if answer == "label" else said["spans"]) == [
        {"text": "5", "label": "time"},
        {"text": "Monday", "label": "date"},
    ]
    assert last == "Text:\n```\nNow.\n```"
    schema = json.loads(answer_schema(config, form).json_schema or "")
    listed = schema if answer == "label" else schema["properties"]["spans"]
    assert listed["items"]["properties"]["label"]["enum"] == LABELS


@pytest.mark.parametrize(
    ("text", "quotes", "unparsable"),
    [
        ("[]", [], None),
        ('[{"text": "5", "label": "Time"}]', [("5", "time")], None),
        ('{"reason": "so", "spans": [{"label": "date", "text": "a"}]}', [("a", "date")], None),
        ('```json\n[{"text": "5", "label": "time"}]\n```', [("5", "time")], None),
        ('[{"text": "\\ud83d", "label": "time"}]', [("?", "time")], None),
        ('[{"text": "5", "label": "hour"}]', None, "unknown label"),
        ('[{"text": "5"}]', None, "no list of spans"),
        ('[{"text": 5, "label": "time"}]', None, "no list of spans"),
        ('[{"text": "5", "label": "time", "start": 3}]', None, "no list of spans"),
        ('["5"]', None, "no list of spans"),
        ('{"text": "5", "label": "time"}', None, "no list of spans"),
        ('[{"text": "5", "label": "time"}, {"te', None, "malformed json"),
        ("[" * 100_000, None, "malformed json"),
        (json.dumps([{"text": "5", "label": "time"}] * 1001), None, "more than 1000 spans"),
        ("", None, "empty"),
    ],
)
def test_quotes_are_read_strictly(text: str, quotes: list[tuple[str, str]] | None, unparsable: str | None) -> None:
    parsed = parse_quotes(text, LABELS)
    assert parsed.unparsable == unparsable
    assert (None if parsed.quotes is None else [(each["text"], each["label"]) for each in parsed.quotes]) == quotes


def test_each_stretch_of_a_text_is_voted_on_by_itself(tmp_path: Path) -> None:
    text = "from 5 to 15 on 15 May"
    votes = [
        vote("1", "a", ("5", "time"), ("15", "time"), ("15 May", "date")),
        vote("1", "b", ("5 to 15", "time"), ("May", "date")),
        vote("1", "c", ("15 May", "date"), ("noon", "time")),
    ]
    [row] = span_consensus_of([Document("1", text, "train")], votes, config_of(tmp_path))
    assert marked(row) == [("5", "time", 0.667), ("15", "time", 0.667), ("15 May", "date", 0.833)]
    assert (row.votes_counted, row.quotes_not_found, row.undecided) == (3, 1, ())
    assert ("May", "date", 0.333) in marked(row, "candidates")


def test_half_of_the_votes_decide_nothing_and_quotes_of_nothing_are_no_vote(tmp_path: Path) -> None:
    documents = [Document(name, "at 5 on Monday", "train") for name in ("half", "none", "empty", "silent")]
    votes = [
        vote("half", "a", ("5", "time")),
        vote("half", "b"),
        vote("none", "a", ("noon", "time")),
        vote("empty", "a"),
        SpanVote("silent", "a", 0, None, "empty"),
    ]
    half, none, empty, silent = span_consensus_of(documents, votes, config_of(tmp_path))
    assert (half.spans, marked(half, "undecided")) == ((), [("5", "time", 0.5)])
    assert (none.spans, none.abstained, none.quotes_not_found) == (None, NO_QUOTE_FOUND, 1)
    assert (empty.spans, empty.abstained) == ((), None)
    assert (silent.spans, silent.abstained) == (None, "no readable vote")


def test_neighbours_of_one_label_stay_two_where_the_votes_say_so(tmp_path: Path) -> None:
    votes = [vote("1", persona, ("\u4e00\u6708", "date"), ("\u4e8c\u6708", "date")) for persona in "abc"]
    [row] = span_consensus_of([Document("1", "\u4e00\u6708\u4e8c\u6708", "train")], votes, config_of(tmp_path))
    assert [text for text, _, _ in marked(row)] == ["\u4e00\u6708", "\u4e8c\u6708"]


@pytest.mark.parametrize("method", ["reliability_weighted", "posterior", "dawid_skene"])
def test_methods_that_read_labels_count_stretches(tmp_path: Path, method: str) -> None:
    """Three personas mark the hour and a fourth the weekday, in forty texts."""
    documents = [Document(str(i), f"at {i} on Monday", "train") for i in range(40)]
    votes = [vote(str(i), persona, (str(i), "time")) for i in range(40) for persona in "abc"]
    votes += [vote(str(i), "d", ("Monday", "time")) for i in range(40)]
    rows = span_consensus_of(documents, votes, config_of(tmp_path, f"vote.method={method}"))
    assert [[text for text, _, _ in marked(row)] for row in rows] == [[str(i)] for i in range(40)]


HOSTILE = [
    "",
    "<|im_end|>",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "e\u0301",
    "a" * 5000,
    "5\n5\t5",
    "\x00\x01",
    "\u202e5",
]


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40)),
    st.lists(
        st.lists(
            st.tuples(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=5)), st.sampled_from(LABELS)), max_size=12
        ),
        max_size=4,
    ),
)
def test_whatever_is_quoted_makes_spans_of_the_text_that_do_not_overlap(
    tmp_path_factory: pytest.TempPathFactory, text: str, said: list[list[tuple[str, str]]]
) -> None:
    config = config_of(tmp_path_factory.getbasetemp())
    repeated = [[*quotes, *quotes[:2] * 50] for quotes in said]
    votes = [vote("1", f"p{number}", *quotes) for number, quotes in enumerate(repeated)]
    [row] = span_consensus_of([Document("1", text, "train")], votes, config)
    spans = [(each["start"], each["end"]) for each in row.spans or ()]
    assert spans == sorted(spans)
    assert all(0 <= start < end <= len(text) and text[start:end].strip() == text[start:end] for start, end in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert (row.spans is None) == (row.abstained is not None)
    to_table([row._replace(text="", document_id="1")], SPAN_CONSENSUS_SCHEMA)


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("", None),
        ("[]", None),
        ('[{"start": 3, "end": 4, "label": "time"}]', None),
        ('[{"start": 3, "end": 3, "label": "time"}]', "the gold span from 3 to 3 is not in the text"),
        ('[{"start": 3, "end": 99, "label": "time"}]', "from 3 to 99 is not in the text, of 7 characters"),
        ('[{"start": -1, "end": 2, "label": "time"}]', "is not in the text"),
        ('[{"start": "3", "end": 4, "label": "time"}]', "has start, end and label"),
        ('[{"start": 3, "end": 4, "label": "hour"}]', "gold label 'hour' is not one of"),
        ('[{"start": 0, "end": 4, "label": "time"}, {"start": 3, "end": 5, "label": "date"}]', "at 0 and 3 overlap"),
        ('{"start": 3}', "no list but dict"),
        ("[{", "no JSON"),
    ],
)
def test_a_gold_cell_holds_spans_or_is_a_row_that_is_not_scored(tmp_path: Path, cell: str, problem: str | None) -> None:
    quoted = cell.replace('"', '""')
    (tmp_path / "texts.csv").write_text("text\nx\n")
    (tmp_path / "gold.csv").write_text(f'text,label\nat 5 pm,"{quoted}"\n')
    config = config_of(tmp_path)
    row = list(stream_documents(config.documents, LABELS, read_gold=KINDS["spans"].read_gold))[1]
    if problem is None:
        assert (row.problem, json.loads(row.gold_label or "null")) == (None, json.loads(cell or "[]"))
    else:
        assert row.gold_label is None
        assert problem in (row.problem or "")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("panel.answer=read", "cannot be asked with panel.answer = 'read' -> --set panel.answer=label"),
        ("panel.answer=match", "cannot be asked with panel.answer = 'match'"),
        ("panel.logprobs=true", "panel.logprobs"),
        ("vote.method=calibrated", "vote.method"),
        ("task.examples=[{text='a',label='time'}]", "an example has spans, a list of {text, label}"),
        ("task.examples=[{text='a',spans=[{text='b',label='time'}]}]", "not all spans are words of the text"),
        ("task.examples=[{text='a',spans=[{text='a'}]}]", "label '' is not one of"),
    ],
)
def test_what_spans_do_not_know_is_refused_in_one_line(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_votes(config_of(tmp_path, override))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
