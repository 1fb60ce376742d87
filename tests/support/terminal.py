"""A program on a terminal of a given width, and what it draws there."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.conftest import ROOT

SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[(?:\d+;)*(?:3|4|9|10)[0-7](?:;\d+)*m|\x1b\[[34]8;")


def on_terminal(
    arguments: Sequence[str], *, columns: int, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Exit code of a Python program whose three streams are a terminal, and all that was written there."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-P", *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=cwd,
        env={**kept, "TERM": "xterm-256color", **(env or {})},
        start_new_session=True,
    )
    os.close(terminal)
    written = b""
    while True:
        try:
            piece = os.read(master, 65_536)
        except OSError:  # Linux says so where the last writer has gone
            break
        if not piece:
            break
        written += piece
    os.close(master)
    return process.wait(timeout=60), written.decode("utf-8")


def lines_of(written: str) -> list[str]:
    """What stood in the lines, each drawing of a line by itself, without sequences."""
    return [line for line in re.split(r"[\r\n]+", SEQUENCES.sub("", written)) if line.strip()]
