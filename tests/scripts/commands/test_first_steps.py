"""`xpoll init`, `xpoll examples` and `xpoll completion`: from a file of texts to a job that runs."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, Xpoll
from xpoll.core.config.file import load_config
from xpoll.pipeline.draft import survey_texts

ROWS = [(str(i), f"The parcel number {i} came broken.", ("late", "torn")[i % 2], i % 3) for i in range(20)]
CSV = "nr,what,kind,stars\n" + "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in ROWS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "texts.csv").write_text(CSV)
    return tmp_path


def test_a_draft_is_a_job_of_its_file(folder: Path, xpoll: Xpoll, monkeypatch: pytest.MonkeyPatch) -> None:
    done = xpoll("init", "texts.csv", "--labels", "complaint, question", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "texts from the column 'what', ids from 'nr'" in done.stdout
    assert "the column 'kind' may hold known labels: late, torn" in done.stdout
    assert done.stdout.endswith("type: xpoll plan job.toml; xpoll run job.toml\n")
    monkeypatch.chdir(folder)
    config = load_config(Path("job.toml"))
    assert (config.documents.text_column, config.documents.id_column) == ("what", "nr")
    assert list(config.task.labels) == ["complaint", "question"]
    planned = xpoll("plan", "job.toml", "--json", "--set", "engine.backend=simulated", cwd=folder)
    assert json.loads(planned.stdout)["documents"] == 20


def test_every_line_that_a_draft_leaves_out_is_one_that_can_be_put_in(folder: Path, xpoll: Xpoll) -> None:
    assert xpoll("init", "texts.csv", "--labels", "a,b", cwd=folder).returncode == 0
    job = folder / "job.toml"
    said = job.read_text().replace("Which label fits", "What is it and which fits")
    keys = [line for line in said.splitlines() if line.startswith("# ") and (" = " in line or line.startswith("# ["))]
    assert len(keys) > 5
    for key in keys:
        said = said.replace(key, key.removeprefix("# "))
    job.write_text(said)
    (folder / "gold.csv").write_text("what,kind\nx,a\n")
    config = load_config(job)
    assert config.engine.backend == "openai" and config.engine.backend_options["base_url"]
    assert config.task.examples[0].label == "a" and config.documents.gold_path == "gold.csv"


def test_names_and_texts_of_any_kind_are_written_as_toml(tmp_path: Path, xpoll: Xpoll) -> None:
    evil = 'a "b" \\ \n c\x7f\u2028'
    rows = [{evil: f"some text {i}", "id\n[x]\ny = 1": i} for i in range(3)]
    (tmp_path / 'my "te\\xts.jsonl').write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = xpoll("init", 'my "te\\xts.jsonl', "--labels", '"good",b\\ad,not so good', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = load_config(tmp_path / "job.toml")
    assert config.documents.text_column == evil and list(config.task.labels) == ['"good"', "b\\ad", "not so good"]


def test_a_draft_takes_the_settings_of_an_example(folder: Path, xpoll: Xpoll) -> None:
    done = xpoll("init", "texts.csv", "--from", "investor_sentiment", "--output", "own.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    made = load_config(folder / "own.toml")
    theirs = load_config(ROOT / "examples/investor_sentiment/job.toml")
    assert made.task == theirs.task and made.panel == theirs.panel and made.student == theirs.student
    assert made.engine.model == theirs.engine.model and not made.engine.table("replay")
    assert made.documents.path == "texts.csv" and made.job.name == "own"
    other = ("init", "texts.csv", "--from", "investor_sentiment", "--labels", "late,positive", "--force")
    assert xpoll(*other, cwd=folder).returncode == 0
    assert list(load_config(folder / "job.toml").task.labels) == ["late", "positive"]
    assert {example.label for example in load_config(folder / "job.toml").task.examples} == {"positive"}


def test_columns_are_told_by_name_then_by_what_they_hold(tmp_path: Path) -> None:
    def survey(**columns: list[object]) -> tuple[str, str | None]:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        found = survey_texts(str(tmp_path / "t.jsonl"))
        return found.text_column, found.id_column

    long = ["quite a long sentence of words", "and another one that is long"]
    assert survey(title=["a", "b"], Body=["x", "y"], note=long) == ("Body", None)
    assert survey(a=["1", "2"], b=long) == ("b", None)
    assert survey(text=long, ticket_id=[4, 5]) == ("text", "ticket_id")
    assert survey(text=long, id=[4, 4]) == ("text", None), "two rows of one id would end the run"
    assert survey(text=long, id=[4, None]) == ("text", None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.csv", "--labels", "a,b"], "texts: nowhere.csv does not exist"),
        (["texts.csv"], "labels are missing -> --labels a,b,c (the column 'kind' has late,torn)"),
        (["texts.csv", "--labels", "a"], "labels must name at least 2 labels, got ['a'] -> --labels a,b,c"),
        (["texts.csv", "--labels", "a,,b"], "labels must not be empty -> --labels a,b,c"),
        (["texts.csv", "--labels", "a,b", "--text-column", "wat"], "has no column 'wat'"),
        (
            ["numbers.csv", "--labels", "a,b"],
            "texts: no column of numbers.csv holds text; it has x, y -> --text-column",
        ),
        (["texts.csv", "--from", "investor"], "there is no example 'investor' -> did you mean investor_sentiment?"),
        (["texts.csv", "--from", "notebooks"], "the example 'notebooks' has no job -> xpoll examples"),
        (["texts.csv", "--labels", "a,b", "--output", "texts.csv"], "texts.csv is there already -> --force"),
        (["texts.csv", "--labels", "a,b", "--output", "no/such/job.toml", "--text-column"], "expected one argument"),
    ],
)
def test_a_wrong_init_is_one_line_and_writes_nothing(
    folder: Path, xpoll: Xpoll, arguments: list[str], said: str
) -> None:
    (folder / "numbers.csv").write_text("x,y\n1,2\n3,4\n")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    done = xpoll("init", *arguments, cwd=folder)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_examples_are_listed_and_copied_whole(tmp_path: Path, xpoll: Xpoll) -> None:
    listed = json.loads(xpoll("examples", "--json", cwd=tmp_path).stdout)
    assert {"investor_sentiment", "notebooks"} <= {each["name"] for each in listed}
    assert all(each["about"].strip() for each in listed)
    done = xpoll("examples", "investor_sentiment", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("type: xpoll run examples/investor_sentiment/job.toml\n")
    theirs = ROOT / "examples/investor_sentiment"
    for file in theirs.iterdir():
        assert (tmp_path / "examples/investor_sentiment" / file.name).read_bytes() == file.read_bytes()
    planned = xpoll("plan", "examples/investor_sentiment/job.toml", "--set", "engine.backend=replay", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    again = xpoll("examples", "investor_sentiment", cwd=tmp_path)
    assert again.returncode == 2 and "README.md is there already -> --force overwrites it" in again.stderr
    assert xpoll("examples", "investor_sentiment", "--force", cwd=tmp_path).returncode == 0
    assert "there is no example 'x'" in xpoll("examples", "x", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["pl"], {"plan"}),
        (["run", "--addr"], {"--address"}),
        (["init", "--fr"], {"--from"}),
        (["run", "--q"], {"--quiet"}),
    ],
)
def test_bash_completes_commands_and_options(tmp_path: Path, xpoll: Xpoll, words: list[str], offered: set[str]) -> None:
    made = xpoll("completion", "bash", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    script = tmp_path / "completion.sh"
    typed = f"COMP_WORDS=(xpoll {' '.join(words)}); COMP_CWORD={len(words)}"
    ask = f'{typed}; _shtab_xpoll; printf "%s\\n" "${{COMPREPLY[@]}}"'
    script.write_text(f"{made.stdout}\n{ask}\n")
    done = subprocess.run(["bash", script], capture_output=True, text=True, timeout=60)
    assert set(done.stdout.split()) == offered, done.stderr


def test_zsh_has_a_script_too(tmp_path: Path, xpoll: Xpoll) -> None:
    made = xpoll("completion", "zsh", cwd=tmp_path)
    assert made.stdout.startswith("#compdef xpoll")
    if shutil.which("zsh"):
        (tmp_path / "_xpoll").write_text(made.stdout)
        subprocess.run(["zsh", "-n", tmp_path / "_xpoll"], check=True, timeout=60)
