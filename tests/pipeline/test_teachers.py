"""A run of two teachers: each polls into a folder of its own, and the vote reads both."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.in_process import answer_in_process
from xpoll.core.config.file import load_config
from xpoll.core.files import read_json
from xpoll.core.records import COMPLETION_SCHEMA, Completion, Consensus, Prompt, Vote, from_table, to_table
from xpoll.core.run_folder import RunFolder
from xpoll.engine.backends.backend import ANY_FORM, BackendSettings, BackendSpec, Load
from xpoll.engine.backends.registry import BACKENDS
from xpoll.engine.journal.answers import count_answers
from xpoll.engine.journal.journal import Journal
from xpoll.pipeline.prepare import prepare
from xpoll.pipeline.state import is_done
from xpoll.pipeline.teaching import took
from xpoll.report.collect import _answers, _engine
from xpoll.report.panel import panel_section, panel_size, personas_of
from xpoll.scripts.cli import main

JOB = """
[job]
run_folder = "run"
[documents]
path = "texts.csv"
gold_path = "gold.csv"
[task]
labels = ["good", "bad"]
[panel]
personas = ["annotator", "auditor"]
[engine]
backend = "parrot"
device = "cpu"
[report]
usd_per_hour = 3.6
[[teachers]]
name = "yea"
[teachers.engine]
model = "good"
[[teachers]]
name = "nay"
[teachers.engine]
model = "bad"
[teachers.panel]
answer = "match"
personas = ["annotator"]
label_order = "fixed"
"""


class NamedParrot:
    """Answers with the name of its model, whatever it is asked."""

    asked: list[tuple[str, Prompt]]

    def __init__(self, settings: BackendSettings) -> None:
        self._says = settings.model

    async def start(self) -> None:
        """Nothing to load."""

    async def answer(self, prompt: Prompt) -> Completion:
        """Its model's name, with certainty."""
        NamedParrot.asked.append((self._says, prompt))
        logprobs = tuple(-0.1 if label == self._says else -2.4 for label in prompt.answer.choices)
        return Completion(*prompt.key, text=self._says, finish_reason="stop", prompt_tokens=3, choice_logprobs=logprobs)

    def load(self) -> Load | None:
        """It has no queue."""
        return None

    def stop(self) -> None:
        """Nothing to end."""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job of two parrots in the current folder; polls run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(BACKENDS, "parrot", BackendSpec(NamedParrot, answers=ANY_FORM, invents_devices=True))
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
    NamedParrot.asked = []
    Path("texts.csv").write_text("text\nSun.\nRain.\n")
    Path("gold.csv").write_text("text,label\nSnow.,good\n")
    Path("job.toml").write_text(JOB)
    return Path("job.toml")


def add_sessions(wall_s: float) -> None:
    """What the engine's own `answer_prompts` would have noted."""
    about = {"backend": "parrot", "device": "cpu", "device_name": "a cpu", "replicas": 1}
    for name in ("yea", "nay"):
        path = Path(f"run/teachers/{name}/engine.json")
        session = {"startup_s": 1.0, "wall_s": wall_s, "answers": 3}
        path.write_text(json.dumps({**about, **read_json(path), "model": name, "sessions": [session]}))


def test_each_polls_into_its_own_folder_and_both_vote(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(job), "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)["teachers"]
    assert {name: plan["prompts"] for name, plan in planned.items()} == {"yea": 6, "nay": 3}
    assert main(["poll", str(job)]) == 0
    assert capsys.readouterr().out.count("completions") == 2
    folder = RunFolder(Path("run"))
    assert {name: count_answers(poll.completions) for name, poll in folder.polls().items()} == {"yea": 6, "nay": 3}
    assert not folder.completions.exists()
    assert not folder.plan.exists()
    bare = [prompt.messages for says, prompt in NamedParrot.asked if says == "bad"]
    assert bare[0] == ({"role": "user", "content": "Sun."},)
    assert main(["vote", str(job)]) == 0
    votes = from_table(pq.read_table(folder.votes), Vote)
    assert {(vote.teacher, vote.label) for vote in votes} == {("yea", "good"), ("nay", "bad")}
    assert len(votes) == 9
    rows = from_table(pq.read_table(folder.labels), Consensus)
    assert [(row.label, row.abstained, row.votes_counted, row.votes_saved) for row in rows] == [(None, "tie", 3, 0)] * 3


def test_a_poll_resumes_with_the_teacher_that_is_left(job: Path) -> None:
    config = load_config(job)
    prepared = prepare(config)
    first = prepared.polls[0]
    assert [poll.teacher.name for poll in prepared.polls] == ["yea", "nay"]
    assert not prepared.is_settled
    first.teacher.folder.engine.write_text(json.dumps({"settled_documents": first.plan.to_settle}))
    assert not prepare(config).polls[0].is_settled, "engine.json says so, and there are no answers"
    rows = [Completion(str(i), "annotator", sample, "good", "stop") for i in range(3) for sample in range(2)]
    with Journal(first.teacher.folder.completions) as journal:
        journal.append(to_table(rows, COMPLETION_SCHEMA).to_batches())
    assert prepare(config).polls[0].is_settled
    assert not is_done("poll", RunFolder(Path("run")))
    assert main(["poll", str(job)]) == 0
    assert {says for says, _ in NamedParrot.asked} == {"bad"}
    assert is_done("poll", RunFolder(Path("run")))


def test_status_says_how_far_each_is(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["poll", str(job)])
    add_sessions(wall_s=1.5)
    capsys.readouterr()
    assert main(["status", "run"]) == 0
    shown = capsys.readouterr().out
    assert "run, yea: 6 of at most 6 answers, 2 answers/s in the last session" in shown
    assert "run, nay: 3 of at most 3 answers" in shown
    assert "steps done: poll" in shown
    assert main(["status", "run", "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert (state["answered"], state["prompts"], state["teachers"]["nay"]["answered"]) == (9, 9, 3)


def test_the_comparison_says_what_each_adds_and_took(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["poll", str(job)])
    add_sessions(wall_s=6.0)
    main(["vote", str(job)])
    capsys.readouterr()
    assert main(["vote", str(job), "--compare", "--json"]) == 0
    nay, yea = json.loads(capsys.readouterr().out)["teachers"]
    assert (nay["teacher"], nay["accuracy"], nay["accuracy_without"], nay["adds"]) == ("nay", 0.0, 1.0, -1.0)
    assert (yea["accuracy"], yea["s_per_document"]) == (1.0, 2.0)
    assert yea["usd_per_million"] == pytest.approx(2.0 / 3600 * 3.6 * 1e6)
    assert main(["vote", str(job), "--compare"]) == 0
    assert "teacher (majority)" in capsys.readouterr().out
    assert took(load_config(job))["nay"]["s_per_document"] == 2.0


def test_the_report_sums_over_teachers(job: Path) -> None:
    main(["poll", str(job)])
    add_sessions(wall_s=6.0)
    folder = RunFolder(Path("run"))
    answers = _answers(folder)
    assert (answers.completions, answers.prompt_tokens, answers.errors) == (9, 27, {})
    engine = _engine(folder, answers, 3)
    assert (engine.model, engine.backend, engine.wall_s, engine.starts) == ("yea + nay", "parrot", 12.0, 2)
    assert (engine.documents_per_s, engine.prompt_order) == (0.25, "persona_first")
    assert (engine.cached_share, engine.uncached_tokens_per_label) == (None, None), "parrots do not tell of a cache"
    told = _engine(folder, answers._replace(cached_prompt_tokens=9), 3)
    assert (told.cached_share, told.uncached_tokens_per_label) == (pytest.approx(1 / 3, abs=1e-4), 6.0)
    config = read_json(folder.config)
    assert panel_size(folder, config) == 3
    assert [each["voter"] for each in personas_of(folder)] == ["yea/annotator", "yea/auditor", "nay/annotator"]
    assert panel_section(folder, config)["samples"] == 1


def test_another_teacher_is_another_run(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["poll", str(job)])
    capsys.readouterr()
    Path("job.toml").write_text(JOB.replace('model = "bad"', 'model = "good"'))
    assert main(["poll", str(job)]) == 2
    assert "keys that differ: teachers.nay.engine.model" in capsys.readouterr().err
    Path("job.toml").write_text(JOB.replace('model = "bad"', 'model = "bad"\nmax_in_flight = 7'))
    assert main(["poll", str(job)]) == 0, "which changes no answer"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("task]\n", 'task]\nkind = "multi"\n'), "task.kind = 'multi' knows no teachers but the default"),
        (('model = "bad"', 'model = "bad"\nbackend = "parott"'), "unknown backend 'parott'"),
        (('"annotator"]\nlabel_order', '"nobody"]\nlabel_order'), "nobody"),
    ],
)
def test_a_mistake_of_one_starts_none(
    job: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], says: str
) -> None:
    Path("job.toml").write_text(JOB.replace(*change))
    assert main(["poll", str(job)]) == 2
    assert says in capsys.readouterr().err
    assert NamedParrot.asked == []
    assert not Path("run").exists()
