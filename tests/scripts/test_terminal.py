"""On a terminal: tables and live lines of its width. In a pipe: plain lines. Secrets in neither."""

from pathlib import Path

import pytest

from tests.conftest import Xpoll
from tests.support.example_run import make_run
from tests.support.in_process import answer_in_process
from tests.support.terminal import COLOURS, SEQUENCES, lines_of, on_terminal

SECRET = "q7Zr-93hfkeW-opx01-aa83n"
SHOW = """
import sys
from pathlib import Path
from xpoll.core.run_folder import RunFolder
from xpoll.core.secrets import strike_streams
from xpoll.scripts.commands.status import show_metrics
strike_streams()
show_metrics(RunFolder(Path(sys.argv[1])), as_json=False)
"""
TABLE = """
import os
from xpoll.core.secrets import strike_streams
from xpoll.scripts.tables import show_list, show_table
strike_streams()
cell = "a word before the key " + os.environ["SOME_API_KEY"] + " and one after it, which is long"
show_table(("name", "first", "second"), [("row", cell, cell), ("left out", "for a reason")], (10, 80, 80))
show_list([("one", cell), ("two", cell)])
"""
LIVE = """
import os, time
from xpoll.core.progress import Progress, Waiting, say
what = "starting an engine with a long name, " + "word " * 20
with Waiting(what, usual_s=1, detail=lambda: os.environ["SOME_API_KEY"]):
    time.sleep(0.6)
    say("a remark, and the key " + os.environ["SOME_API_KEY"])
    time.sleep(0.3)
with Progress("polling", total=10, unit="documents") as progress:
    for _ in range(10):
        time.sleep(0.05)
        progress.add(1, note="a note " * 20)
"""


@pytest.mark.parametrize("columns", [80, 200])
def test_figures_are_a_table_of_the_terminals_width(tmp_path: Path, columns: int) -> None:
    folder = make_run(tmp_path / "run")
    code, written = on_terminal(["-c", SHOW, str(folder.path)], columns=columns)
    assert code == 0, written
    table = [line for line in lines_of(written) if "accuracy (95 %)" in line or "voted teacher" in line or "──" in line]
    assert len(table) == 3, written
    assert max(map(len, table)) <= columns
    assert "(95 %)" in written and "\x1b[1m" in written


def test_without_colours_there_are_none(tmp_path: Path) -> None:
    env = {"SOME_API_KEY": SECRET, "NO_COLOR": "1"}
    _, plain = on_terminal(["-c", LIVE], columns=80, env=env)
    assert not COLOURS.search(plain)
    _, coloured = on_terminal(["-c", LIVE], columns=80, env={"SOME_API_KEY": SECRET})
    assert COLOURS.search(coloured), "or this test proves nothing"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_secret_is_drawn_whole_or_broken_over_lines(columns: int) -> None:
    for program in (TABLE, LIVE):
        code, written = on_terminal(["-c", program], columns=columns, env={"SOME_API_KEY": SECRET})
        assert code == 0, written
        assert "***" in written
        assert not [part for part in SECRET.split("-") if part in written], written


@pytest.mark.parametrize("columns", [80, 200])
def test_live_lines_are_no_wider_than_the_terminal_and_are_gone_at_the_end(columns: int) -> None:
    code, written = on_terminal(["-c", LIVE], columns=columns, env={"SOME_API_KEY": "none"})
    assert code == 0, written
    live = [line for line in lines_of(written) if "usually about" in line or "starting" in line or " documents" in line]
    assert len(live) > 4
    drawn = [line for line in live if "done after" not in line]
    assert max(map(len, drawn)) <= columns, max(drawn, key=len)
    assert "a remark, and the key" in written
    assert "\x1b[2K" in written, "lines are erased"


def test_what_is_piped_is_plain_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from xpoll.scripts.commands.status import show_metrics

    show_metrics(make_run(tmp_path / "run"), as_json=False)
    shown = capsys.readouterr().out
    assert not SEQUENCES.search(shown)
    (head,) = [line for line in shown.splitlines() if line.startswith("on 120 gold rows")]
    assert head == "on 120 gold rows             accuracy (95 %)             macro F1 (95 %)    abstained"


def test_quiet_shows_results_and_errors_alone(tmp_path: Path, xpoll: Xpoll, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
    (tmp_path / "texts.csv").write_text('text\nSun.\n""\nRain.\n')
    (tmp_path / "job.toml").write_text(
        'documents = {path = "texts.csv"}\ntask = {labels = ["good", "bad"]}\n'
        'engine = {backend = "simulated", device = "cpu", simulated = {time_scale = 0}}\n'
    )
    loud = xpoll("poll", "job.toml", "--set", "job.run_folder=loud", cwd=tmp_path)
    assert "1 of 3 documents cannot be asked about" in loud.stderr
    quiet = xpoll("poll", "job.toml", "--quiet", cwd=tmp_path)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert quiet.stdout.startswith("poll: wrote ")
    wrong = xpoll("vote", "job.toml", "--quiet", "--set", "vote.method=x", cwd=tmp_path)
    assert wrong.returncode == 2 and wrong.stderr.startswith("xpoll: ")
