"""Progress on stderr: live on a terminal, a bar in a notebook, plain lines elsewhere, nothing where it is to be quiet.

Everything that takes more than two seconds runs inside `Progress`, `counted` or `Waiting`. stdout stays free, so
that results can be piped.
"""

import os
import stat
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from xpoll.core.secrets import struck

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

PLAIN_LINE_EVERY_S = 10.0
SHOWN_AFTER_S = 2.0

_quieting = 0  # blocks that want it, of all threads


@contextmanager
def quieted(quiet: bool = True) -> Iterator[None]:
    """Nothing of this is shown within the block, in no thread; with False it is as it was."""
    global _quieting
    _quieting += quiet
    try:
        yield
    finally:
        _quieting -= quiet


def say(line: str) -> None:
    """Prints a line to stderr, without secrets; over a bar if one is drawn there. A closed terminal stops no work."""
    if not _quieting:
        with _no_matter_who_reads():
            print(("\r\x1b[K" if sys.stderr.isatty() else "") + struck(line), file=sys.stderr, flush=True)


@contextmanager
def _no_matter_who_reads() -> Iterator[None]:
    """Leaves a terminal that refuses what is written to it."""
    try:
        yield
    except OSError:
        leave_terminal()


def leave_terminal() -> None:
    """Sends what is printed from now on nowhere, if it went to a terminal: one that is closed refuses it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "ipykernel" in sys.modules and "IPython" in sys.modules else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def terminal_console(file: Any) -> "Console":
    """What draws on a terminal; of the width that it has, without colours where NO_COLOR says so."""
    from rich.console import Console

    return Console(file=file, highlight=False, soft_wrap=False)


class Progress:
    """Counts work up to `total`; shows what is done, how much of it, the rate and the time left.

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
        self._bar: Any = None
        self._live: _LiveLine | None = None
        self._note = ""

    def __enter__(self) -> "Progress":
        """Starts the clock, and what is drawn live."""
        self._started_s = self._printed_s = time.monotonic()
        if _quieting:
            return self
        if sys.stderr.isatty():
            self._live = _LiveLine(lambda: self._text(self._note), share=lambda: self.done / max(1, self.total))
            self._live.start()
        elif in_notebook():
            self._bar = _notebook_bar(self.what, self.total, self.done, self.unit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends what is drawn; a last line stays if the block took more than two seconds."""
        if self._bar is not None:
            self._bar.close()
            return
        if self._live is not None:
            self._live.stop()
        if time.monotonic() - self._started_s >= SHOWN_AFTER_S:
            say(self._text(""))

    def add(self, number: int, note: str = "") -> None:
        """Counts `number` more as done; `note` is shown after the rate."""
        self.done += number
        self._note = note
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(number)
        elif self._live is None and time.monotonic() - self._printed_s >= PLAIN_LINE_EVERY_S:
            self._printed_s = time.monotonic()
            say(self._text(note))

    def _text(self, note: str) -> str:
        elapsed_s = time.monotonic() - self._started_s
        rate = (self.done - self._before) / elapsed_s if elapsed_s > 0 else 0.0
        left = f", {(self.total - self.done) / rate:.0f} s left" if rate and self.done < self.total else ""
        tail = f", {note}" if note else ""
        return f"{self.what}: {self.done} of {self.total} {self.unit}, {rate:.1f}/s, {elapsed_s:.0f} s{left}{tail}"


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
        self._live: _LiveLine | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Waiting":
        """Starts what shows the elapsed time."""
        self._started_s = time.monotonic()
        if _quieting:
            return self
        if sys.stderr.isatty():
            self._live = _LiveLine(self._text)
            self._live.start()
            return self
        say(f"{self.what}{self._usual} ...")
        if not in_notebook():  # where a line that is printed stays for good
            self._thread = threading.Thread(target=self._show, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends what is shown and says whether the block is done or failed, and after how long."""
        self._ended.set()
        if self._live is not None:
            self._live.stop()
        if self._thread is not None:
            self._thread.join()
        say(f"{self.what}: {'failed' if kind else 'done'} after {self.elapsed_s:.0f} s")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the block began."""
        return time.monotonic() - self._started_s

    @property
    def _usual(self) -> str:
        return f" (usually about {self.usual_s:.0f} s)" if self.usual_s else ""

    def _text(self) -> str:
        detail = f", {self._detail()}" if self._detail else ""
        return f"{self.what}: {self.elapsed_s:.0f} s{self._usual}{detail}"

    def _show(self) -> None:
        while not self._ended.wait(PLAIN_LINE_EVERY_S):
            say(self._text())


class _LiveLine:
    """One line at the bottom of the terminal, as wide as that is, drawn anew four times a second.

    Args:
        text: What stands in it.
        share: How much is done, 0 to 1; drawn as a bar before the text.
    """

    def __init__(self, text: Callable[[], str], share: Callable[[], float] | None = None) -> None:
        from rich.live import Live

        self._text, self._share = text, share
        self._live = Live(
            get_renderable=self._line,
            console=terminal_console(sys.stderr),
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
        )

    def start(self) -> None:
        """Draws it, and what others print to stderr above it."""
        with _no_matter_who_reads():
            self._live.start()

    def stop(self) -> None:
        """Removes it."""
        with _no_matter_who_reads():
            self._live.stop()

    def _line(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        text = Text(struck(self._text()), no_wrap=True, overflow="ellipsis")
        if self._share is None:
            return text
        line = Table.grid(padding=(0, 1))
        line.add_column(width=20)
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_row(ProgressBar(total=1.0, completed=self._share(), width=20), text)
        return line


def _notebook_bar(what: str, total: int, done: int, unit: str) -> Any:
    with warnings.catch_warnings():  # without ipywidgets it is a bar of characters, and says so each time
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    return tqdm(desc=what, total=total, initial=done, unit=f" {unit}", leave=False, delay=SHOWN_AFTER_S)
