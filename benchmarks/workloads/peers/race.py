"""One run of an arm: its files, its process, and the record of what came out."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from xpoll.benchmarks.runner.records import Record
from xpoll.benchmarks.workloads.peers.arms import Arm
from xpoll.benchmarks.workloads.peers.environments import interpreter_of, variables_of, version_of
from xpoll.benchmarks.workloads.peers.labelling import LabellingJob, PeerEngine, write_job
from xpoll.benchmarks.workloads.peers.outcome import PeerOutcome, outcome_of, read_answers, right_of
from xpoll.benchmarks.workloads.peers.watched import PeerProcess, Watched
from xpoll.core.errors import UserError
from xpoll.core.machine.environment import quiet_libraries

LINE_CHARACTERS = 300
_ERROR = re.compile(r"(^|\s|[.\w]+)(\w*Error|\w*Exception|ERROR)\b.*")


class PeerFolder(NamedTuple):
    """An arm's job in its folder, to be run once or, after a fault, again.

    Attributes:
        arm: The arm.
        job: The job.
        folder: Of its files.
        further: Variables to set for its process.
    """

    arm: Arm
    job: LabellingJob
    folder: Path
    further: dict[str, str]

    @property
    def log(self) -> Path:
        """What its processes print."""
        return self.folder / "log.txt"

    @property
    def command(self) -> list[str]:
        """What is run."""
        return [str(interpreter_of(self.arm.peer)), str(self.arm.peer.script), str(self.folder)]

    def start(self) -> PeerProcess:
        """Runs the command.

        Raises:
            EngineError: its environment cannot be made.
        """
        environment = variables_of(self.arm.peer, self.further)
        return PeerProcess(self.command, self.folder / "answers.jsonl", environment, self.log)

    def num_lines(self) -> int:
        """Answers on disk so far."""
        return (self.folder / "answers.jsonl").read_bytes().count(b"\n")

    def outcome(self) -> PeerOutcome:
        """What has been answered so far."""
        job, answers = self.job, read_answers(self.folder / "answers.jsonl")
        samples, needed = self.arm.answers_of(job.samples)
        return outcome_of(answers, job.row_ids, job.rows.labels, samples=samples, needed=needed)


@contextmanager
def peer_folder(job: LabellingJob, arm: Arm, engine: PeerEngine, key: str = "") -> Iterator[PeerFolder]:
    """A new folder with the files of a job, removed afterwards.

    Args:
        job: The job.
        arm: Who does it.
        engine: What answers.
        key: The endpoint's.
    """
    quiet_libraries()
    with tempfile.TemporaryDirectory(prefix="xpoll-peer-", ignore_cleanup_errors=True) as root:
        folder = Path(root) / "job"
        write_job(job, arm, engine, folder)
        yield PeerFolder(arm, job, folder, {"OPENAI_API_KEY": key} if key else {})


def run_once(
    job: LabellingJob, arm: Arm, engine: PeerEngine, *, timeout_s: float, key: str = ""
) -> tuple[Record, dict[str, str | None]]:
    """The record of one run, and the label of each row; a peer that fails is a record with its reason.

    Args:
        job: The job.
        arm: Who does it.
        engine: What answers.
        timeout_s: After how long it is ended.
        key: The endpoint's.
    """
    try:
        with peer_folder(job, arm, engine, key) as place:
            watched = place.start().watch(timeout_s)
            outcome = place.outcome()
            if watched.code != 0 or not outcome.answers:
                return failed(arm, why_failed(watched, place.log)), {}
    except UserError as error:
        return failed(arm, one_line(str(error))), {}
    sentences = len(job.row_ids)
    record = {
        "version": version_of(arm.peer),
        "status": "ok",
        "same_work": arm.same_work,
        "sentences": sentences,
        "wall_s": watched.wall_s,
        "documents_per_s": round(sentences / watched.wall_s, 4),
        "first_answer_s": watched.first_answer_s,
        "memory_mib": watched.memory_mib,
        "answers": outcome.answers,
        "missing": outcome.missing,
        "doubled": outcome.doubled,
        "unparsable": outcome.unparsable,
        "accuracy": round(right_of(outcome.labels, job.rows) / sentences, 4),
        "processes_left": watched.processes_left,
    }
    return record, outcome.labels


def why_failed(watched: Watched, log: Path) -> str:
    """Why a run failed, in one line."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if _ERROR.search(line)), lines[-1] if lines else "no output")
    if watched.code is None:
        return one_line(f"not over after {watched.wall_s:.0f} s; it last said: {lines[-1] if lines else 'nothing'}")
    return one_line(f"exit code {watched.code}: {said}")


def failed(arm: Arm, why: str) -> Record:
    """The record of a run that gave nothing."""
    return {"version": version_of(arm.peer), "status": "failed", "same_work": arm.same_work, "error": why}


def one_line(text: str) -> str:
    """A message without line breaks and folders of this machine, cut where it is long."""
    line = " ".join(text.split()).replace(str(Path.home()), "~").replace(tempfile.gettempdir() + os.sep, "")
    return line if len(line) <= LINE_CHARACTERS else line[: LINE_CHARACTERS - 3] + "..."


def alternating_runs(
    arms: Sequence[Arm], repeats: int, run: Callable[[Arm], tuple[Record, dict[str, str | None]]]
) -> Iterator[tuple[Record, dict[str, str | None]]]:
    """Runs A B, B A, A B, ...; an arm that failed is not run again.

    Args:
        arms: The arms.
        repeats: How often each.
        run: One run of an arm.

    Yields:
        Record, with `arm` and `repeat`, and labels of each run.
    """
    failed: set[str] = set()
    for repeat in range(repeats):
        for arm in list(arms)[:: -1 if repeat % 2 else 1]:
            if arm.name not in failed:
                record, labels = run(arm)
                if record["status"] == "failed":
                    failed.add(arm.name)
                yield {"arm": arm.name, "repeat": repeat, **record}, labels
