"""Tasks of several labels and of spans, whole: recorded answers, votes, a student, scores, the page, predictions."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.in_process import answer_in_process
from tests.support.kind_run import HOSTILE, write_job
from xpoll.core.errors import ConfigError, ModelError, RunFolderError
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline.serving.student_worker import _loaded
from xpoll.report.markdown import write_markdown
from xpoll.scripts.cli import main
from xpoll.student.evaluation import read_evaluation
from xpoll.student.heads.registry import head_in
from xpoll.student.intel.export import export_student

KINDS = ["multi", "spans"]
_RUNS: dict[str, Path] = {}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(kind: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a whole run of that kind, made once."""
    if kind not in _RUNS:
        folder = tmp_path_factory.mktemp(kind)
        monkeypatch.chdir(folder)
        monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
        assert main(["run", str(write_job(folder, kind))]) == 0
        _RUNS[kind] = folder
    monkeypatch.chdir(_RUNS[kind])
    return _RUNS[kind]


def test_teacher_and_student_are_scored_by_f1_and_get_a_verdict(run: Path, kind: str) -> None:
    found = read_evaluation(RunFolder(run / "run"))
    assert found is not None
    assert (found.measure, found.gold_rows, found.labels) == ("f1_micro", 30, ("bad", "fair", "good"))
    assert found.teacher is not None
    assert found.student is not None
    assert found.comparison is not None
    assert found.teacher.f1_micro is not None
    assert found.teacher.f1_micro > 0.9
    assert found.student.f1_micro is not None
    assert found.student.f1_micro > 0.6, "an empty answer everywhere has 0"
    assert (found.teacher.f1_overlap is None) == (kind == "multi")
    assert found.verdict.word in ("ship", "collect more", "label more gold rows", "fix the teacher")
    assert found.comparison.difference == pytest.approx(found.student.f1_micro - found.teacher.f1_micro)


def test_hostile_documents_are_rows(run: Path, kind: str) -> None:
    table = pq.read_table(run / "run" / "labels.parquet").to_pylist()
    rows = {row["text"]: row for row in table if row["split"] == "train"}
    answer = "labels" if kind == "multi" else "spans"
    assert all(rows[text][answer] is not None for text in HOSTILE[:-1] if kind == "multi" or "gain " * 9 not in text)
    empty = next(row for row in table if row["document_id"] == f"d{90 + len(HOSTILE) - 1}")
    assert (empty[answer], empty["abstained"]) == (None, "no readable vote")
    if kind == "spans":
        assert rows["gain " * 1500]["abstained"] == "no readable vote", "1200 quotes are out of hand"
        assert [rows[HOSTILE[3]]["text"][s["start"] : s["end"]] for s in rows[HOSTILE[3]]["spans"]] == ["loss"]


def test_page_markdown_and_card_show_every_label(run: Path, kind: str) -> None:
    page = (run / "run" / "report.html").read_text()
    markdown = write_markdown(RunFolder(run / "run")).read_text()
    card = (run / "run" / "student" / "README.md").read_text()
    title = "micro F1 (95 %)" if kind == "multi" else "span F1 (95 %)"
    for text in (page, markdown, card):
        assert title in text
        assert all(label in text for label in ("bad", "fair", "good"))
    assert f"pipeline_tag: {'text' if kind == 'multi' else 'token'}-classification" in card
    assert "<script" not in page
    assert "&lt;|im_start|&gt;" in page or "im_start" not in page


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_is_labelled_and_its_bad_rows_say_why(run: Path, kind: str, suffix: str) -> None:
    lines = [{"text": text} for text in ["the loss and the gain", *HOSTILE]]
    (run / "new.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["predict", "run", "new.jsonl", f"out.{suffix}"]) == 0
    if suffix == "csv":
        assert len((run / "out.csv").read_text(encoding="utf-8").splitlines()) > len(lines)
        return
    if suffix == "parquet":
        rows = pq.read_table(run / "out.parquet").to_pylist()
    else:
        rows = [json.loads(line) for line in (run / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == [line["text"] for line in lines]
    assert rows[-1]["error"] == "column 'text' is empty"
    if kind == "multi":
        assert all(set(row["labels"]) <= {"bad", "fair", "good"} for row in rows[:-1])
        assert 0 <= rows[0]["probability_bad"] <= 1
    else:
        for row in rows[:-1]:
            assert all(row["text"][span["start"] : span["end"]] == span["text"] for span in row["spans"])
            assert all(0 < span["probability"] <= 1 for span in row["spans"])


def test_what_needs_one_label_a_text_says_so(run: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["review", "errors", "run"], ["estimate", "run"]):
        assert main(command) == 2
        assert f"task.kind = '{kind}': texts do not get one label each" in capsys.readouterr().err
    assert main(["predict", "run", "gold.csv", "out.csv", "--cascade", "run"]) == 2
    assert "there is no cascade" in capsys.readouterr().err
    assert main(["predict", "run", "gold.csv", "out.csv", "--runtime", "openvino"]) == 2
    assert "is for students of one label per text" in capsys.readouterr().err
    for wrong in ("student.recipe=robust", "student.learning_curve=[0.5]"):
        assert main(["train", "job.toml", "--set", wrong]) == 2
        assert "for students of one label per text alone" in capsys.readouterr().err


def test_a_service_gets_sets_and_no_spans(run: Path, kind: str) -> None:
    student = run / "run" / "student"
    assert head_in(student).name == ("label set" if kind == "multi" else "spans")
    if kind == "multi":
        model = _loaded(student, runtime="pytorch", device=None)
        shares = model.probabilities(["the loss and the gain"])
        assert model.named(shares)[0] == [x for x, y in zip(model.labels, model.fitting(shares)[0], strict=True) if y]
    else:
        with pytest.raises(ModelError, match="finds spans"):
            _loaded(student, runtime="pytorch", device=None)


def test_an_export_is_refused_in_one_line(run: Path) -> None:
    with pytest.raises((ModelError, ConfigError, RunFolderError), match="only students of one label"):
        export_student(run / "run" / "student", ["a text"], python=str(Path("/bin/sh")))
