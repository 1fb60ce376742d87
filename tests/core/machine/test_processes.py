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
    from xpoll.core.machine.processes import guard_children

    guard_children()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    print(child.pid, flush=True)
    time.sleep(120)
"""


DRIVER = """
    import subprocess, sys, time
    from xpoll.core.machine.processes import guard_processes

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], start_new_session=True)
    guard_processes([child.pid])
    print(child.pid, flush=True)
    time.sleep(120)
"""


STARTING = """
    import subprocess, sys, time
    from xpoll.core.machine.processes import guard_descendants

    guard_descendants()
    time.sleep(0.5)
    # The daemon ends after a second; what it has started is nobody's child any more.
    daemon = (
        "import subprocess, sys, time; child = [sys.executable, '-c', 'import time; time.sleep(120)'];"
        "print(subprocess.Popen(child).pid, flush=True); time.sleep(1)"
    )
    subprocess.Popen([sys.executable, "-c", daemon], start_new_session=True).wait()
    time.sleep(120)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("program", [PARENT, DRIVER, STARTING], ids=["its group", "named processes", "descendants"])
def test_a_killed_parent_takes_its_children_with_it(program: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        time.sleep(1.5)  # a guardian takes hold of processes in its first moments, or when they have come
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    until_s = time.monotonic() + 10
    while alive(child) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not alive(child)
