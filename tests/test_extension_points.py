"""A vote method, a backend and a kind of task are each one file and one line: here the file is a class or a function
of this test, and the line an entry that the test puts into the table. Everything else is the product's, unchanged."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.in_process import answer_in_process
from xpoll.core.config.file import checked_section
from xpoll.core.config.job import EngineConfig, Section
from xpoll.core.files import read_json
from xpoll.core.records import AnswerSchema, Completion, Consensus, Prompt, Vote, from_table
from xpoll.engine.backends.backend import BackendSettings, BackendSpec, Load
from xpoll.engine.backends.registry import BACKENDS, devices_for
from xpoll.engine.journal.answers import read_completions
from xpoll.personas.answer_format import AnswerFormat
from xpoll.personas.documents import labels_in_cell
from xpoll.pipeline import measure, steps
from xpoll.report.sections.registry import SECTIONS
from xpoll.scripts.cli import main
from xpoll.student.evaluation import Evaluation, Verdict
from xpoll.student.heads.label import LABEL
from xpoll.student.heads.registry import HEADS
from xpoll.votes.ballots import Ballots, Shares, normalised
from xpoll.votes.compare import compare_labels
from xpoll.votes.consensus import consensus_of
from xpoll.votes.methods.method import VoteMethod
from xpoll.votes.methods.registry import METHODS
from xpoll.votes.tasks.kind import TaskKind
from xpoll.votes.tasks.registry import KINDS

JOB = """
[job]
run_folder = "run"
[documents]
path = "texts.csv"
gold_path = "gold.csv"
[task]
labels = ["good", "bad"]
[panel]
personas = ["annotator", "auditor", "credit_analyst"]
answer = "chain_of_thought"
[engine]
backend = "parrot"
device = "cpu"
[engine.parrot]
says = "good"
"""


class ParrotOptions(Section):
    """`[engine.parrot]`."""

    says: str
    """What it answers, whatever it is asked."""


class Parrot:
    """A backend of four methods."""

    asked: list[Prompt]

    def __init__(self, settings: BackendSettings) -> None:
        self._says = checked_section(ParrotOptions, settings.options, "engine.parrot").says
        Parrot.asked = []

    async def start(self) -> None:
        """Nothing to load."""

    async def answer(self, prompt: Prompt) -> Completion:
        """The label, in the JSON object that the prompt asks for; auditors contradict."""
        Parrot.asked.append(prompt)
        says = "bad" if prompt.persona_id == "auditor" else self._says
        properties = json.loads(prompt.answer.json_schema or "")["properties"]
        text = json.dumps({"reason": "so", list(properties)[-1]: says})
        return Completion(*prompt.key, text=text, finish_reason="stop", choice_logprobs=_logprobs(prompt.answer, says))

    def load(self) -> Load | None:
        """It has no queue."""
        return None

    def stop(self) -> None:
        """Nothing to end."""


def _logprobs(answer: AnswerSchema, says: str) -> tuple[float, ...] | None:
    return tuple(float(np.log(0.9 if label == says else 0.1)) for label in answer.choices) if answer.logprobs else None


PARROT = BackendSpec(Parrot, lambda: ParrotOptions, runs_model=False, invents_devices=True)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job for the parrot in the current folder; polls run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(BACKENDS, "parrot", PARROT)
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
    Path("texts.csv").write_text("text\nSun.\nRain.\n")
    Path("gold.csv").write_text("text,label\nSnow.,good\n")
    Path("job.toml").write_text(JOB)
    for slow in ("dawid_skene", "mace", "glad", "posterior"):
        monkeypatch.delitem(METHODS, slow)
    return Path("job.toml")


def labels() -> list[Consensus]:
    return from_table(pq.read_table("run/labels.parquet"), Consensus)


def test_a_backend_is_one_class_and_one_line(
    job: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["plan", str(job), "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["backend"], planned["prompts"]) == ("parrot", 9)
    assert main(["poll", str(job)]) == 0
    answers = list(read_completions(Path("run/completions")))
    assert len(answers) == len(Parrot.asked) == 9
    capsys.readouterr()
    assert main(["plan", str(job), "--set", "engine.parrot.says=1"]) == 2
    assert "engine.parrot.says: input should be a valid string, got 1" in capsys.readouterr().err
    assert main(["plan", str(job), "--set", "engine.parrot.sys='good'"]) == 2
    assert "unknown config key engine.parrot.sys -> did you mean engine.parrot.says?" in capsys.readouterr().err
    assert main(["serve", str(job)]) == 2
    assert "only vllm, openai, simulated can be served, not 'parrot'" in capsys.readouterr().err
    config = EngineConfig(backend="parrot", replicas=1000)
    assert len(devices_for(config)) == 1000
    assert measure._counters("poll", config).why == "no model runs with engine.backend = 'parrot'"


def last_but_one(ballots: Ballots) -> Shares:
    """The label with the fewest votes that has any."""
    counts = ballots.counts().astype(float)
    return normalised(np.where(counts == np.where(counts > 0, counts, np.inf).min(1, keepdims=True), counts, 0))


@pytest.mark.parametrize("needs_logprobs", [False, True])
def test_a_vote_method_is_one_function_and_one_line(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], needs_logprobs: bool
) -> None:
    monkeypatch.setitem(METHODS, "last_but_one", VoteMethod(last_but_one, needs_logprobs=needs_logprobs))
    settings = [str(job), "--set", "vote.method=last_but_one"]
    assert main(["poll", *settings]) == 0
    assert {prompt.answer.logprobs for prompt in Parrot.asked} == {needs_logprobs}
    assert main(["vote", *settings]) == 0
    assert [row.label for row in labels()] == ["bad", "bad", "bad"]
    capsys.readouterr()
    assert main(["vote", "--compare", *settings]) == 0
    assert "last_but_one" in capsys.readouterr().out
    assert main(["vote", str(job), "--set", "vote.method=last_but_two"]) == 2
    assert "unknown method 'last_but_two' -> did you mean last_but_one?" in capsys.readouterr().err


def verdict_of(completion: Completion, labels: list[str]) -> Vote:
    """A vote from the property `verdict`."""
    said = json.loads(completion.text or "{}").get("verdict")
    return Vote(*completion.key, said if said in labels else None, None if said in labels else "no verdict")


def unanimous(shares: Shares) -> np.ndarray:
    """The label that all votes name; -1 without one."""
    return np.where(np.nan_to_num(shares).max(1) > 0.99, np.nan_to_num(shares).argmax(1), -1)


JURY = TaskKind(
    AnswerFormat(in_json="your vote, one of", note="Only a verdict of all counts.", key="verdict"),
    verdict_of,
    partial(consensus_of, decide=unanimous),
    partial(compare_labels, decide=unanimous),
    allows=frozenset({"panel.label_order"}),
    read_gold=labels_in_cell(lambda cell: [str(cell).strip().lower()]),
)


def test_a_kind_of_task_is_one_record_and_one_line(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(KINDS, "jury", JURY)
    Path("gold.csv").write_text("text,label\nSnow.,GOOD\n")
    settings = [str(job), "--set", "task.kind=jury"]
    assert main(["poll", *settings]) == 0
    system = Parrot.asked[0].messages[0]["content"]
    assert "Only a verdict of all counts. Think first" in system
    assert system.endswith('and "verdict", your vote, one of: good, bad.')
    assert "verdict" in json.loads(Parrot.asked[0].answer.json_schema or "")["properties"]
    assert main(["vote", *settings]) == 0
    rows = labels()
    assert [(row.label, row.abstained, row.gold_label) for row in rows] == [
        (None, "tie", None),
        (None, "tie", None),
        (None, "tie", "good"),
    ]
    assert rows[0].distribution == pytest.approx((2 / 3, 1 / 3))
    capsys.readouterr()
    assert main(["vote", "--compare", "--json", *settings]) == 0
    assert json.loads(capsys.readouterr().out)["methods"][0]["abstained"] == 3
    assert main(["plan", *settings, "--set", "panel.stop=decided"]) == 2
    assert "task.kind = 'jury' knows no panel.stop but the default" in capsys.readouterr().err


def test_a_class_of_the_user_s_own_is_handed_its_options(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own_parrot.py").write_text("from tests.test_extension_points import Parrot as OwnParrot\n")
    own = [str(job), "--set", "engine.backend=own_parrot:OwnParrot", "--set", "engine.options.says='bad'"]
    monkeypatch.delitem(BACKENDS, "parrot")
    assert main(["poll", *own]) == 2, "[engine.parrot] is no table of a backend now"
    assert "unknown config table [engine.parrot] -> known backends: vllm, openvino, replay" in capsys.readouterr().err
    Path("job.toml").write_text(JOB.replace('[engine.parrot]\nsays = "good"\n', ""))
    assert main(["poll", *own]) == 0
    assert main(["vote", *own]) == 0
    assert [row.label for row in labels()] == ["bad"] * 3
    assert main(["plan", str(job), "--set", "engine.backend=replay", "--set", "engine.options.path=x"]) == 2
    assert "put the options of replay into [engine.replay]" in capsys.readouterr().err


def test_what_the_poll_did_not_ask_for_cannot_be_voted_on(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a method that was set for one vote does not make the job refuse: what it made is made again."""
    assert main(["poll", str(job)]) == 0
    assert main(["vote", str(job)]) == 0
    assert read_json(Path("run/plan.json"))["logprobs"] is False
    before = labels()
    capsys.readouterr()
    assert main(["vote", str(job), "--set", "vote.method=calibrated"]) == 2
    said = capsys.readouterr().err
    assert "vote.method = 'calibrated' reads logprobs, and the poll of run did not ask for any" in said
    assert said.strip().endswith("-> set panel.logprobs = true and poll into another job.run_folder")
    assert said.count("\n") == 1
    assert labels() == before
    assert read_json(Path("run/config.resolved.json"))["vote"]["method"] == "majority"
    assert main(["vote", str(job), "--set", "panel.stop=decided"]) == 2
    assert "keys that differ: panel.stop" in capsys.readouterr().err


def test_a_poll_with_logprobs_takes_any_method_afterwards(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [str(job), "--set", "panel.logprobs=true"]
    assert main(["poll", *settings]) == 0
    assert {prompt.answer.logprobs for prompt in Parrot.asked} == {True}
    assert main(["vote", *settings, "--set", "vote.method=confidence_weighted"]) == 0
    assert all(vote.distribution for vote in from_table(pq.read_table("run/votes.parquet"), Vote))
    capsys.readouterr()
    assert main(["plan", str(job), "--set", "panel.logprobs=false", "--set", "vote.method=calibrated"]) == 2
    assert "panel.logprobs is false" in capsys.readouterr().err


def test_a_method_set_for_one_vote_does_not_make_the_job_refuse(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []
    for step in ("train", "evaluate", "report"):
        monkeypatch.setitem(
            steps.STEPS,
            step,
            steps.STEPS[step]._replace(function=lambda _config, _folder, step=step: bool(done.append(step))),
        )
    monkeypatch.setattr("xpoll.scripts.commands.status.show_metrics", lambda *_, **__: 0)
    monkeypatch.setattr("xpoll.pipeline.prepare.resolve_model", lambda *_, **__: None)
    assert main(["run", str(job)]) == 0
    assert main(["vote", str(job), "--set", "vote.method=reliability_weighted"]) == 0
    by_reliability = labels()
    Parrot.asked.clear()
    assert main(["poll", str(job)]) == 0, "the poll does not read [vote]"
    assert labels() == by_reliability, "so what was voted stays"
    assert read_json(Path("run/config.resolved.json"))["vote"]["method"] == "reliability_weighted"
    done.clear()
    capsys.readouterr()
    assert main(["train", str(job)]) == 2
    said = capsys.readouterr().err
    assert "what train reads in run was made with another vote.method -> give the same --set here" in said
    assert main(["run", str(job)]) == 0
    assert "what was made with another vote.method is made again" in capsys.readouterr().err
    assert labels() != by_reliability
    assert read_json(Path("run/config.resolved.json"))["vote"]["method"] == "majority"
    assert done == ["train", "evaluate", "report"]


def test_every_kind_of_task_has_a_head_and_sections_of_the_page() -> None:
    assert {kind.head for kind in KINDS.values()} == set(HEADS) == set(SECTIONS)
    for kind in KINDS.values():
        head = HEADS[kind.head]
        assert head.record._fields == tuple(kind.label_schema.names), "what the vote writes is what the student reads"


def test_a_head_is_one_record_and_one_line(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here one that scores nothing and knows no student; the kind of task names it."""
    scored: list[int] = []

    def count(rows: list[Consensus], labels: list[str], student: object, **_: object) -> Evaluation:
        scored.append(len(rows))
        return Evaluation(
            gold_rows=0, labels=tuple(labels), verdict=Verdict(word="not measured", reasons=("no student",))
        )

    head = replace(
        LABEL, name="counted", evaluate=count, load=lambda folder, **_: SimpleNamespace(labels=["good", "bad"])
    )
    monkeypatch.setitem(HEADS, "counted", head)
    monkeypatch.setitem(KINDS, "jury", replace(JURY, head="counted"))
    settings = [str(job), "--set", "task.kind=jury"]
    assert main(["poll", *settings]) == 0
    assert main(["vote", *settings]) == 0
    Path("run/student").mkdir()
    assert main(["evaluate", *settings]) == 0
    assert scored == [3]
    assert json.loads(Path("run/evaluation.json").read_text())["verdict"]["word"] == "not measured"
    assert main(["train", *settings, "--set", "student.recipe=robust", "--set", "student.encoder='none'"]) == 2
