"""Runs one measurement in a subprocess: clean memory figures, and an environment that is set before it starts.

The parent passes the name of a function and its arguments as JSON; the child writes the returned record as JSON
into a file. The child's output goes to the parent's stderr, or to a log.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xpoll.benchmarks.runner.records import Record
from xpoll.core.errors import EngineError
from xpoll.core.files import read_json, write_json
from xpoll.core.machine.processes import guard_descendants, guard_processes


def call_in_subprocess(
    function: Callable[..., Record],
    *arguments: Any,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Record:
    """The result of a function that runs in a new Python process, which ends with this one.

    Args:
        function: A function at the top level of a module.
        arguments: Its arguments, plain JSON values.
        environment: Variables to set on top of this process's.
        log: File that gets the child's output; stderr unless given.

    Raises:
        EngineError: the child failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "record.json"
        call = [f"{function.__module__}:{function.__name__}", json.dumps(arguments), str(result)]
        with (log or Path(os.devnull)).open("ab") as printed:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "xpoll.benchmarks.runner.subprocess_call", *call],
                env={**os.environ, **(environment or {})},
                stdout=printed if log else sys.stderr,
                stderr=printed if log else None,
            )
            guard_processes([child.pid])
            try:
                code = child.wait()
            except BaseException:
                child.kill()
                raise
        if code or not result.exists():
            raise EngineError(f"{call[0]}{call[1]} ended with exit code {code}", mend=f"see {log or 'the lines above'}")
        record: Record = read_json(result)
        return record


def peak_memory_mib() -> float:
    """Peak resident memory of this process since it started, in MiB.

    Not ru_maxrss, which includes the parent's memory at the fork.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return round(int(kib) / 1024, 1)


if __name__ == "__main__":
    guard_descendants()  # otherwise an engine's processes would outlive a measurement that is killed
    target, arguments_json, output = sys.argv[1:]
    module_name, _, function_name = target.partition(":")
    write_json(Path(output), getattr(importlib.import_module(module_name), function_name)(*json.loads(arguments_json)))
