"""The page says what the files say, loads nothing, and survives hostile texts and missing figures."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.support.example_run import LABELS, make_run
from tests.support.page import Page
from tests.support.toy import a_training
from xpoll.core.errors import RunFolderError
from xpoll.core.files import read_json, write_json
from xpoll.core.formatting import number, percent
from xpoll.report.markdown import write_markdown
from xpoll.report.page import write_report
from xpoll.report.panel import names_of
from xpoll.student.evaluation import Evaluation, Verdict
from xpoll.student.folder import write_training

HOSTILE = {
    "doc-002": "<script>alert(1)</script>",
    "doc-003": "\"double\" 'single' & `back` {{ 7 * 7 }}",
    "doc-004": "</details></td></table></svg><img src=x onerror=alert(1)>",
    "gold-005": "\u202e\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \U0001f4c8\U0001f469\u200d\U0001f4bb",
}
NOTHING_READ = {
    "energy": {"source": "none", "energy_j": None, "idle_w": None, "stages": {}, "wall_s": {}, "why": {}},
    "cost": {"usd": None, "co2_kg": None, "by_stage": {}, "assumptions": {"hours": 0.064, "stages": ["poll"]}},
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(make_run(tmp_path_factory.mktemp("full"))))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = make_run(tmp_path_factory.mktemp("hostile"), "report.sample_rows=240", texts=HOSTILE)
    return Page(write_report(folder))


def test_the_page_loads_and_runs_nothing(page: Page) -> None:
    assert not re.findall(r"https?://|//[a-z]+\.[a-z]+/|@import|url\(", page.source)
    assert not page.all("script") and not page.all("iframe") and not page.all("img")
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert all(str(link["href"]).startswith("#") for link in page.all("a"))
    policies = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies and "default-src 'none'" in str(policies[0])


def test_tags_nest_and_ids_are_unique(page: Page, hostile: Page) -> None:
    for parsed in (page, hostile):
        assert parsed.problems == []
        ids = [str(attributes["id"]) for _, attributes in parsed.tags if "id" in attributes]
        assert len(ids) == len(set(ids)), sorted(ids)
        wanted = {i for _, a in parsed.tags for i in str(a.get("aria-labelledby", "")).split()}
        assert wanted <= set(ids), wanted - set(ids)
        assert {str(link["href"])[1:] for link in parsed.all("a")} <= set(ids)


def test_sections_stand_in_order_and_headings_skip_no_level(page: Page) -> None:
    sections = [text for level, text in page.headings if level == 2]
    assert sections == ["Verdict", "Quality", "Panel", "Speed", "Energy and cost", "Data", "Provenance"]
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), page.headings


def test_tables_and_drawings_can_be_read_without_eyes(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("caption")) == len(page.all("table")) > 10
    assert all("scope" in header for header in page.all("th"))
    drawings = page.all("svg")
    assert len(drawings) == len(page.all("desc")) == 8
    assert all(drawing["role"] == "img" for drawing in drawings)
    assert page.source.count("<summary>Numbers behind this chart</summary>") == len(drawings)


def test_a_learning_curve_is_drawn_with_its_forecast(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    folder.student.mkdir()
    points = [{"rows": 30, "accuracy": 0.5}, {"rows": 60, "accuracy": 0.625}, {"rows": 120, "accuracy": 0.7}]
    forecast = {"rows": 240, "accuracy": 0.74, "gain": 0.04, "floor": 0.2}
    write_training(folder.student, a_training(learning_curve=points, forecast=forecast))
    drawn = Page(write_report(folder))
    assert (3, "Learning curve") in drawn.headings
    table = drawn.source[drawn.source.index("Learning curve of the student") :]
    numbers = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", table)
    start = numbers.index("30")
    assert numbers[start : start + 12] == [
        "30",
        "50.0 %",
        "",
        "60",
        "62.5 %",
        "",
        "120",
        "70.0 %",
        "70.0 %",
        "240",
        "",
        "74.0 %",
    ]
    said = write_markdown(folder).read_text(encoding="utf-8")
    assert "| 120 | 70.0 % |\n| 240 (forecast) | 74.0 % |" in said


def test_hostile_text_is_shown_and_not_obeyed(hostile: Page) -> None:
    assert not hostile.all("script") and not hostile.all("img")
    for text in HOSTILE.values():
        assert " ".join(text.split()) in hostile.text, text
    assert "<script>" not in hostile.source and "onerror=alert(1)>" not in hostile.source


def test_hostile_names_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    config, metrics = read_json(folder.config), read_json(folder.metrics)
    config["job"]["name"] = metrics["engine"]["model"] = '"><script>alert(2)</script>'
    metrics["errors"] = {"</table><b>": 3}
    write_json(folder.config, config)
    write_json(folder.metrics, metrics)
    page = Page(write_report(folder))
    assert page.problems == [] and not page.all("script") and not page.all("b")
    assert '"><script>alert(2)</script>' in page.text and "</table><b> 3" in page.text


def test_every_figure_of_the_metrics_is_shown(page: Page, tmp_path: Path) -> None:
    metrics = read_json(make_run(tmp_path).metrics)
    shares = {
        "accuracy",
        "f1_macro",
        "precision",
        "recall",
        "f1",
        "ece",
        "abstention_rate",
        "cached_share",
        "idle_spread",
    }
    missing = []
    for key, value in figures({k: v for k, v in metrics.items() if k != "schema_version"}):
        name = next((part for part in reversed(key.split(".")) if not part.isdigit()), "")
        shown = percent(value) if name.removeprefix("predicted_") in shares else shown_as(value)
        if name.endswith("_ci95") and value is not None:
            shown = f"{100 * value:.1f}"  # an interval has its unit once
        if not re.search(rf"(?<![\w.,]){re.escape(shown)}(?![\w]|[.,]\d)", page.text):
            missing.append((key, shown))
    assert missing == []


def figures(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from figures(inner, f"{key}.{name}")
    else:
        yield key, value


def shown_as(value: Any) -> str:
    return value if isinstance(value, str) else number(value)


def test_the_verdict_names_teacher_student_and_their_difference(page: Page) -> None:
    assert "labels 83.3 % of 120 gold rows right (95 % interval 75.7 to 88.9 %)" in page.text
    assert "raw majority of the same answers is right on 60.8 %: calibration adds 22.5 points" in page.text
    assert "The student is 5.0 points below its teacher" in page.text
    assert "Always answering 'neutral' is right on 55.0 %" in page.text


def test_without_gold_labels_quality_is_not_measured_and_the_page_says_how_to(tmp_path: Path) -> None:
    page = Page(write_report(make_run(tmp_path, gold=False)))
    assert "Verdict not measured Nothing says how often a label is right" in page.text
    assert "Set documents.gold_path" in page.text
    assert "Confusion matrix" not in page.text and page.problems == []


def test_an_evaluation_without_gold_rows_reads_like_none(tmp_path: Path) -> None:
    folder = make_run(tmp_path, gold=False)
    verdict = Verdict(word="not measured", reasons=("no gold rows",))
    write_json(folder.evaluation, Evaluation(gold_rows=0, labels=tuple(LABELS), verdict=verdict).as_json())
    assert "there are no texts with known labels (documents.gold_path)" in Page(write_report(folder)).text


@pytest.mark.parametrize(("name", "step"), [("evaluation", "evaluate"), ("metrics", "report")])
@pytest.mark.parametrize("version", [None, 0, 99])
def test_a_file_of_another_version_is_one_line_with_the_step_to_run_again(
    tmp_path: Path, name: str, step: str, version: int | None
) -> None:
    folder = make_run(tmp_path)
    path = tmp_path / f"{name}.json"
    held = {key: value for key, value in read_json(path).items() if key != "schema_version"}
    write_json(path, held if version is None else held | {"schema_version": version})
    theirs = "has no schema_version" if version is None else f"has schema_version {version}"
    said = rf"{name}\.json {theirs}, this xpoll reads \d -> run the step again: xpoll {step} {tmp_path}$"
    with pytest.raises(RunFolderError, match=said):
        write_report(folder)


def test_gold_labels_without_scores_name_the_step_that_is_missing(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    folder.evaluation.unlink()
    assert "xpoll evaluate RUN_FOLDER" in Page(write_report(folder)).text


def test_no_figure_of_others_is_on_the_page(page: Page) -> None:
    assert "Published" not in page.text and "GPT-4" not in page.text


def test_what_could_not_be_read_is_not_measured(tmp_path: Path) -> None:
    page = Page(write_report(make_run(tmp_path, metrics=NOTHING_READ)))
    assert "Energy is not measured : no step of this run was timed" in page.text
    for name in (
        "Energy not measured source: none",
        "Idle power not measured",
        "CO2 not measured",
        "Cost not measured",
    ):
        assert name in page.text, name
    assert "None" not in page.text and "null J" not in page.text


def test_the_predicted_share_of_the_prefix_cache_stands_beside_the_measured_one(page: Page, tmp_path: Path) -> None:
    assert "Cached share 85.4 % predicted by the plan: 84.6 %" in page.text
    assert "Prompt order persona_first" in page.text
    older = make_run(tmp_path)
    metrics = read_json(older.metrics)
    for key in ("predicted_cached_share", "prompt_order"):
        del metrics["engine"][key]
    write_json(older.metrics, metrics)
    assert "Cached share 85.4 % not predicted" in Page(write_report(older)).text


def test_any_engine_figure_may_be_null(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    metrics = read_json(folder.metrics)
    metrics["engine"] = {k: v if isinstance(v, str) else None for k, v in metrics["engine"].items()}
    write_json(folder.metrics, metrics)
    text = Page(write_report(folder)).text
    assert "Polling not measured" in text and "Cached share not measured" in text


def test_the_panel_is_counted_from_the_votes(page: Page) -> None:
    # doc-017 is an error for all; one engine error more leaves 238 answers, of which 4 have no label.
    assert "equity_analyst 238 234 4 2" in page.text
    assert "no label alone" in page.text and "truncated" in page.text


def test_votes_on_a_document_that_was_taken_out_of_the_labels_are_left_out(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    labels = pq.read_table(folder.labels)
    pq.write_table(labels.filter(pc.not_equal(labels["document_id"], "doc-001")), folder.labels)
    assert "equity_analyst 237 233 4 2" in Page(write_report(folder)).text


def test_a_persona_asked_several_times_is_compared_with_itself(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "panel.samples=3", 'panel.personas=["retail_investor"]')
    text = Page(write_report(folder)).text
    assert "One persona, asked 3 times" in text
    assert re.search(r"Persona retail_investor retail_investor \d+\.\d %", text)


def test_the_sample_mixes_labels_and_shows_reasons(tmp_path: Path) -> None:
    overrides = ("report.sample_rows=10", "panel.answer=chain_of_thought")
    text = Page(write_report(make_run(tmp_path, *overrides))).text
    sample = text[text.index("A stated reason") :]
    assert [len(re.findall(rf"(?:doc|gold)-\d+ {label} ", sample)) for label in LABELS] == [3, 3, 3]
    assert "doc-017 abstained: no readable vote" in sample
    assert "Earnings or outlook fall. (" in sample


def test_two_writes_are_the_same_bytes(tmp_path: Path) -> None:
    first = write_report(make_run(tmp_path / "a")).read_bytes()
    again = write_report(make_run(tmp_path / "b")).read_bytes()
    assert first == again
    assert not re.search(rb"\b20\d\d-\d\d-\d\d\b", first)


def test_a_missing_input_names_the_step_that_makes_it(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    folder.votes.unlink()
    with pytest.raises(RunFolderError, match=r"votes\.parquet is not there yet -> .*xpoll vote"):
        write_report(folder)


def test_personas_of_a_file_are_called_by_their_words() -> None:
    long = "a retired schoolteacher from Ohio who keeps bees and reads the paper twice"
    rows = [
        {"persona_id": "hub-1", "persona": long},
        {"persona_id": "hub-2", "persona": long + " over"},
        {"persona_id": "hub-3", "persona": "an airline pilot"},
        {"persona_id": "hub-4", "persona": "a " + "x" * 60},
        {"persona_id": "auditor", "persona": "an auditor"},
    ]
    names = names_of(rows)
    assert names == {
        "hub-1": "retired schoolteacher from Ohio who\u2026 (hub-1)",
        "hub-2": "retired schoolteacher from Ohio who\u2026 (hub-2)",
        "hub-3": "airline pilot",
        "hub-4": "x" * 40 + "\u2026",
    }


def test_a_panel_from_a_file_is_counted_and_named_on_the_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "panel.persona_file=hub.jsonl")
    votes = pq.read_table(folder.votes)
    ids = pc.replace_substring(votes.column("persona_id"), "retail_investor", "hub-7")
    index = votes.schema.get_field_index("persona_id")
    pq.write_table(votes.set_column(index, "persona_id", ids), folder.votes)
    people = [{"persona_id": name, "persona": f"a {name}"} for name in ("x", "y")]
    write_json(folder.panel, {"personas": [{"persona_id": "hub-7", "persona": "a keeper of bees"}, *people]})
    page = Page(write_report(folder))
    assert "3 personas, each asked once" in page.text
    assert "keeper of bees" in page.text
    assert "hub-7" not in page.text
    assert "240 documents, 3 personas, " in write_markdown(folder).read_text(encoding="utf-8")
