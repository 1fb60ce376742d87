"""docs/reference/python-api.md: its blocks run, in order, and say what the page says they say."""

from pathlib import Path

import pytest

import xpoll
from tests.conftest import ROOT
from tests.support.fenced import blocks, run_python
from tests.support.in_process import answer_in_process

PAGE = ROOT / "docs/reference/python-api.md"


def test_a_block_says_where_it_stands(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```python\nx = 1\n```\n\n```bash\nls\n```\n\n```python\ny = x + 1\n```\n")
    assert [block.line for block in blocks(page, "python")] == [4, 12]
    assert run_python(page)["y"] == 2
    page.write_text("```python\nx = 1\n1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as raised:
        run_python(page)
    assert raised.traceback[-1].lineno == 2, "from 0: the third line of the page"


def test_the_blocks_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
    names = run_python(PAGE)
    assert isinstance(names["second"], xpoll.Run)
    (said,) = [line.rpartition("# ")[2] for line in PAGE.read_text().splitlines() if "print(error)" in line]
    assert said in capsys.readouterr().out.splitlines()


def test_the_page_names_everything_that_is_offered() -> None:
    text = PAGE.read_text(encoding="utf-8")
    missing = [name for name in xpoll.__all__ if f"xpoll.{name}" not in text and f"`{name}`" not in text]
    assert missing == ["Report"]
