"""Counters that a subprocess prints: it is started once, and its lines are read as they arrive."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from xpoll.core.machine.processes import guard_processes
from xpoll.energy.counters import CounterError, SourceCounters

STALE_AFTER = 5  # missing readings after which a counter has stopped

Parse = Callable[[str], Mapping[str, float]]
"""Parses a line into joules by the name of a part; empty for a line without any."""


class Printer:
    """A running process and the latest joules that it printed for each part.

    A round of readings is complete when a part appears for the second time.

    Attributes:
        latest: Joules by part.
        read_s: When the last line was parsed; monotonic clock.
        ended: The last line of a process that has ended; empty while it runs.

    Args:
        command: Command line of the process.
        parse: Parses its lines.
        environment: Variables to set on top of this process's.

    Raises:
        CounterError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], parse: Parse, *, environment: Mapping[str, str] | None = None) -> None:
        self.latest: dict[str, float] = {}
        self.read_s = 0.0
        self.ended = ""
        self._parse, self._round = parse, threading.Event()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            raise CounterError(f"{command[0]} cannot be started: {error.strerror}") from error
        guard_processes([self._process.pid])
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for_round(self, timeout_s: float) -> bool:
        """Waits for the first round of readings; False after `timeout_s` seconds or if the process ended."""
        return self._round.wait(timeout_s) and not self.ended

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        last = ""
        for line in self._process.stdout:
            last = line.strip() or last
            if joules := self._parse(line):
                if joules.keys() & self.latest.keys():
                    self._round.set()
                self.latest |= joules
                self.read_s = time.monotonic()
        self.ended = last or "it printed nothing"
        self._round.set()


class PrintedCounter:
    """One part of the readings of a `Printer`.

    Args:
        name: Source and part.
        part: Key of the part in the process's readings.
        printer: The process.
        every_s: How often it prints, in seconds.
    """

    def __init__(self, name: str, part: str, printer: Printer, every_s: float) -> None:
        self.name, self.resolution_s = name, every_s
        self._part, self._printer = part, printer

    def read_j(self) -> float:
        """The part's latest joules.

        Raises:
            CounterError: the process has ended, or printed nothing for STALE_AFTER intervals.
        """
        if self._printer.ended:
            raise CounterError(f"{self.name}: the process that reads it has ended ({self._printer.ended})")
        silent_s = time.monotonic() - self._printer.read_s
        if silent_s > STALE_AFTER * self.resolution_s:
            raise CounterError(f"{self.name}: no reading for {silent_s:.1f} s")
        return self._printer.latest[self._part]

    def close(self) -> None:
        """Ends the process."""
        self._printer.close()


def find_printed(
    source: str,
    command: Sequence[str],
    parse: Parse,
    *,
    every_s: float,
    start_s: float,
    environment: Mapping[str, str] | None = None,
) -> SourceCounters:
    """One counter per part that the process prints in its first round of readings.

    Args:
        source: First word of the counters' names.
        command: Command line of the process.
        parse: Parses its lines.
        every_s: How often it prints, in seconds.
        start_s: How long to wait for its first round, in seconds.
        environment: Variables to set on top of this process's.
    """
    try:
        printer = Printer(command, parse, environment=environment)
    except CounterError as error:
        return SourceCounters([], str(error))
    if not printer.wait_for_round(start_s):
        why = printer.ended or f"no reading within {start_s:g} s"
        printer.close()
        return SourceCounters([], f"{source}: {why}")
    return SourceCounters(
        [PrintedCounter(f"{source} {part}", part, printer, every_s) for part in sorted(printer.latest)]
    )
