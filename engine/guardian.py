"""All processes under an engine end with it, however it ends.

vLLM's engine core and workers are processes of their own, and outlive a parent that is killed: they
keep their memory and their device. So a worker puts itself and its children into one process group
and starts a small process outside of it, which waits for the worker's end and then kills the group.
"""

import os
import subprocess
import sys

# poll() on a pidfd returns when that process has ended, by whatever means. No pipe is used, because
# children would inherit its writing end and keep it open.
_WAIT_AND_KILL = """
import os, select, signal, sys
parent, group = int(sys.argv[1]), int(sys.argv[2])
try:
    fd = os.pidfd_open(parent)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll()
except ProcessLookupError:
    pass
try:
    os.killpg(group, signal.SIGKILL)
except ProcessLookupError:
    pass
"""


def guard_children() -> None:
    """Ties every later child of this process to its life; call once, before the first child starts.

    The process leaves its process group, so a Ctrl-C in the terminal no longer reaches it: the
    driver gets it, drains, and ends its workers.
    """
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)
    subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WAIT_AND_KILL, str(os.getpid()), str(os.getpgid(0))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
