"""Progress on stderr: a bar with rate and time left on a terminal, plain lines elsewhere.

Everything that takes more than two seconds runs inside `Progress`, `counted` or `Waiting`. stdout stays free, so
that results can be piped.
"""

import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

PLAIN_LINE_EVERY_S = 10.0
SHOWN_AFTER_S = 2.0


def say(line: str) -> None:
    """Prints a line to stderr, over a bar if one is drawn there."""
    print(("\r\x1b[K" if sys.stderr.isatty() else "") + line, file=sys.stderr, flush=True)


def leave_terminal() -> None:
    """Sends what is printed from now on nowhere, if it went to a terminal: one that is closed refuses it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


class Progress:
    """Counts work up to `total`; prints what is done, how much of it, the rate and the time left.

    Attributes:
        what: What is being done, e.g. "asking the panel".
        total: How much there is to do.
        unit: What is counted, e.g. "prompts".
        done: How much is done.
    """

    def __init__(self, what: str, *, total: int, unit: str, done: int = 0) -> None:
        """Takes the attributes; what is `done` before the block does not count for the rate."""
        self.what, self.total, self.unit, self.done = what, total, unit, done
        self._before = done
        self._bar = None

    def __enter__(self) -> "Progress":
        """Starts the clock, and the bar where stderr is a terminal."""
        self._started_s = self._printed_s = time.monotonic()
        if sys.stderr.isatty():
            from tqdm import tqdm

            unit = f" {self.unit}"
            self._bar = tqdm(
                desc=self.what, total=self.total, initial=self.done, unit=unit, file=sys.stderr, delay=SHOWN_AFTER_S
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the bar, or prints a last line if the block took more than two seconds."""
        if self._bar is not None:
            self._bar.close()
        elif time.monotonic() - self._started_s >= SHOWN_AFTER_S:
            self._line()

    def add(self, number: int, note: str = "") -> None:
        """Counts `number` more as done; `note` is shown after the rate."""
        self.done += number
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(number)
        elif time.monotonic() - self._printed_s >= PLAIN_LINE_EVERY_S:
            self._printed_s = time.monotonic()
            self._line(note)

    def _line(self, note: str = "") -> None:
        elapsed_s = time.monotonic() - self._started_s
        rate = (self.done - self._before) / elapsed_s if elapsed_s > 0 else 0.0
        left = f", {(self.total - self.done) / rate:.0f} s left" if rate and self.done < self.total else ""
        tail = f", {note}" if note else ""
        line = f"{self.what}: {self.done} of {self.total} {self.unit}, {rate:.1f}/s, {elapsed_s:.0f} s{left}{tail}"
        print(line, file=sys.stderr, flush=True)


def counted(rows: Iterable[T], what: str, *, total: int, unit: str) -> Iterator[T]:
    """The rows, with a progress bar; see `Progress` for what it shows."""
    with Progress(what, total=total, unit=unit) as progress:
        for row in rows:
            yield row
            progress.add(1)


class Waiting:
    """Shows what is being waited for and the elapsed time, until the block ends.

    Args:
        what: What is being done, e.g. "starting vLLM on cpu".
        usual_s: How long it usually takes, in seconds; shown so that nobody takes it for a hang.
        detail: Called at every refresh, in a thread of its own; its text is shown after `what`.
    """

    def __init__(self, what: str, *, usual_s: float | None = None, detail: Callable[[], str] | None = None) -> None:
        """Starts nothing yet; the block does."""
        self.what, self.usual_s, self._detail = what, usual_s, detail
        self._ended = threading.Event()

    def __enter__(self) -> "Waiting":
        """Starts the thread that shows the elapsed time."""
        self._started_s = time.monotonic()
        usual = f" (usually about {self.usual_s:.0f} s)" if self.usual_s else ""
        if not sys.stderr.isatty():
            print(f"{self.what}{usual} ...", file=sys.stderr, flush=True)
        self._thread = threading.Thread(target=self._show, args=(usual,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the thread and says whether the block is done or failed, and after how long."""
        self._ended.set()
        self._thread.join()
        verb = "failed" if kind else "done"
        clear = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{clear}{self.what}: {verb} after {self.elapsed_s:.0f} s", file=sys.stderr, flush=True)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the block began."""
        return time.monotonic() - self._started_s

    def _show(self, usual: str) -> None:
        terminal = sys.stderr.isatty()
        while not self._ended.wait(0.5 if terminal else PLAIN_LINE_EVERY_S):
            detail = f", {self._detail()}" if self._detail else ""
            line = f"{self.what}: {self.elapsed_s:.0f} s{usual}{detail}"
            print(f"\r\x1b[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)
