"""Has IPEX's operators timed in an environment of their own: IPEX is pinned to torch 2.8.

The step there makes the same cases and holds its operators against the PyTorch that it finds. It runs when the
other arms are done, so that on a machine whose speed moves its times are minutes apart from theirs.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from xpoll.kernels_bench.arms import CaseRecord, identity
from xpoll.kernels_bench.cases import Case
from xpoll.kernels_bench.wanted import Wanted

STEP = "xpoll.kernels_bench.ipex_step"


def ipex_records(wanted: Wanted, cases: Sequence[Case]) -> Iterator[tuple[Case, CaseRecord]]:
    """Each case that IPEX has an operator for, with its record; the first case alone where there is no IPEX."""
    python = Path(wanted.ipex_python)
    about = {"arm": "ipex", "flop": cases[0].flop, "moved_bytes": cases[0].moved_bytes}
    if not python.exists():
        why = f"{wanted.ipex_python or 'ipex_python'} is not there: make ipex builds it"
        yield cases[0], identity(cases[0]) | about | {"status": "not applicable", "error": why}
        return
    case_of = {tuple(identity(case).values()): case for case in cases}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as asked,  # no pipe: a step may end before it reads one
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
    ):
        json.dump(asdict(wanted), asked)
        asked.seek(0)
        child = subprocess.Popen(
            [str(python), "-I", "-m", STEP], stdin=asked, stdout=subprocess.PIPE, stderr=errors, text=True
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
