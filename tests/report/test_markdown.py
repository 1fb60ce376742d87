"""report.md and two runs side by side."""

import json
from pathlib import Path

import pytest

from tests.support.example_run import make_run
from xpoll.core.files import read_json, write_json
from xpoll.core.run_folder import RunFolder
from xpoll.report.compare_runs import compare_runs
from xpoll.report.markdown import write_markdown
from xpoll.scripts.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("run"))


def test_markdown_has_the_figures_and_the_same_number_of_cells_in_every_row(run: RunFolder) -> None:
    text = write_markdown(run).read_text(encoding="utf-8")
    assert "| voted teacher | 83.3 % (75.7 to 88.9) |" in text
    assert "| energy | 21,475 J |" in text and "| poll | 231 | 20,110 |" in text
    assert "The student is 5.0 points below its teacher" in text
    assert "| error: context\\_length |" in text
    for table in (part for part in text.split("\n\n") if part.startswith("|")):
        assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1, table


def test_names_are_no_markup_in_markdown(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    config = read_json(folder.config)
    config["job"]["name"] = "a|b <script>x</script> [link](to) `code`\n# heading"
    write_json(folder.config, config)
    title = write_markdown(folder).read_text(encoding="utf-8").splitlines()[0]
    assert title == "# a\\|b &lt;script>x&lt;/script> \\[link\\](to) \\`code\\` # heading"


def test_without_scores_markdown_says_so(tmp_path: Path) -> None:
    text = write_markdown(make_run(tmp_path, gold=False)).read_text(encoding="utf-8")
    assert "Not measured: the run has no scores on gold labels." in text


def test_two_runs_are_compared_on_the_gold_rows_both_have(run: RunFolder, tmp_path: Path) -> None:
    plain = make_run(tmp_path, "vote.method=majority")
    comparison = compare_runs(run, plain)
    accuracy = {name: (a, b) for name, a, b in comparison.figures}["teacher, accuracy"]
    assert comparison.paired is not None and comparison.paired.rows == 120
    assert comparison.paired.first_right == round(120 * (accuracy[0] or 0))
    assert comparison.paired.second_right == round(120 * (accuracy[1] or 0))
    assert comparison.paired.p_value < 0.05 and (comparison.agreement or 1) < 1
    same = compare_runs(run, run)
    assert same.agreement == 1 and same.paired is not None and same.paired.p_value == 1


def test_the_command_prints_them_side_by_side(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run.path), str(run.path)]) == 0
    said = capsys.readouterr().out
    assert "teachers: A has 100 and B 100 of 120 gold rows right; p = 1.00, within noise" in said
    assert main(["report", str(run.path), str(run.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["agreement"] == 1.0
