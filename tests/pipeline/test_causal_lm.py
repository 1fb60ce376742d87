"""A job whose student writes: one command trains, measures and reports; what does not apply to it is one line."""

import json
from pathlib import Path

import pytest

from tests.conftest import Xpoll, in_this_process
from tests.support.served import served
from tests.support.tiny import make_tiny_llama
from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError

JOB = """
[documents]
path = "rows.jsonl"
[student]
kind = "causal-lm"
model = "{model}"
min_steps = 8
epochs = 1
batch_size = 8
max_length = 64
learning_rate = 1e-2
held_out = 0.25
[report]
sample_rows = 2
"""
HOSTILE = "<script>alert(1)</script>"


def write_rows(folder: Path, count: int) -> None:
    rows = [{"prompt": f"say {i} {HOSTILE}", "completion": "aye"} for i in range(count)]
    text = "".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "no answer"}])
    (folder / "rows.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("model"))


@pytest.fixture
def job(tmp_path: Path, model: Path) -> Path:
    write_rows(tmp_path, 32)
    (tmp_path / "job.toml").write_text(JOB.format(model=model), encoding="utf-8")
    return tmp_path / "job.toml"


def test_one_command_trains_measures_and_reports_and_does_nothing_twice(job: Path, xpoll: Xpoll) -> None:
    cwd, run = job.parent, job.parent / "runs/job"
    done = xpoll("run", "job.toml", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "1 of 33 rows are left out; the first: row '32': it has a prompt and no completion" in done.stderr
    metrics = json.loads((run / "metrics.json").read_text())
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert metrics["evaluation"] == evaluation and metrics["change"] == evaluation["change"] == "better"
    assert f"verdict: better. On {evaluation['held_out_rows']} held-out rows" in done.stdout
    assert {"train", "evaluate"} == set(metrics["energy"]["stages"])
    page = (run / "report.html").read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page and "Loss while training" in page
    card = (run / "student/README.md").read_text()
    assert "<script>" not in card and "perplexity goes from" in card and "pipeline_tag: text-generation" in card

    again = xpoll("run", "job.toml", "--json", cwd=cwd)
    assert "nothing left to do" in again.stderr and json.loads(again.stdout) == metrics
    assert xpoll("status", "runs/job", cwd=cwd).stdout == (
        "runs/job: steps done: train, evaluate, report; still to do: none\n"
    )
    assert xpoll("check", "runs/job", cwd=cwd).returncode == 0
    before = (run / "student/training.json").read_text()
    assert xpoll("run", "job.toml", "--set", "report.sample_rows=1", cwd=cwd).returncode == 0
    assert (run / "student/training.json").read_text() == before, "the student does not depend on the report"
    assert (page.count("say 1 "), (run / "report.html").read_text().count("say 1 ")) == (2, 1), (
        "all are in metrics.json"
    )

    write_rows(cwd, 40)
    changed = xpoll("run", "job.toml", cwd=cwd)
    assert "the rows have changed: the student is trained again" in changed.stderr
    assert json.loads((run / "student/training.json").read_text())["left_out"] == 1
    assert (run / "student/training.json").read_text() != before

    weights = run / "student/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    checked = xpoll("check", "runs/job", cwd=cwd)
    assert checked.returncode == 2 and "student has no whole weights -> xpoll train runs/job" in checked.stdout


def test_a_step_that_fails_leaves_what_was_there(job: Path, xpoll: Xpoll) -> None:
    cwd, run = job.parent, job.parent / "runs/job"
    assert xpoll("train", "job.toml", cwd=cwd).returncode == 0
    assert xpoll("evaluate", "job.toml", cwd=cwd).returncode == 0
    before = {path: path.read_bytes() for path in (run / "evaluation.json", run / "config.resolved.json")}
    failed = xpoll("train", "job.toml", "--set", "student.lora.target_modules=['qkv']", cwd=cwd)
    assert failed.returncode == 2 and "student.lora does not fit the model" in failed.stderr
    assert {path: path.read_bytes() for path in before} == before
    other = xpoll("evaluate", "job.toml", "--set", "student.held_out=0.4", cwd=cwd)
    assert other.returncode == 2 and "was made with another student.held_out" in other.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["poll", "job.toml"], "has no panel, votes or labels: its rows have completions -> xpoll run"),
        (["vote", "job.toml"], "has no panel"),
        (["plan", "job.toml"], "has no panel"),
        (["panel", "job.toml"], "has no panel"),
        (["evaluate", "job.toml"], "config.resolved.json is not there yet -> run the step before it: xpoll train"),
        (["run", "job.toml", "--set", "documents.path=nothing.csv"], "nothing.csv"),
        (["train", "job.toml", "--set", "student.model=./nothing"], "student.model: there is no folder ./nothing"),
        (["train", "job.toml", "--set", "student.max_length=600"], "reads at most 512 tokens -> --set student.max_len"),
    ],
)
def test_what_does_not_apply_is_one_line_and_leaves_no_folder(
    job: Path, xpoll: Xpoll, command: list[str], said: str
) -> None:
    done = xpoll(*command, cwd=job.parent)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert not (job.parent / "runs/job/student").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("student.frozen=1", "student.frozen is of student.kind = 'classifier'"),
        ("panel.samples=2", "panel: a job of student.kind = 'causal-lm' polls no panel; its rows have"),
        ("vote.method=calibrated", "vote: a job of student.kind"),
        ("task.labels=['a', 'b']", "learns completions, so its job has no labels"),
        ("documents.gold_path=gold.csv", "documents.gold_path: a 'causal-lm' is measured on student.held_out"),
        ("student.kind=classifier", "student.model is of student.kind = 'causal-lm'"),
    ],
)
def test_sections_that_are_not_read_are_refused(job: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(job, [override])
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_resolved_config_is_the_same_job_again(job: Path) -> None:
    config = load_config(job, ["engine.device=cpu"])
    assert Config.model_validate(config.resolved()).differences(config.resolved()) == []
    with pytest.raises(ConfigError, match="student.model is of student.kind = 'causal-lm'"):
        load_config(job, ["student.kind=classifier", "student.lora.r=4", "task.labels=['a', 'b']"])


def test_a_student_is_served_by_engines_from_its_run_and_from_a_copy_and_by_nothing_else(
    job: Path, xpoll: Xpoll
) -> None:
    """Found before any engine starts: what [engine] says of a run, and of a folder that is copied elsewhere."""
    student, config = job.parent / "runs/job/student", job.parent / "runs/job/config.resolved.json"
    student.mkdir(parents=True)
    (student / "training.json").write_text(json.dumps({"kind": "causal-lm"}), encoding="utf-8")
    config.write_text(json.dumps(load_config(job).resolved()), encoding="utf-8")
    copy = job.parent / "a copy"
    copy.mkdir()
    (copy / "training.json").write_text(json.dumps({"kind": "causal-lm"}), encoding="utf-8")
    for place in ("runs/job", "runs/job/student", "a copy"):
        replayed = xpoll("serve", place, "--set", "engine.backend=replay", cwd=job.parent)
        assert replayed.returncode == 2 and "can be served, not 'replay'" in replayed.stderr, replayed.stderr
        remote = ("--set", "engine.backend=openai", "--set", 'engine.openai.base_url="http://127.0.0.1:9/v1"')
        elsewhere = xpoll("serve", place, *remote, cwd=job.parent)
        assert "starts no engine that a model could be served by -> --set engine.backend=vllm" in elsewhere.stderr


@pytest.mark.engine
def test_the_merged_model_is_served_by_the_engine_and_answers(job: Path) -> None:
    cwd = job.parent
    trained = in_this_process(["train", "job.toml", "--set", "student.min_steps=16"], cwd)
    assert trained.returncode == 0, trained.stderr
    with served("runs/job", "--set", "engine.device=cpu", cwd=cwd) as server:
        assert server.ready["model"] == "job" and server.ready["decisions"] is None
        body = {
            "model": "job",
            "messages": [{"role": "user", "content": "say 99"}],
            "temperature": 0,
            "max_tokens": 8,
        }
        reply = server.post("/v1/chat/completions", body)
        assert reply.status == 200, reply.body
        assert reply.body["choices"][0]["message"]["content"] == "aye"
        assert reply.body["choices"][0]["finish_reason"] == "stop"
