"""Texts without content are asked of every persona, and what is answered to them changes labels and nothing else."""

import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import Xpoll
from xpoll.core.config.file import load_config
from xpoll.core.errors import ConfigError, InputError
from xpoll.core.files import read_json
from xpoll.core.records import Completion, Consensus, Key, Vote, from_table
from xpoll.engine.journal.answers import read_completions
from xpoll.personas.label_order import Shown
from xpoll.personas.probes import is_probe, probe_documents
from xpoll.votes.ballots import ballots_of
from xpoll.votes.check import carries_logprobs, check_votes
from xpoll.votes.methods.calibration import contextual
from xpoll.votes.stop import Decided, StopButAskProbes

LABELS = ["bad", "good", "mixed"]
JOB = f"""
[job]
run_folder = "run"
[documents]
path = "texts.csv"
[task]
labels = {LABELS}
[panel]
personas = ["annotator", "auditor", "credit_analyst"]
per_document = 2
samples = 2
content_free = ["N/A", ""]
stop = "decided"
[engine]
backend = "simulated"
device = "cpu"
[engine.simulated]
time_scale = 0
"""


def vote(document_id: str, persona_id: str, scores: list[float], sample: int = 0) -> Vote:
    total = sum(map(math.exp, scores))
    shares = tuple(math.exp(score) / total for score in scores)
    return Vote(document_id, persona_id, sample, LABELS[shares.index(max(shares))], None, max(shares), shares)


def test_the_bias_that_shows_without_content_is_taken_out_persona_by_persona() -> None:
    """One persona leans to bad and one to mixed, further than the truth moves them."""
    lean = {"a": [3.0, 0.0, 0.0], "b": [0.0, 0.0, 3.0]}
    documents = [str(i) for i in range(30)]
    cast = [
        vote(document, persona, [bias[i] + (i == int(document) % 3) for i in range(3)])
        for document in documents
        for persona, bias in lean.items()
    ]
    probes = [vote(f"probe-{i}", persona, bias) for i in range(2) for persona, bias in lean.items()]
    shares = contextual(ballots_of(documents, cast, LABELS, probes=probes))
    assert shares.argmax(1).tolist() == [int(document) % 3 for document in documents]
    # Both lean away from nothing then: what is left is the truth's one unit.
    assert shares[0] == pytest.approx([math.e / (math.e + 2), 1 / (math.e + 2), 1 / (math.e + 2)])
    without_b = contextual(ballots_of(documents, cast, LABELS, probes=probes[::2]))
    assert without_b.argmax(1).tolist() != shares.argmax(1).tolist()


def test_a_preference_for_a_place_shows_without_content_too() -> None:
    shown = Shown(tuple(LABELS), 0, {"a": 0})
    documents = [str(i) for i in range(30)]

    def answered(document_id: str, truth: int | None) -> Vote:
        first = shown.rotation(Key(document_id, "a", 0))
        return vote(document_id, "a", [2.0 * (i == first) + (i == truth) for i in range(3)])

    cast = [answered(document, int(document) % 3) for document in documents]
    probes = [answered(f"probe-{i}", None) for i in range(20)]
    found = contextual(ballots_of(documents, cast, LABELS, shown={None: shown}, probes=probes))
    assert found.argmax(1).tolist() == [int(document) % 3 for document in documents]


def test_without_answers_to_them_there_is_no_such_vote() -> None:
    with pytest.raises(InputError, match=r"panel\.content_free"):
        contextual(ballots_of(["d"], [vote("d", "a", [1.0, 0.0, 0.0])], LABELS))


def test_a_method_that_needs_them_is_refused_without_them(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(JOB)
    with pytest.raises(ConfigError, match=r"needs panel\.content_free"):
        check_votes(load_config(tmp_path / "job.toml", ["vote.method=contextual", "panel.content_free=[]"]))
    config = load_config(tmp_path / "job.toml", ["vote.method=contextual"])
    check_votes(config)
    assert carries_logprobs(config)
    assert [document.text for document in probe_documents(config)] == ["N/A", ""]
    permuted = load_config(tmp_path / "job.toml", ["panel.label_order=permuted"])
    ids = [document.document_id for document in probe_documents(permuted)]
    assert len(set(ids)) == 6
    assert all(map(is_probe, ids))


def test_a_stop_rule_does_not_cut_them_off() -> None:
    rule = StopButAskProbes(Decided(("bad", "good")))
    answers = [Completion("xpoll-content-free-0", persona, 0, text="bad") for persona in "ab"]
    assert rule.fewest(answers, 1) == 1
    assert rule.fewest([answer._replace(document_id="7") for answer in answers], 1) == 0


@pytest.mark.engine
def test_they_are_asked_once_of_each_persona_and_get_no_label(tmp_path: Path, xpoll: Xpoll) -> None:
    (tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f"sentence {i}\n" for i in range(40)))
    for step in ("poll", "vote"):
        done = xpoll(step, "job.toml", cwd=tmp_path, timeout_s=180)
        assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    planned = read_json(run / "plan.json")
    assert (planned["documents"], planned["probes"], planned["prompts"]) == (40, 2, 40 * 4 + 2 * 3)
    asked = [answer.key for answer in read_completions(run / "completions") if is_probe(answer.document_id)]
    assert len(asked) == len(set(asked)) == 6
    assert {key.sample for key in asked} == {0}
    assert len(from_table(pq.read_table(run / "labels.parquet"), Consensus)) == 40
    votes, probes = (from_table(pq.read_table(run / f"{name}.parquet"), Vote) for name in ("votes", "probes"))
    assert len(probes) == 6
    assert not any(is_probe(row.document_id) for row in votes)
    again = xpoll("poll", "job.toml", cwd=tmp_path, timeout_s=180)
    assert again.returncode == 0, again.stderr
    assert len(list(read_completions(run / "completions"))) == len(votes) + 6
