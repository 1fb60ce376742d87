"""All processes under a worker end with it."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

PARENT = """
    import subprocess, sys, time
    from engine.guardian import guard_children

    guard_children()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    print(child.pid, flush=True)
    time.sleep(120)
"""


DRIVER = """
    import subprocess, sys, time
    from engine.guardian import guard_processes

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], start_new_session=True)
    guard_processes([child.pid])
    print(child.pid, flush=True)
    time.sleep(120)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("program", [PARENT, DRIVER], ids=["its group", "named processes"])
def test_a_killed_parent_takes_its_children_with_it(program: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        time.sleep(0.5)  # the guardian takes hold of named processes in its first moments
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    until_s = time.monotonic() + 10
    while alive(child) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not alive(child)
