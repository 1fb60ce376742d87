"""What is shown while work is done: lines in a pipe, a bar in a notebook, nothing where it is to be quiet."""

import sys
import threading
import types

import pytest

from xpoll.core import progress as module
from xpoll.core.progress import Progress, Waiting, counted, in_notebook, quieted, say


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLAIN_LINE_EVERY_S", 0.0)
    monkeypatch.setattr(module, "SHOWN_AFTER_S", 0.0)


def test_a_pipe_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(counted("abc", "reading", total=3, unit="letters")) == ["a", "b", "c"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == [f"reading: {i} of 3 letters" for i in (1, 2, 3, 3)]


def test_a_notebook_gets_a_bar_and_no_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not in_notebook()
    shell = types.SimpleNamespace(get_ipython=type("ZMQInteractiveShell", (), {}))
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "IPython", shell)  # type: ignore[arg-type]
    assert in_notebook()
    with Progress("polling", total=3, unit="documents") as progress:
        assert progress._bar is not None
        progress.add(2, note="half")
        assert progress._bar.n == 2
    assert "polling: 2 of 3" not in capsys.readouterr().err
    with Waiting("starting Ray", usual_s=5) as waiting:
        assert waiting._thread is None
    assert capsys.readouterr().err == "starting Ray (usually about 5 s) ...\nstarting Ray: done after 0 s\n"


def test_quiet_blocks_of_several_threads_end_by_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with quieted():
            inside.set()
            leave.wait(10)

    with quieted():
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(10)
    say("one is left")
    with Waiting("w"), Progress("p", total=1, unit="u") as progress:
        progress.add(1)
    assert capsys.readouterr().err == ""
    leave.set()
    thread.join()
    with quieted(False):
        say("none is left")
    assert capsys.readouterr().err == "none is left\n"


def test_a_secret_is_struck_whoever_calls(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("xpoll.core.secrets._known", ("hunter2-hunter2",))
    say("the key is hunter2-hunter2")
    assert capsys.readouterr().err == "the key is ***\n"
