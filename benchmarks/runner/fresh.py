"""One measurement in a process of its own: clean memory figures, and an environment set before it starts.

The parent names a function and gives it its arguments as JSON; the child writes the record it returns
as JSON into a file. What the child prints goes to the parent's stderr, or to a log.
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
from xpoll.core.processes import guard_descendants, guard_processes


def in_fresh_process(
    function: Callable[..., Record],
    *arguments: Any,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Record:
    """What the function returns, called in a new Python process that ends with this one.

    Args:
        function: A function of a module's top level.
        arguments: Plain JSON values.
        environment: Variables to set beside those of this process.
        log: File that gets what the child prints; without it that goes to stderr.

    Raises:
        EngineError: the child failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "record.json"
        call = [f"{function.__module__}:{function.__name__}", json.dumps(arguments), str(result)]
        with (log or Path(os.devnull)).open("ab") as printed:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "xpoll.benchmarks.runner.fresh", *call],
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

    Not ru_maxrss: that begins with what the parent had when it forked.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return round(int(kib) / 1024, 1)


if __name__ == "__main__":
    guard_descendants()  # an engine's own processes would outlive a measurement that is killed
    target, arguments_json, output = sys.argv[1:]
    module_name, _, function_name = target.partition(":")
    write_json(Path(output), getattr(importlib.import_module(module_name), function_name)(*json.loads(arguments_json)))
