"""Times IPEX's operators in an environment of their own, because IPEX is pinned to torch 2.8.

The subprocess there makes the same cases and checks its operators against that environment's PyTorch. It runs
after the other arms, so on a machine with varying speed its times are minutes apart from theirs.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from xpoll.kernels_bench.arms import CaseRecord, identity
from xpoll.kernels_bench.cases import Case
from xpoll.kernels_bench.selection import CaseSelection

STEP = "xpoll.kernels_bench.ipex_step"


def ipex_records(selection: CaseSelection, cases: Sequence[Case]) -> Iterator[tuple[Case, CaseRecord]]:
    """Cases and records of all cases that IPEX has an operator for.

    Without IPEX, or where the subprocess fails, the first case with a record that has the reason.

    Args:
        selection: The cases of the run.
        cases: The same cases, as `cases_of` makes them.
    """
    python = Path(selection.ipex_python)
    about = {"arm": "ipex", "flop": cases[0].flop, "moved_bytes": cases[0].moved_bytes}
    if not python.exists():
        why = f"{selection.ipex_python or 'ipex_python'} does not exist: make ipex builds it"
        yield cases[0], identity(cases[0]) | about | {"status": "not applicable", "error": why}
        return
    case_of = {tuple(identity(case).values()): case for case in cases}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as stdin,  # no pipe: the subprocess may end before it reads one
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
    ):
        json.dump(asdict(selection), stdin)
        stdin.seek(0)
        child = subprocess.Popen(
            [str(python), "-I", "-m", STEP], stdin=stdin, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert child.stdout
        try:
            for line in child.stdout:
                if line.startswith("{"):  # IPEX prints warnings of its own
                    record = json.loads(line)
                    yield case_of[tuple(record[name] for name in identity(cases[0]))], record
            code = child.wait()
        finally:
            child.kill()
            child.stdout.close()
        if code:
            errors.seek(0)
            last = errors.read().strip().splitlines()[-1:] or [f"exit code {code}"]
            yield cases[0], identity(cases[0]) | about | {"status": "failed", "error": last[0][:200]}
