"""The page of 77 labels and 40 personas: bounded, with what matters in sight, and its tables as CSV."""

import csv
import html
import io
import re
from pathlib import Path

import pytest

from tests.report.test_in_browser import MEASURE, browse
from tests.support.large_run import large_run
from tests.support.page import Page
from xpoll.report.csv_text import csv_text

LABELS, PERSONAS = 77, 40


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("large")
    return Page(large_run(folder, labels=LABELS, personas=PERSONAS, texts=5, gold=40).report)


def sheets(page: Page) -> dict[str, list[list[str]]]:
    """Caption to the rows of each table as CSV."""
    found = re.findall(
        r'As CSV<span class="unseen">: (.*?)</span></summary><pre tabindex="0">(.*?)</pre>', page.source, re.S
    )
    return {html.unescape(name): list(csv.reader(io.StringIO(html.unescape(text)))) for name, text in found}


def test_it_is_bounded_and_well_formed(page: Page) -> None:
    assert page.problems == [] and not page.all("script") and not page.all("b")
    assert len(page.source.encode()) < 650_000
    drawings = re.findall(r"<svg.*?</svg>", page.source, re.S)
    assert max(map(len, drawings)) < 150_000, [len(each) for each in drawings]
    assert max(each.count("<text") for each in drawings) < 600


def test_what_matters_is_in_sight_and_the_rest_is_folded(page: Page) -> None:
    titles = [text for level, text in page.headings if level == 3]
    assert {"Most confused pairs", "Each persona", "Agreement of pairs"} <= set(titles)
    assert "Confusion matrix of the voted teacher (29 labels with most errors, of 77)" in page.text
    assert "Label mix of the 12 personas (of 40) that are farthest from the voted one" in page.text
    assert "(the 24 most frequent of 77)" in page.text and "All 40 personas" in page.text
    assert not any("open" in details for details in page.all("details"))
    boxes = [str(each.get("class")) for each in page.all("div") if "scroll" in str(each.get("class"))]
    assert boxes.count("scroll tall") >= len(page.all("svg")), "every drawing scrolls in its place"


def test_every_table_can_be_copied_as_csv(page: Page) -> None:
    found = sheets(page)
    tables = [each for each in page.all("table") if each.get("class") not in ("facts", "sample")]
    assert len(found) == len(tables) == page.source.count("As CSV")
    labels = found["Precision, recall and F1 of each label"]
    assert len(labels) == 1 + LABELS and labels[0][:3] == ["Label", "Gold rows", "raw majority, precision"]
    assert labels[1][0] == "'=<b>1+1</b>", "a spreadsheet computes nothing"
    assert re.fullmatch(r"\d+\.\d %", labels[1][2])
    everyone = next(rows for name, rows in found.items() if name.startswith("Answers of each persona"))
    assert len(everyone) == 1 + PERSONAS and len(everyone[0]) == 7
    mix = next(rows for name, rows in found.items() if name.startswith("Label mix"))
    assert (len(mix), len(mix[0])) == (2 + PERSONAS, 1 + LABELS), "the numbers are of all"
    pairs = next(rows for name, rows in found.items() if name.startswith("Pairs that agree"))
    shares = [float(row[2].removesuffix(" %")) for row in pairs[1:]]
    assert len(shares) == 10 and shares == sorted(shares, reverse=True)
    confused = next(rows for name, rows in found.items() if name.startswith("Gold rows that got another"))
    assert len(confused) == 13 and all(row[0] != row[1] for row in confused)


def test_figures_stay_figures_and_formulas_become_text() -> None:
    rows = [
        ["-1.5", "-1.5 %", "+2,000", "1e-5"],
        ["-1+1", "@x", "\tq", 'a,"b"\nc'],
        ["not measured", "5.1 to 9.0 %", "", "-"],
    ]
    assert list(csv.reader(io.StringIO(csv_text(["=h"], rows)))) == [
        ["'=h"],
        rows[0],
        ["'-1+1", "'@x", "'\tq", 'a,"b"\nc'],
        ["", "5.1 to 9.0 %", "", ""],
    ]


def test_nothing_of_it_is_wider_than_a_phone(page: Page, tmp_path: Path) -> None:
    measuring = tmp_path / "measure.html"
    measuring.write_text(MEASURE.format(width=400, page=html.escape(page.source)))
    done = browse(tmp_path, measuring, "--window-size=1500,1000", "--dump-dom")
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout)
    assert found, done.stdout[-500:]
    assert found[1].split("|") == ["400", "400", "job: xpoll report", ""]
