"""Fixtures shared by all tests."""

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent

LONGEST = ("test_end_to_end.py", "test_vllm_server.py", "test_simulations.py", "test_trainer.py", "test_packaging.py")
"""What takes longest is begun first: with two processes the last file would else run with one core idle."""

# The same examples in each run: a failure belongs to the change that it is seen with. `HYPOTHESIS_PROFILE=search` draws
# new ones; what they find becomes an @example.
settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("search")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

Xpoll = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts those files in front; all else keeps its order."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True)
def gradients_stay_on() -> Iterator[None]:
    """Fails the test that turns them off for all that run behind it in the same process."""
    yield
    if (torch := sys.modules.get("torch")) and not torch.is_grad_enabled():
        torch.set_grad_enabled(True)
        pytest.fail("this test leaves torch with gradients off: use `with torch.inference_mode()`")


@pytest.fixture
def xpoll(request: pytest.FixtureRequest) -> Xpoll:
    """Runs the command line: with an engine in a process of its own, as a user does; else in this one, in a tenth."""
    own = request.node.get_closest_marker("engine") is not None

    def run(
        *arguments: object, cwd: Path = ROOT, timeout_s: float = 60, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        words = list(map(str, arguments))
        if not own and env is None:
            return in_this_process(words, cwd)
        command = [sys.executable, "-P", "-m", "xpoll", *words]
        environment = {**os.environ, **(env or {})}
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, env=environment)

    return run


def in_this_process(arguments: list[str], cwd: Path) -> "subprocess.CompletedProcess[str]":
    """What a command prints and its exit code; signal handlers, log handlers and environment are as before then."""
    from xpoll.scripts.cli import main

    out, err, root = io.StringIO(), io.StringIO(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.dict(os.environ),
    ):
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        except Exception:
            traceback.print_exc()
            code = 1
    for number, handler in signals.items():
        signal.signal(number, handler)
    root.handlers[:], root.level = handlers, level
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
