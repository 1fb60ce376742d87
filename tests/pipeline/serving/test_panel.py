"""A served panel asks what the job asks, and counts as the job's run counts."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.in_process import answer_in_process
from tests.support.listening import LOOPBACK, listening_below
from tests.support.served import make_student, served
from tests.support.toy import LABELS, documents
from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config, TeacherConfig
from xpoll.core.errors import ConfigError
from xpoll.core.files import write_table
from xpoll.core.records import CONSENSUS_SCHEMA, Completion, Consensus, Prompt, from_table, to_table, with_labels
from xpoll.engine.backends.backend import EngineDeadError
from xpoll.engine.journal.answers import read_completions
from xpoll.pipeline.serving.cascade import ServedCascade
from xpoll.pipeline.serving.panel import Panel, ServedPanel, document_id_of, served_panel
from xpoll.pipeline.serving.request_error import RequestError
from xpoll.pipeline.serving.serve import _check_served
from xpoll.pipeline.serving.text_label import TextLabel, TokensSpent
from xpoll.scripts.cli import main

JOB = f"""
[job]
run_folder = "run"
[documents]
path = "texts.csv"
[task]
labels = {LABELS}
question = "Is it good?"
examples = [{{text = "Up.", label = "good"}}]
label_priors = {{bad = 0.2, fair = 0.3, good = 0.5}}
[panel]
personas = ["annotator", "auditor", "credit_analyst"]
samples = 2
content_free = ["N/A", ""]
logprobs = true
[engine]
backend = "simulated"
device = "cpu"
[engine.simulated]
time_scale = 0
agreement = 0.6
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job that was polled and voted on, by a simulated engine in this process."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "texts.csv").write_text("text\n" + "".join(f"sentence {i}\n" for i in range(40)))
    (folder / "job.toml").write_text(JOB)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
        assert main(["poll", "job.toml"]) == 0
        assert main(["vote", "job.toml"]) == 0
    return folder


@pytest.fixture
def job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    monkeypatch.chdir(folder)
    return lambda *overrides: load_config(Path("job.toml"), list(overrides))


@pytest.mark.parametrize(
    "method", ["majority", "confidence_weighted", "calibrated", "contextual", "calibrated --set task.kind=ordinal"]
)
def test_the_answers_of_a_run_are_counted_as_the_run_counts_them(job: Callable[..., Config], method: str) -> None:
    settings = f"vote.method={method}".split(" --set ")
    panel = served_panel(job(*settings))
    if "ordinal" in method:  # the run's question was another, so its bias is not the job's
        assert panel.later.words.startswith("majority: calibrated needs the votes of a run")
        return
    command = ["vote", "run", *(word for each in settings for word in ("--set", each))]
    assert main(command) == 0
    answers: dict[str, list[Completion]] = {}
    for completion in read_completions(Path("run/completions")):
        answers.setdefault(completion.document_id, []).append(completion)
    for row in from_table(pq.read_table("run/labels.parquet"), Consensus):
        alike = [each._replace(document_id=document_id_of(row.text)) for each in answers[row.document_id]]
        counted = panel.consensus(row.text, [(None, each) for each in alike])
        assert counted.distribution == pytest.approx(row.distribution)
        assert (counted.label, counted.abstained) == (row.label, row.abstained)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("majority", "majority"),
        ("calibrated", "calibrated, with the label bias of 240 votes of the run"),
        ("posterior", "majority: posterior learns from all texts of a run and cannot count one alone"),
    ],
)
def test_it_says_how_votes_are_counted(job: Callable[..., Config], method: str, words: str) -> None:
    assert served_panel(job(f"vote.method={method}")).later.words == words


def test_without_a_run_there_is_no_bias_to_take_out(job: Callable[..., Config]) -> None:
    words = "majority: calibrated needs the votes of a run of this job, and none is there"
    for change in ("job.run_folder=other", "task.question=Else?", "panel.samples=1", "engine.model=other"):
        assert served_panel(job("vote.method=calibrated", change)).later.words == words, change


def test_the_prompts_are_those_of_the_run(job: Callable[..., Config]) -> None:
    config = job()
    prompts = [prompt for _, prompt in served_panel(config).prompts("sentence 7")]
    assert [(each.persona_id, each.sample) for each in prompts] == [
        (name, sample) for name in config.panel.personas for sample in (0, 1)
    ], "and none about a text without content"
    assert all("Is it good?" in each.messages[0]["content"] for each in prompts)
    assert "Up." in prompts[0].messages[1]["content"] and prompts[0].messages[2]["content"] == "good"
    assert "sentence 7" in prompts[0].messages[3]["content"]
    assert {each.document_id for each in prompts} == {document_id_of("sentence 7")}


TEACHERS = """
[[teachers]]
name = "one"
[[teachers]]
name = "two"
engine = {model = "another"}
panel = {personas = ["annotator"], samples = 1}
"""


def test_each_teacher_is_asked_as_in_the_run_and_all_are_counted_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
    Path("texts.csv").write_text("text\n" + "".join(f"sentence {i}\n" for i in range(40)))
    Path("job.toml").write_text(JOB + '[vote]\nmethod = "pooled"\n' + TEACHERS)
    assert main(["poll", "job.toml"]) == 0
    assert main(["vote", "job.toml"]) == 0
    panel = served_panel(load_config(Path("job.toml")))
    assert [name for name, _ in panel.prompts("sentence 7")] == ["one"] * 6 + ["two"]
    assert panel.later.words == "pooled, with the label bias of 280 votes of the run"
    answers: dict[str, list[tuple[str | None, Completion]]] = {}
    for name in ("one", "two"):
        for completion in read_completions(Path(f"run/teachers/{name}/completions")):
            answers.setdefault(completion.document_id, []).append((name, completion))
    for row in from_table(pq.read_table("run/labels.parquet"), Consensus):
        alike = [(name, each._replace(document_id=document_id_of(row.text))) for name, each in answers[row.document_id]]
        assert panel.consensus(row.text, alike).distribution == pytest.approx(row.distribution)
    backends = {"one": Scripted(says("good")), "two": Scripted(says("bad"))}
    [said] = asyncio.run(Panel(panel, backends).label_texts(["a text"]))
    assert (said.votes, said.spent) == (7, TokensSpent(70, 28, 14))
    assert [len(backends[name].asked) for name in ("one", "two")] == [6, 1]


@pytest.mark.parametrize(
    ("backends", "says"),
    [
        (("simulated", "replay"), "teachers.two.engine.backend: only .* can be served, not 'replay'"),
        (("vllm", "vllm"), "the teachers one and two each need engines here, and one can have them"),
    ],
)
def test_teachers_that_cannot_be_served_are_named(
    job: Callable[..., Config], backends: tuple[str, str], says: str
) -> None:
    engines = [{"backend": backend, "model": "m"} for backend in backends]
    teachers = [TeacherConfig(name=name, engine=engine) for name, engine in zip(("one", "two"), engines, strict=True)]
    with pytest.raises(ConfigError, match=says):
        _check_served(job().model_copy(update={"teachers": teachers}))


def test_sets_of_labels_have_no_decisions(job: Callable[..., Config]) -> None:
    plain = [
        f"{key}={value}"
        for key, value in {
            "task.kind": "multi",
            "task.examples": "[]",
            "panel.content_free": "[]",
            "panel.logprobs": "auto",
        }.items()
    ]
    config = job(*plain)
    config = config.model_copy(update={"task": config.task.model_copy(update={"label_priors": None})})
    with pytest.raises(ConfigError, match="task.kind = 'multi' has no decisions"):
        served_panel(config)


@dataclass
class Scripted:
    """A backend that answers one text as a test says."""

    answers: Callable[[Prompt], Completion]
    asked: list[Prompt] = field(default_factory=list)

    async def start(self) -> None: ...

    async def answer(self, prompt: Prompt) -> Completion:
        self.asked.append(prompt)
        return self.answers(prompt)

    def load(self) -> None: ...

    def stop(self) -> None: ...


def says(*labels: str) -> Callable[[Prompt], Completion]:
    """The labels in turn, over personas and samples."""
    order = iter(labels * 100)

    def answer(prompt: Prompt) -> Completion:
        return Completion(*prompt.key, next(order), "stop", 10, 4, 2)

    return answer


def labelled(panel: ServedPanel, answers: Callable[[Prompt], Completion], text: str = "a text") -> TextLabel:
    [said] = asyncio.run(Panel(panel, {None: Scripted(answers)}).label_texts([text]))
    return said


def test_votes_become_a_label_and_tokens_are_summed(job: Callable[..., Config]) -> None:
    said = labelled(served_panel(job()), says("good", "good", "bad"))
    assert (said.label, said.answered_by, said.votes) == ("good", "panel", 6)
    assert said.distribution == pytest.approx((1 / 3, 0, 2 / 3))
    assert said.spent == TokensSpent(60, 24, 12)


def test_a_tie_and_answers_that_cannot_be_read_abstain(job: Callable[..., Config]) -> None:
    panel = served_panel(job())
    tie = labelled(panel, says("good", "bad"))
    assert (tie.label, tie.abstained) == (None, "tie")
    assert tie.distribution == pytest.approx((0.5, 0, 0.5))
    unread = labelled(panel, says("hm"))
    assert (unread.label, unread.distribution, unread.abstained) == (None, None, "no readable vote")
    weighted = labelled(served_panel(job("vote.method=confidence_weighted")), says("good"))
    assert weighted.distribution is None, "these answers have no logprobs"


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("context_length", 400, "the panel cannot be asked about this text: too long"),
        ("server", 503, "the panel's engine has no answer: too long"),
    ],
)
def test_errors_of_the_engine_are_errors_of_the_request(
    job: Callable[..., Config], kind: str, status: int, said: str
) -> None:
    def fails(prompt: Prompt) -> Completion:
        return Completion(*prompt.key, error_kind=kind, error="too long")

    with pytest.raises(RequestError, match=said) as caught:
        labelled(served_panel(job()), fails)
    assert caught.value.status == status


def test_an_engine_that_is_gone_is_unavailable(job: Callable[..., Config]) -> None:
    def dies(_: Prompt) -> Completion:
        raise EngineDeadError("it was ended by signal 9")

    with pytest.raises(RequestError, match="the panel's engine is gone: it was ended by signal 9") as caught:
        labelled(served_panel(job()), dies)
    assert caught.value.status == 503


def test_the_panel_is_asked_about_what_the_student_is_unsure_of(job: Callable[..., Config]) -> None:
    class Student:
        labels = tuple(LABELS)
        is_ready = True

        async def label_texts(self, texts: list[str]) -> list[TextLabel]:
            shares = {"sure": (0.9, 0.05, 0.05), "unsure": (0.5, 0.3, 0.2)}
            return [TextLabel("bad", shares[text], "student", TokensSpent(3)) for text in texts]

    backend = Scripted(says("good"))
    cascade = ServedCascade(Student(), Panel(served_panel(job()), {None: backend}), 0.8)  # type: ignore[arg-type]
    said = asyncio.run(cascade.label_texts(["sure", "unsure", "sure", "unsure"]))
    assert [(each.label, each.answered_by) for each in said] == [("bad", "student"), ("good", "panel")] * 2
    assert {each.messages[-1]["content"].count("unsure") for each in backend.asked} == {1}
    assert (len(backend.asked), said[0].spent, said[1].spent) == (12, TokensSpent(3), TokensSpent(63, 24, 12))


@pytest.mark.engine
def test_a_panel_and_a_cascade_are_served_by_the_command(folder: Path) -> None:
    asked = {
        "model": "job",
        "input": "sentence 3",
        "questions": [{"type": "choice", "instructions": "?", "choices": [{"value": label} for label in LABELS]}],
    }
    with served("job.toml", "--set", "vote.method=calibrated", cwd=folder) as server:
        assert (server.ready["decisions"], server.ready["labels"]) == ("job", LABELS)
        status, body, _ = server.post("/v1/decisions", asked)
        assert status == 200
        about = body["xpoll"]
        assert (about["answered_by"], about["votes"]) == ("panel", 6)
        assert about["counting"] == "calibrated, with the label bias of 240 votes of the run"
        assert sum(each["probability"] for each in body["answers"][0]["probabilities"]) == pytest.approx(1)
        refused = asked | {"questions": [{"type": "predicate", "name": "spam", "instructions": "?"}]}
        assert "the labels are 'bad', 'fair', 'good'" in server.post("/v1/decisions", refused).body["error"]["message"]
        data = server.post("/classify", {"input": ["sentence 3", "sentence 4"]}).body["data"]
        assert [len(each["probs"]) for each in data] == [3, 3]
        assert server.get("/health").status == 200
        open_to = listening_below(server.process.pid)
        assert int(server.base.rpartition(":")[2]) in {port for _, port in open_to}, "the test sees what listens"
        assert {address for address, _ in open_to} <= LOOPBACK, open_to
    make_student(folder / "run/student")
    gold = documents(60, seed=11, split="gold")
    write_table(folder / "run/labels.parquet", to_table(gold, with_labels(CONSENSUS_SCHEMA, LABELS)))
    with served("run", "--cascade", "--target", "0.999", cwd=folder) as server:
        assert server.ready["gold"]["gold_rows"] == 60 and server.ready["gold"]["threshold"] > 1
        status, body, _ = server.post("/v1/decisions", asked)
        assert (status, body["xpoll"]["answered_by"]) == (200, "panel"), "nothing is shown to be enough"
        assert body["model"] == "job"
        page = str(server.get("/metrics").body)
        assert 'xpoll_texts_total{answered_by="panel"' in page and "vllm:request_success_total" in page
