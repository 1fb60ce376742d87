"""The page of texts with several labels or spans, of recorded answers and without a student."""

from pathlib import Path

import pytest

from tests.support.in_process import answer_in_process
from tests.support.kind_run import write_job
from tests.support.page import Page
from xpoll.core.config.file import load_config
from xpoll.pipeline.run import one_step, report_of


@pytest.mark.parametrize("kind", ["multi", "spans"])
def test_it_is_well_formed_and_its_tables_can_be_copied(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
    monkeypatch.chdir(tmp_path)
    config = load_config(write_job(tmp_path, kind, train=6, gold=12))
    for step in ("poll", "vote"):
        one_step(step, config)
    page = Page(report_of(config).report)
    assert page.problems == [] and not page.all("script")
    tables = [each for each in page.all("table") if each.get("class") not in ("facts", "sample")]
    assert page.source.count("As CSV") == len(tables) > 4
    assert "Each label" in page.text and "Most confused pairs" not in page.text
