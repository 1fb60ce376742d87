"""The whole circle by one command: personas write, the panel votes, a student is trained; killed twice on the way."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT, Xpoll, in_this_process
from tests.support.synthesis_job import write_synthesis_job
from tests.support.tiny import make_tiny_bert
from xpoll.core.files import read_json
from xpoll.core.record_files import stream_records
from xpoll.core.records import Consensus, Key
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import count_answers, keys_on_disk
from xpoll.pipeline.verification import NOT_VERIFIED
from xpoll.synthesis.texts import read_texts

TIMEOUT_S = 300


def keys(part: RunFolder) -> list[Key]:
    return keys_on_disk(part.completions) if part.completions.exists() else []


def killed_run(job: Path, part: RunFolder, *, at: int) -> set[Key]:
    """Starts `xpoll run`, kills it with SIGKILL once `at` answers are on disk; returns what was there then."""
    output = (job.parent / "output.txt").open("ab")
    command = [sys.executable, "-P", "-m", "xpoll", "run", str(job)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    until_s = time.monotonic() + TIMEOUT_S
    try:
        while count_answers(part.completions) < at:
            said = (job.parent / "output.txt").read_text()[-2000:]
            assert process.poll() is None and time.monotonic() < until_s, said
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return set(keys(part))
    finally:
        process.kill()
        output.close()


@pytest.mark.engine
def test_a_circle_that_is_killed_twice_asks_nothing_twice(tmp_path: Path, xpoll: Xpoll) -> None:
    encoder = make_tiny_bert(tmp_path / "encoder")
    job = write_synthesis_job(tmp_path, count=60)
    slow = "tests.support.writing:SlowWritingBackend"
    text = job.read_text().replace("tests.support.writing:WritingBackend", slow)
    job.write_text(f'{text}\nmax_in_flight = 4\n[student]\nencoder = "{encoder}"\nepochs = 1\nmin_steps = 0\n')
    run = RunFolder(tmp_path / "run")
    written = killed_run(job, run.synthesis_part("round-1"), at=10)
    assert 10 <= len(written) < 60
    polled = killed_run(job, run, at=5)
    assert set(written) <= set(keys(run.synthesis_part("round-1")))
    done = xpoll("run", job, timeout_s=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("starting Ray: done") == 1, "the engine that writes is polled, too"
    assert polled <= set(keys(run)) and len(polled) >= 5
    for part in (run.synthesis_part("round-1"), run):
        assert max(Counter(keys(part)).values()) == 1
    rows = list(read_texts(run.synthesized))
    assert len(rows) == 60 and len(keys(run.synthesis_part("round-1"))) == 60
    kept = [row for row in rows if row.problem is None]
    labels = {row.document_id: row for row in stream_records(run.labels, Consensus)}
    assert {row.id for row in kept} == {name for name, row in labels.items() if row.split == "train"}
    unverified = {name for name, row in labels.items() if row.abstained == NOT_VERIFIED}
    assert unverified == {f"labelled_text-{number}" for number in range(7, 60, 10)}
    assert "wrote in the name of personas, labelled by votes" in (run.student / "README.md").read_text()
    assert read_json(run.evaluation)["gold_rows"] == 20 and run.report.exists()
    stages = [entry["stage"] for entry in read_json(run.stages)]
    assert stages.count("synthesize") == 2 and "poll" in stages, stages
    assert "nothing left to do" in in_this_process(["run", str(job)], ROOT).stderr
