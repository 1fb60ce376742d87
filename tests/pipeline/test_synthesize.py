"""A job that writes its own texts: what is asked, kept, resumed, polled, verified and written out."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.conftest import Xpoll
from tests.support.in_process import answer_in_process
from tests.support.synthesis_job import write_synthesis_job
from xpoll.core.config.file import load_config
from xpoll.core.errors import UserError
from xpoll.core.files import read_json
from xpoll.core.record_files import stream_records
from xpoll.core.records import Consensus, Document
from xpoll.core.run_folder import RunFolder
from xpoll.core.tables.readers import count_rows, stream_rows
from xpoll.pipeline.run import one_step
from xpoll.pipeline.synthesize import synthesize
from xpoll.pipeline.verification import NOT_VERIFIED
from xpoll.report.synthesis import synthesis_section
from xpoll.synthesis.texts import read_texts


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Answers in this process, without embeddings; how many answers each call of the engine gave."""
    counts: list[int] = []

    def answered(*arguments: Any, **named: Any) -> int:
        counts.append(answer_in_process(*arguments, **named))
        return counts[-1]

    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answered)
    monkeypatch.setattr("xpoll.synthesis.diversity._distances", lambda _: (None, None))
    return counts


def test_every_text_has_its_provenance_and_what_it_did_not_pass(tmp_path: Path) -> None:
    config = load_config(write_synthesis_job(tmp_path, more="control = 6"))
    found = synthesize(config)
    rows = list(read_texts(found.folder.synthesized))
    assert [row.id for row in rows[:3]] == ["labelled_text-0", "labelled_text-1", "labelled_text-2"]
    assert len(rows) == 46 and sum(row.is_control for row in rows) == 6
    written = [row for row in rows if not row.is_control]
    reasons = Counter((row.problem or "kept").partition(":")[0] for row in written)
    assert reasons == Counter(kept=21, refusal=4, leakage=4, complete=4, engine=4, duplicates=3)
    assert {row.label for row in written} == {"praise", "complaint"}
    assert all(row.persona and row.persona_id for row in written)
    first = rows[0]
    assert json.loads(first.sampling) == {"max_tokens": 192, "temperature": 1.0, "top_p": 0.95}
    assert set(json.loads(first.axes)) == {"clarity", "difficulty"}
    assert (first.model, first.finish_reason) == (config.engine.model, "stop")
    by_gate = {each.gate: (each.seen, each.removed) for each in found.figures.gates}
    assert by_gate["engine"] == (40, 4) and by_gate["refusal"][1] == 4 and by_gate["duplicates"][1] == 3
    assert found.figures.kept == 21 and found.figures.labels["praise"].asked == 20
    assert found.figures.without_personas is not None and found.figures.with_personas is not None
    assert found.figures.without_personas.texts == found.figures.with_personas.texts == 6


def test_what_is_done_is_not_asked_again_and_a_killed_session_goes_on(tmp_path: Path, asked: list[int]) -> None:
    config = load_config(write_synthesis_job(tmp_path))
    folder = synthesize(config).folder
    before = pq.read_table(folder.synthesized)
    assert asked == [40]
    assert not synthesize(config).is_new and asked == [40]
    folder.synthesized.unlink()
    (folder.synthesis / "gated.parquet").unlink()
    assert synthesize(config).is_new and asked == [40], "all answers are in the journal"
    assert pq.read_table(folder.synthesized).equals(before)
    assert [row.id for row in read_texts(folder.synthesized)] == [f"labelled_text-{i}" for i in range(40)]


def test_a_run_asks_the_same_whatever_became_of_its_files(tmp_path: Path) -> None:
    personas, template = tmp_path / "personas.jsonl", tmp_path / "slogan.md"
    personas.write_text("".join(json.dumps({"persona": f"a baker of kind {i}"}) + "\n" for i in range(9)))
    template.write_text('+++\nabout = "a slogan"\n+++\nSlogan for {{ persona }}')
    more = f'persona_file = "{personas}"\ntemplates = ["{template}"]'
    config = load_config(write_synthesis_job(tmp_path, count=9, more=more, task=False))
    folder = synthesize(config).folder
    first = list(read_texts(folder.synthesized))
    assert len({row.persona for row in first}) == 9
    for path in (personas, template):
        path.write_text("something else")
    with pytest.raises(UserError, match="slogan has no header"):
        synthesize(config)
    template.write_text('+++\nabout = "another"\n+++\nNothing')
    folder.synthesized.unlink()
    synthesize(config)
    assert list(read_texts(folder.synthesized)) == first


def test_rounds_ask_again_for_what_gates_took_out(tmp_path: Path, asked: list[int]) -> None:
    config = load_config(write_synthesis_job(tmp_path, count=20, more="rounds = 9"))
    found = synthesize(config)
    assert found.figures.kept >= 20 and found.figures.rounds == len(asked) > 1
    assert found.figures.asked == sum(asked)
    ids = [row.id for row in read_texts(found.folder.synthesized)]
    assert len(set(ids)) == len(ids)


def test_prompts_that_are_kept_get_replies(tmp_path: Path, asked: list[int]) -> None:
    more = 'templates = ["instruction", "maths_problem", "tool"]'
    config = load_config(write_synthesis_job(tmp_path, count=12, more=more, task=False))
    found = synthesize(config)
    rows = list(read_texts(found.folder.synthesized, kept=True))
    assert asked == [12, 8] and len(rows) == 12
    prompts = [row for row in rows if row.template != "tool"]
    assert all(row.prompt == row.text and row.completion for row in prompts)
    tools = [json.loads(row.text) for row in rows if row.template == "tool"]
    assert all(tool["name"] == "find_part" for tool in tools) and len(tools) == 4
    assert found.figures.labels == {}


def test_a_reply_that_is_cut_off_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import writing

    def cut(prompt: Any) -> tuple[str | None, str, str | None]:
        is_cut = prompt.persona_id == "reply" and prompt.document_id.endswith("-1")
        return f"{writing.filled(prompt, 9)}.", "length" if is_cut else "stop", None

    monkeypatch.setattr(writing, "written", cut)
    config = load_config(write_synthesis_job(tmp_path, count=4, more='templates = ["instruction"]', task=False))
    problems = {row.id: row.problem for row in read_texts(synthesize(config).folder.synthesized)}
    assert str(problems.pop("instruction-1")).startswith("reply: cut off after")
    assert set(problems.values()) == {None}


def test_readers_of_documents_see_what_was_kept(tmp_path: Path) -> None:
    folder = synthesize(load_config(write_synthesis_job(tmp_path, more="control = 3"))).folder
    path = str(folder.synthesized)
    rows = list(stream_rows(path, key="documents.path", needs=("text",)))
    assert count_rows(path, key="documents.path") == len(rows) == 21
    assert all(row.values["problem"] is None for row in rows)
    assert pq.read_metadata(path).num_rows == 43


def test_the_vote_verifies_the_label_that_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = write_synthesis_job(tmp_path)
    config = load_config(job)
    with pytest.raises(UserError, match="not written yet -> xpoll synthesize"):
        one_step("poll", config)
    folder = synthesize(config).folder
    one_step("poll", config)
    one_step("vote", config)
    documents = list(stream_records(folder.documents, Document))
    assert [row.document_id for row in documents if row.split == "train"] == [
        row.id for row in read_texts(folder.synthesized, kept=True)
    ]
    labels = {row.document_id: row for row in stream_records(folder.labels, Consensus)}
    refused = {name for name, row in labels.items() if row.abstained == NOT_VERIFIED}
    assert refused == {f"labelled_text-{i}" for i in (7, 17, 27, 37)}, "those with the other label's words"
    assert "the vote names the label that was asked for in 17 of 21 texts (81.0 %)" in capsys.readouterr().err
    one_step("vote", load_config(job, ["vote.method=majority"]))
    assert all(row.label for row in labels.values() if row.split == "gold")


def test_the_page_shows_what_was_kept_who_wrote_and_how_texts_differ(tmp_path: Path) -> None:
    personas = tmp_path / "personas.jsonl"
    rows = [{"persona": f"a baker of kind {i} <script>", "age": ("young", "old")[i % 2]} for i in range(80)]
    personas.write_text("".join(json.dumps(row) + "\n" for row in rows))
    marginals = "{age = {young = 0.25, old = 0.75}}"
    more = f'persona_file = "{personas}"\nmarginals = {marginals}\ncontrol = 4'
    config = load_config(write_synthesis_job(tmp_path, more=more))
    folder = synthesize(config).folder
    assert synthesis_section(folder) == synthesis_section(folder)
    for step in ("poll", "vote", "report"):
        one_step(step, config)
    page = folder.report.read_text()
    assert '<a href="#synthesis">' in page and "<script" not in page
    section = page[page.index('<section id="synthesis"') : page.index('<section id="data"')]
    cells = re.findall(r"<t[hd][^>]*>([^<]+)</t[hd]>", section)
    assert cells[cells.index("age: young") :][:6] == ["age: young", "25.0 %", "25.0 %", "age: old", "75.0 %", "75.0 %"]
    assert cells[cells.index("leakage") :][2:4] == ["4", "14.3 %"]
    asked_kept_voted = [cells[cells.index(label) :][1:4] for label in ("praise", "complaint")]
    assert [sum(map(int, each)) for each in zip(*asked_kept_voted, strict=True)] == [40, 21, 17]
    assert "without personas" in section


def test_check_names_what_of_the_texts_is_lost(tmp_path: Path, xpoll: Xpoll) -> None:
    config = load_config(write_synthesis_job(tmp_path, more="control = 3"))
    folder = synthesize(config).folder
    done = xpoll("check", folder.path)
    assert done.returncode == 0, done.stdout
    assert f"{folder.path}, synthesis/round-1: 43 answers in 3 files, 43 counted" in done.stdout
    cut = read_json(folder.synthesis_figures) | {"asked": 41}
    folder.synthesis_figures.write_text(json.dumps(cut))
    said = xpoll("check", folder.path)
    assert said.returncode == 2 and "has 40 texts where" in said.stdout and "xpoll synthesize" in said.stdout
    part = sorted((folder.synthesis / "round-1" / "completions").glob("part-*"))[0]
    part.write_bytes(part.read_bytes()[:100])
    said = xpoll("check", folder.path)
    assert said.returncode == 2 and f"lost: {part}" in said.stdout, said.stdout


def test_without_verification_the_vote_stands(tmp_path: Path) -> None:
    config = load_config(write_synthesis_job(tmp_path, more="verify = false"))
    folder = synthesize(config).folder
    for step in ("poll", "vote"):
        one_step(step, config)
    labels = list(stream_records(folder.labels, Consensus))
    assert all(row.label for row in labels)


def test_kept_texts_are_written_in_other_tools_forms(tmp_path: Path, xpoll: Xpoll) -> None:
    datasets = pytest.importorskip("datasets")
    job = write_synthesis_job(tmp_path, more='templates = ["labelled_text", "instruction"]', count=80)
    config = load_config(job)
    synthesize(config)
    for step in ("poll", "vote"):
        one_step(step, config)
    names = {"datasets": "data set", "openai": "messages.jsonl", "autotrain": "train.csv", "labelstudio": "tasks.json"}
    options = [
        part for name, file in {**names, "argilla": "argilla"}.items() for part in (f"--{name}", tmp_path / file)
    ]
    done = xpoll("synthesize", job, *options, "--json")
    assert done.returncode == 0, done.stderr
    paths = [tmp_path / name for name in names.values()]
    outputs = json.loads(done.stdout)["outputs"]
    loaded = datasets.load_dataset(str(paths[0]), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == outputs["datasets"]["rows"] == 57, (
        "40 requests, and 21 texts of which 17 keep their label"
    )
    assert "problem" not in loaded.column_names and set(loaded["label"]) == {"praise", "complaint", None}
    card = (paths[0] / "README.md").read_text()
    assert "| leakage | the label's name stands in it | 4 |" in card and "by a panel's vote" in card
    messages = [json.loads(line)["messages"] for line in paths[1].read_text().splitlines()]
    assert len(messages) == 57 and {each[-1]["role"] for each in messages} == {"assistant"}
    with paths[2].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 17 and set(rows[0]) == {"text", "target"}
    tasks = json.loads(paths[3].read_text(encoding="utf-8"))
    assert sum("predictions" in task for task in tasks) == 17 and len(tasks) == 57
    assert outputs["argilla"]["rows"] == 57 and outputs["autotrain"]["left_out"] == {"without a label": 40}
    again = xpoll("synthesize", job, "--datasets", tmp_path)
    assert again.returncode == 2 and "holds no data set" in again.stderr


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("synthesis.count=0", "documents.path is missing"),
        ("synthesis.templates=['poem']", "there is no template 'poem'"),
        ("synthesis.templates=[]", "at least one template"),
        ("synthesis.templates=['text_to_persona']", "synthesis.texts is missing"),
        ("synthesis.gates={nearly = {}}", "unknown gate synthesis.gates.nearly"),
        ("synthesis.personas=['nobody']", "there is no persona 'nobody'"),
        ("synthesis.persona_file=nowhere.jsonl", "nowhere.jsonl"),
        ("synthesis.marginals={age = {young = 0.4}}", "persona_file, which is not given"),
        ("synthesis.rounds=0", "greater than or equal to 1"),
        ("task.labels={}", "task.labels is missing"),
        ("engine.backend=encoder", "writes no texts"),
    ],
)
def test_what_is_wrong_with_a_job_is_one_line(tmp_path: Path, xpoll: Xpoll, override: str, said: str) -> None:
    done = xpoll("synthesize", write_synthesis_job(tmp_path), "--set", override)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "run").exists(), "so that the job can be mended and run again"


def test_a_mistake_behind_the_texts_is_found_before_any_is_written(tmp_path: Path, xpoll: Xpoll) -> None:
    done = xpoll("run", write_synthesis_job(tmp_path), "--set", "student.encoder=/nowhere")
    assert done.returncode == 2 and "/nowhere" in done.stderr
    assert not (tmp_path / "run").exists()
    done = xpoll("run", write_synthesis_job(tmp_path, task=False))
    assert done.returncode == 2 and "task.labels is missing" in done.stderr


def test_another_count_is_another_run(tmp_path: Path, xpoll: Xpoll) -> None:
    job = write_synthesis_job(tmp_path, count=10)
    assert xpoll("synthesize", job).returncode == 0
    done = xpoll("synthesize", job, "--set", "synthesis.count=11")
    assert done.returncode == 2 and "keys that differ: synthesis.count" in done.stderr
    assert xpoll("synthesize", tmp_path / "run").stderr.startswith("nothing left to write")


def test_expanded_personas_are_a_persona_file(tmp_path: Path, xpoll: Xpoll) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text("text\n" + "".join(f"a text about matter {i}\n" for i in range(5)))
    backend = "engine.backend=tests.support.writing:WritingBackend"
    more = ("--count", 6, "--set", backend, "--set", "engine.device=cpu", "--json")
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    done = xpoll("personas", "expand", texts, first, "--texts", *more)
    assert done.returncode == 0 and json.loads(done.stdout)["kept"] == 6, done.stderr
    done = xpoll("personas", "expand", first, second, *more)
    assert done.returncode == 0, done.stderr
    drawn = {row.persona for row in read_texts(RunFolder(Path(f"{second}.run")).synthesized)}
    assert drawn == {json.loads(line)["persona"] for line in first.read_text().splitlines()}
    assert read_json(Path(f"{second}.run") / "config.resolved.json")["synthesis"]["templates"] == ["persona_to_persona"]


def test_a_plan_counts_on_texts_that_are_not_written_yet(tmp_path: Path, xpoll: Xpoll) -> None:
    job = write_synthesis_job(tmp_path, count=10)
    for more in ((), ("--set", "documents.gold_path=''")):
        done = xpoll("plan", job, "--json", *more)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["documents"] == (10 if more else 30)
    assert not (tmp_path / "run").exists()


def test_status_says_how_far_the_texts_are(tmp_path: Path, xpoll: Xpoll) -> None:
    job = write_synthesis_job(tmp_path, count=10)
    assert xpoll("synthesize", job).returncode == 0
    folder = RunFolder(tmp_path / "run")
    assert xpoll("status", job).stdout == "all texts are written: 10 answers\n"
    folder.synthesis_figures.unlink()
    assert xpoll("status", job).stdout == "writing, round 1: 10 answers\n"
    found = json.loads(xpoll("status", job, "--json").stdout)["synthesis"]
    assert found == {"round": 1, "answered": 10, "is_done": False}


def test_texts_that_are_there_are_not_written(tmp_path: Path, xpoll: Xpoll, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpoll.pipeline.run.run_step", lambda *_: None)
    monkeypatch.setattr("xpoll.scripts.commands.status.show_metrics", lambda *_, **__: 0)
    (tmp_path / "texts.csv").write_text("text\na lovely text\n")
    done = xpoll("run", write_synthesis_job(tmp_path), "--set", f"documents.path={tmp_path / 'texts.csv'}")
    assert done.returncode == 0 and "[synthesis] writes none" in done.stderr, done.stderr
    assert not (tmp_path / "run/synthesis").exists()
