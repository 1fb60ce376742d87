"""Graded tasks and tasks of several labels a text, from the prompt to the label."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Xpoll
from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError
from xpoll.core.records import Document, SetConsensus, SetVote, Vote, from_table
from xpoll.personas.documents import stream_documents
from xpoll.personas.persona import Persona
from xpoll.personas.prompts import answer_schema, build_prompts
from xpoll.votes.check import check_votes
from xpoll.votes.compare_sets import set_scores
from xpoll.votes.consensus import consensus_of, medians
from xpoll.votes.label_sets import set_consensus_of
from xpoll.votes.parse import parse_set
from xpoll.votes.tasks.registry import KINDS

STEPS = ["low", "middle", "high"]
TOPICS = ["price", "service", "quality"]
ORDINAL = f"""
[documents]
path = "texts.csv"
[task]
kind = "ordinal"
labels = {STEPS}
examples = [{{text = "Rather warm.", label = "middle", reason = "Neither."}}]
"""
MULTI = f"""
[job]
run_folder = "run"
[documents]
path = "texts.csv"
gold_path = "gold.csv"
id_column = "id"
[task]
kind = "multi"
labels = {TOPICS}
examples = [
  {{text = "Cheap and good.", labels = ["price", "quality"], reason = "Both."}},
  {{text = "It is blue.", labels = [], reason = "None."}},
]
[panel]
personas = ["annotator", "auditor", "credit_analyst"]
[engine]
backend = "replay"
device = "cpu"
[engine.replay]
path = "answers.csv"
"""


def config_of(tmp_path: Path, job: str, *overrides: str) -> Config:
    (tmp_path / "job.toml").write_text(job)
    return load_config(tmp_path / "job.toml", list(overrides))


def first_prompt(config: Config) -> list[str]:
    form, panel = KINDS[config.task.kind].form, [Persona("a", "an optimist")]
    prompt = next(build_prompts([Document("1", "Hot.", "train")], panel, config, form=form))
    return [message["content"] for message in prompt.messages]


@pytest.mark.parametrize("answer", ["label", "chain_of_thought"])
def test_a_scale_is_named_from_lowest_to_highest(tmp_path: Path, answer: str) -> None:
    config = config_of(tmp_path, ORDINAL, f"panel.answer={answer}")
    system, _, shown, _ = first_prompt(config)
    assert "steps of a scale" in system
    assert system.endswith("from the lowest to the highest: low, middle, high.")
    assert shown == ("middle" if answer == "label" else '{"reason": "Neither.", "label": "middle"}')
    assert answer_schema(config, KINDS["ordinal"].form).choices == tuple(STEPS)


@pytest.mark.parametrize("answer", ["label", "chain_of_thought"])
@pytest.mark.parametrize("shots", [0, 2])
def test_several_labels_are_a_list_under_a_schema(tmp_path: Path, answer: str, shots: int) -> None:
    examples = () if shots else ("task.examples=[]",)
    config = config_of(tmp_path, MULTI, f"panel.answer={answer}", *examples)
    system, *turns, last = first_prompt(config)
    assert "list of all that fit, [] if none does, of: price, service, quality." in system
    shown = [json.loads(turn) for turn in turns[1::2]]
    said = [turn if answer == "label" else turn["labels"] for turn in shown]
    assert said == [["price", "quality"], []][:shots]
    assert last == "Text:\n```\nHot.\n```"
    answered = answer_schema(config, KINDS["multi"].form)
    schema = json.loads(answered.json_schema or "")
    listed = schema if answer == "label" else schema["properties"]["labels"]
    assert (listed["type"], listed["items"]["enum"], listed["maxItems"]) == ("array", TOPICS, 3)
    assert (answered.choices, answered.logprobs) == ((), False)


@pytest.mark.parametrize(
    ("text", "labels", "unparsable"),
    [
        ('["price"]', ("price",), None),
        ('["quality", "price"]', ("price", "quality"), None),
        ("[]", (), None),
        ('{"reason": "Cheap.", "labels": ["price"]}', ("price",), None),
        ('```json\n["Price"]\n```', ("price",), None),
        ('["price", "price"]', None, "a label twice"),
        ('["price", "PRICE"]', None, "a label twice"),
        ('["price", "colour"]', None, "unknown label"),
        ('["price", null]', None, "unknown label"),
        ('["price", ["service"]]', None, "unknown label"),
        ('{"label": "price"}', None, "no list of labels"),
        ('{"labels": "price"}', None, "no list of labels"),
        ('{"labels": ["price"], "Labels": ["service"]}', None, "no list of labels"),
        ('{"labels": ["price"], "labels": ["service"]}', None, "malformed json"),
        ("price", None, "malformed json"),
        ('["price"] and ["service"]', None, "malformed json"),
        ("price, service", None, "malformed json"),
        ("", None, "empty"),
    ],
)
def test_a_set_is_read_strictly(text: str, labels: tuple[str, ...] | None, unparsable: str | None) -> None:
    parsed = parse_set(text, TOPICS)
    assert (parsed.labels, parsed.unparsable) == (labels, unparsable)


def test_half_a_set_is_none() -> None:
    assert parse_set('["price", "serv', TOPICS, truncated=True).unparsable == "truncated"
    assert parse_set('{"reason": "Cheap.", "labels": ["price"]}', TOPICS).stated_reason == "Cheap."


@given(st.one_of(st.text(), st.lists(st.sampled_from([*'[]{}",:\\ ', *TOPICS, "labels"])).map("".join)))
def test_whatever_is_read_is_a_set_of_the_task_s_labels_in_their_order(text: str) -> None:
    parsed = parse_set(text, TOPICS)
    assert (parsed.labels is None) != (parsed.unparsable is None)
    if parsed.labels is not None:
        assert list(parsed.labels) == [label for label in TOPICS if label in parsed.labels]
        assert all(json.dumps(label)[1:-1].casefold() in text.casefold() for label in parsed.labels)


@pytest.mark.parametrize(
    ("shares", "middle"),
    [
        ([1, 0, 0], 0),
        ([0.4, 0.2, 0.4], 1),
        ([0.45, 0.1, 0.45], 1),
        ([0.5, 0.5, 0], -1),
        ([0.5, 0, 0.5], -1),
        ([0.2, 0.2, 0.6], 2),
        ([np.nan] * 3, -1),
    ],
)
def test_the_label_of_a_graded_task_is_the_median(shares: list[float], middle: int) -> None:
    assert medians(np.array([shares])).tolist() == [middle]


def test_graded_votes_meet_in_the_middle(tmp_path: Path) -> None:
    """Two low, two high, one middle: no label has most votes, and the middle has half on either side."""
    config = config_of(tmp_path, ORDINAL, "panel.samples=5")
    said = ["low", "low", "middle", "high", "high"]
    votes = [Vote("1", "annotator", i, label) for i, label in enumerate(said)]
    [row] = KINDS["ordinal"].aggregate([Document("1", "", "train")], votes, config)
    assert (row.label, row.raw_label, row.confidence) == ("middle", "middle", pytest.approx(0.2))
    [single] = consensus_of(
        [Document("1", "", "train")],
        votes,
        config_of(tmp_path, ORDINAL.replace("ordinal", "single"), "panel.samples=5"),
    )
    assert (single.label, single.abstained) == (None, "tie")


def set_votes(said: dict[str, list[tuple[str, ...] | None]]) -> list[SetVote]:
    return [SetVote(document, f"p{i}", 0, labels) for document, each in said.items() for i, labels in enumerate(each)]


def test_each_label_is_a_vote_of_its_own(tmp_path: Path) -> None:
    votes = set_votes(
        {
            "both": [("price", "service"), ("price",), ("price", "service")],
            "split": [("price",), (), None],
            "nothing": [(), (), ("quality",)],
            "silent": [None],
        }
    )
    documents = [Document(name, "", "train") for name in ("both", "split", "nothing", "silent")]
    both, split, nothing, silent = set_consensus_of(documents, votes, config_of(tmp_path, MULTI))
    assert (both.labels, both.shares) == (("price", "service"), pytest.approx((1, 2 / 3, 0)))
    assert (split.labels, split.undecided, split.votes_counted) == ((), ("price",), 2)
    assert (nothing.labels, nothing.undecided, nothing.abstained) == ((), (), None)
    assert (silent.labels, silent.abstained) == (None, "no readable vote")


@pytest.mark.parametrize("method", ["reliability_weighted", "posterior", "dawid_skene", "mace", "glad"])
def test_every_method_that_reads_labels_counts_sets(tmp_path: Path, method: str) -> None:
    """Three agree on each text; a fourth persona says the opposite."""
    wanted = {str(i): tuple(label for k, label in enumerate(TOPICS) if (i >> k) & 1) for i in range(40)}
    opposite = {name: tuple(label for label in TOPICS if label not in labels) for name, labels in wanted.items()}
    votes = set_votes({name: [labels, labels, labels, opposite[name]] for name, labels in wanted.items()})
    documents = [Document(name, "", "train") for name in wanted]
    rows = set_consensus_of(documents, votes, config_of(tmp_path, MULTI, f"vote.method={method}"))
    assert {row.document_id: row.labels for row in rows} == wanted


def test_sets_are_scored_whole_and_label_by_label() -> None:
    shares = np.array([[0.9, 0.1, 0.0], [0.9, 0.8, 0.0], [0.5, 0.2, 0.0], [np.nan] * 3])
    truth = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [-1, -1, -1]])
    found = set_scores(shares, truth)
    assert (found["set_accuracy"], found["undecided"]) == (pytest.approx(1 / 3), 1)
    assert found["f1_micro"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["f1_macro"] == pytest.approx((0.8 + 0 + 1) / 3)


@pytest.mark.parametrize(
    ("job", "override", "said"),
    [
        (ORDINAL, "panel.stop=decided", "panel.stop"),
        (ORDINAL, "panel.label_order=permuted", "panel.label_order"),
        (MULTI, "vote.method=calibrated", "vote.method"),
        (MULTI, "panel.logprobs=true", "panel.logprobs"),
        (MULTI, "vote.learn_from_review=true", "vote.learn_from_review"),
        (MULTI, "task.kind=mulit", "unknown kind 'mulit' -> did you mean multi?"),
        (ORDINAL, "vote.method=posteror", "unknown method 'posteror' -> did you mean posterior?"),
        (ORDINAL, "vote.method=42x", "known methods: majority, confidence_weighted, calibrated"),
        (MULTI, "task.labels=['a|b','c']", "must not hold '|'"),
        (MULTI, "task.kind=single", "an example has label"),
        (ORDINAL, "task.kind=multi", "an example has labels, a list"),
    ],
)
def test_what_a_kind_does_not_know_is_refused(tmp_path: Path, job: str, override: str, said: str) -> None:
    examples = ("task.examples=[]",) if "labels=" in override else ()
    with pytest.raises(ConfigError) as raised:
        check_votes(config_of(tmp_path, job, override, *examples))
    assert said in str(raised.value)


def test_gold_sets_are_read_from_a_cell(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("id,text\na,Cheap.\n")
    (tmp_path / "gold.csv").write_text("id,text,label\nb,Good.,quality|price\nc,Blue.,\nd,Red.,price|hue\n")
    config = config_of(
        tmp_path, MULTI, f"documents.path='{tmp_path}/texts.csv'", f"documents.gold_path='{tmp_path}/gold.csv'"
    )
    rows = list(stream_documents(config.documents, TOPICS, read_gold=KINDS["multi"].read_gold))
    assert [row.gold_label for row in rows] == [None, "price|quality", "", None]
    assert rows[3].problem == "gold label 'hue' is not one of ['price', 'service', 'quality']"


@pytest.mark.engine
def test_sets_from_recorded_answers_to_labels(tmp_path: Path, xpoll: Xpoll) -> None:
    (tmp_path / "job.toml").write_text(MULTI)
    (tmp_path / "texts.csv").write_text("id,text\na,Cheap.\nb,Slow.\n")
    (tmp_path / "gold.csv").write_text("id,text,label\nc,Good and cheap.,quality|price\n")
    said = {
        "a": ['["price"]'] * 3,
        "b": ['["service"]', "[]", "?"],
        "c": ['["price"]', '["price","quality"]', '["quality"]'],
    }
    people = ["annotator", "auditor", "credit_analyst"]
    lines = [
        f"{name},{person},0,{json.dumps(text)}".replace('\\"', '""')
        for name, texts in said.items()
        for person, text in zip(people, texts, strict=True)
    ]
    (tmp_path / "answers.csv").write_text("document_id,persona_id,sample,text\n" + "\n".join(lines) + "\n")
    for step in ("poll", "vote"):
        done = xpoll(step, "job.toml", cwd=tmp_path, timeout_s=180)
        assert done.returncode == 0, done.stderr
    rows = {row.document_id: row for row in from_table(pq.read_table(tmp_path / "run/labels.parquet"), SetConsensus)}
    assert rows["a"].labels == ("price",)
    assert (rows["b"].labels, rows["b"].undecided) == ((), ("service",))
    assert (rows["c"].labels, rows["c"].gold_labels) == (("price", "quality"), ("price", "quality"))
    compared = json.loads(xpoll("vote", "job.toml", "--compare", "--json", cwd=tmp_path).stdout)
    assert compared["methods"][0]["set_accuracy"] == 1.0
    refused = xpoll("review", "errors", "job.toml", cwd=tmp_path)
    assert refused.returncode == 2
    assert "task.kind = 'multi'" in refused.stderr
