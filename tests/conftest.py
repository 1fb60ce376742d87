"""Fixtures shared by all tests."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

Xpoll = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def xpoll() -> Xpoll:
    """Runs the command line in a process of its own, as a user does."""

    def run(*arguments: object, cwd: Path = ROOT, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "scripts.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s)

    return run
