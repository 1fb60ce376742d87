"""Signals of a run: drain once, stop at the second; nobody else's handler stays, and no wait is without an end."""

import os
import signal
from collections.abc import Iterator

import pytest

from xpoll.engine import interrupt
from xpoll.engine.dispatch import Tally
from xpoll.engine.interrupt import Drain, draining, handlers_kept
from xpoll.engine.run import _watched

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def terminal_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "leave_terminal", lambda: None)


@pytest.mark.parametrize("number", ENDING)
def test_the_first_signal_drains_and_the_block_ends_as_interrupted(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in ENDING]
    done = []
    with pytest.raises(KeyboardInterrupt), draining() as drain:
        drain.asking = True
        os.kill(os.getpid(), number)
        assert drain.is_set()
        done.append("to the end")
    assert done == ["to the end"]
    assert [signal.getsignal(each) for each in ENDING] == before


def test_the_second_signal_stops_at_once_and_so_does_one_before_anything_is_asked() -> None:
    with pytest.raises(KeyboardInterrupt), draining() as drain:
        drain.asking = True
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("it goes on")
    with pytest.raises(KeyboardInterrupt), draining():
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("it goes on")


def test_an_error_of_the_block_is_not_hidden_by_a_signal() -> None:
    with pytest.raises(ValueError, match="of the block"), draining() as drain:
        drain.asking = True
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("of the block")


def test_a_library_does_not_keep_its_handler() -> None:
    with draining() as drain:
        drain.asking = True
        with handlers_kept():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as ray.init sets its own
        assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.default_int_handler)


def test_under_nohup_a_closed_terminal_changes_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with draining() as drain:
            drain.asking = True
            os.kill(os.getpid(), signal.SIGHUP)
            assert not drain.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_drain_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "DRAIN_S", 0.0)
    drain = Drain()

    def endless() -> Iterator[Tally]:
        for number in range(1000):
            if number == 5:
                drain.set()
            yield Tally(answers=1)

    answers = sum(tally.answers for tally in _watched(endless(), drain))
    assert answers == 6, "what came before the end is counted, and nothing is waited for behind it"
