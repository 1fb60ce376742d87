"""The paths of a run's files, and whether a config may use a folder.

The folder is also the debugging tool: every step reads and writes files in it, so each step can be run
alone and every intermediate result can be opened with any Parquet or JSON reader.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from xpoll.core.config.job import Config, Root
from xpoll.core.config.synthesis import SYNTHESIZED
from xpoll.core.errors import RunFolderError
from xpoll.core.files import read_object, write_json, writing

WHERE_AND_HOW = frozenset(
    {
        "job.run_folder",
        "engine.address",
        "engine.replicas",
        "engine.max_in_flight",
        "engine.start_timeout_s",
        "engine.hang_timeout_s",
        "engine.max_restarts",
    }
)
"""Keys that change no answer, so that a run can resume elsewhere, e.g. on a cluster or in a copy of its folder."""


PARQUET = b"PAR1"
TEACHERS = "teachers"
"""Folder of the teachers' folders."""
HANDED_OVER = ("texts.parquet", "gold.parquet")
"""Texts that a Python caller had in memory; the job's [documents] name them."""
REPLIES = "replies"
"""Folder, in that of SYNTHESIS, of the replies to texts that are prompts."""
SYNTHESIS = "synthesis"
"""Folder of what texts were asked for with, and of the answers."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths inside one run folder."""

    path: Path

    @property
    def config(self) -> Path:
        """Every config key with its value."""
        return self.path / "config.resolved.json"

    @property
    def environment(self) -> Path:
        """Versions, machine and commit; see `core.environment.capture`."""
        return self.path / "environment.json"

    @property
    def plan(self) -> Path:
        """What the poll was planned to do, in which order of prompts."""
        return self.path / "plan.json"

    @property
    def synthesis(self) -> Path:
        """Folder of what texts were asked for with, and of the answers; only where the config has [synthesis]."""
        return self.path / SYNTHESIS

    @property
    def synthesized(self) -> Path:
        """Every text that was asked for, with its problem where it is not kept."""
        return self.path / SYNTHESIZED

    @property
    def synthesis_figures(self) -> Path:
        """What of the texts was kept, and how far they differ."""
        return self.path / "synthesis.json"

    @property
    def documents(self) -> Path:
        """The input as it was read and checked, once: id, text, split, gold label, problem."""
        return self.path / "documents.parquet"

    @property
    def examples(self) -> Path:
        """In place of documents, of a job whose student writes: prompts, completions, split, problem."""
        return self.path / "examples.parquet"

    @property
    def panel(self) -> Path:
        """The personas: ids, texts and sources, written once by the poll."""
        return self.path / "panel.json"

    @property
    def completions(self) -> Path:
        """Folder of the journal and its Parquet parts."""
        return self.path / "completions"

    @property
    def engine(self) -> Path:
        """The engine's device, times and rates; summed over resumed runs."""
        return self.path / "engine.json"

    @property
    def load(self) -> Path:
        """JSON lines: each worker's queue, batch and tokens, every few seconds."""
        return self.path / "load.jsonl"

    @property
    def stages(self) -> Path:
        """Wall time and energy of each step."""
        return self.path / "stages.json"

    @property
    def votes(self) -> Path:
        """One vote per completion."""
        return self.path / "votes.parquet"

    @property
    def probes(self) -> Path:
        """Votes about the texts of `panel.content_free`; only where the config has any."""
        return self.path / "probes.parquet"

    @property
    def labels(self) -> Path:
        """The consensus of each document."""
        return self.path / "labels.parquet"

    @property
    def review(self) -> Path:
        """The audit sample and people's labels for it; no step removes it."""
        return self.path / "review.json"

    @property
    def student(self) -> Path:
        """Folder of the trained student."""
        return self.path / "student"

    @property
    def evaluation(self) -> Path:
        """Scores of student and teacher on the gold rows."""
        return self.path / "evaluation.json"

    @property
    def metrics(self) -> Path:
        """All figures of the report."""
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """The report as one page."""
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        """What the engine and its workers wrote."""
        return self.path / "xpoll.log"

    def synthesis_part(self, name: str) -> "RunFolder":
        """The folder of one round of texts, or of replies, with its answers and engine as a run folder has them."""
        return RunFolder(self.synthesis / name)

    def synthesis_parts(self) -> "list[RunFolder]":
        """The rounds of texts that were begun, in their order, and the replies."""
        rounds = sorted(self.synthesis.glob("round-*"), key=lambda path: (len(path.name), path.name))
        return [RunFolder(path) for path in (*rounds, self.synthesis / REPLIES) if path.is_dir()]

    @property
    def is_generative(self) -> bool:
        """Whether it is of a job whose student writes completions, so that nobody is polled."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # not a run, or not even whole
            return bool(read_object(self.config)["student"].get("kind") == "causal-lm")
        return False

    def teacher(self, name: str) -> "RunFolder":
        """The folder of a teacher, with its plan, panel, answers and engine as a run folder has them."""
        return RunFolder(self.path / TEACHERS / name)

    def polls(self) -> "dict[str | None, RunFolder]":
        """Where answers lie, by teacher: this folder, under None, or that of each of the run's [[teachers]]."""
        named = read_object(self.config).get("teachers") if self.config.exists() else None
        return {each["name"]: self.teacher(each["name"]) for each in named or []} or {None: self}

    @property
    def asks_again(self) -> str:
        """The command that asks what has no answer in this folder, of a run, a teacher or a batch."""
        if self.path.parent.name == SYNTHESIS:
            return f"xpoll synthesize {self.path.parent.parent}"
        run = self.path.parent.parent if self.path.parent.name == TEACHERS else self.path
        with suppress(OSError, ValueError, KeyError, TypeError):  # not a batch, or not even whole
            config = read_object(self.config)
            return f"xpoll batch {config['input']} {config['output']} --run-folder {run}"
        return f"xpoll poll {run}"

    def require(self, path: Path, *, step: str) -> Path:
        """`path`, if it exists.

        Args:
            path: A file or folder of the run.
            step: The command that makes it, for the error.

        Raises:
            RunFolderError: it does not exist, or is a Parquet file that was cut.
        """
        if not path.exists():
            raise RunFolderError(f"{path} is not there yet", mend=f"run the step before it: xpoll {step}")
        if path.suffix == ".parquet" and not _is_parquet(path):
            raise RunFolderError(f"{path} is no whole Parquet file", mend=f"make it again: xpoll {step} {self.path}")
        return path


def open_run_folder(config: Config, *, may_change: tuple[str, ...] = (), ignored: tuple[str, ...] = ()) -> RunFolder:
    """Makes the folder of a job or reopens it for the same config; see `open_folder`."""
    path = Path(config.job.run_folder)
    return open_folder(path, config, may_change=may_change, ignored=ignored, key="job.run_folder")


def open_folder(
    path: Path, config: Root, *, key: str, may_change: tuple[str, ...] = (), ignored: tuple[str, ...] = ()
) -> RunFolder:
    """Makes a run folder or reopens it for the same config.

    Args:
        path: The folder.
        config: What is about to be run.
        key: Config key or argument that names the folder, for errors.
        may_change: Sections that may differ from the folder's, because only steps that will be done
            again read them; the folder's config is then replaced.
        ignored: Sections that may differ because only later steps read them; where one does, the folder's config
            stays as it is, because it says how what is there was made.

    Raises:
        RunFolderError: it cannot be written, or holds a run of another config; the error names the keys that differ.
    """
    folder = RunFolder(path)
    changed: list[str] = []
    if folder.config.exists():
        changed = config.differences(read_object(folder.config))
        sections = {*may_change, *ignored}
        differing = [key for key in changed if key.partition(".")[0] not in sections and not changes_no_answer(key)]
        if differing:
            shown = ", ".join(differing)
            raise RunFolderError(
                f"{folder.path} holds a run of another config; keys that differ: {shown}",
                mend=f"set {key} to another folder, or delete this one",
            )
    elif folder.path.exists() and (not folder.path.is_dir() or _holds_files(folder.path)):
        raise RunFolderError(
            f"{folder.path} is there but is no run folder (it has no {folder.config.name})",
            mend=f"set {key} to another folder",
        )
    check_writable(folder.path)
    if not folder.config.exists() or (changed and not any(key.partition(".")[0] in ignored for key in changed)):
        write_json(folder.config, config.resolved())
    return folder


def changes_no_answer(key: str) -> bool:
    """Whether a key, of the job or of a teacher (`teachers.NAME.engine...`), only says where and how is computed."""
    of_teacher = next((known for known in WHERE_AND_HOW if key.endswith(f".{known}")), None)
    return key in WHERE_AND_HOW or (key.startswith(f"{TEACHERS}.") and of_teacher is not None)


def _is_parquet(path: Path) -> bool:
    """Whether it begins and ends as Parquet files do."""
    with path.open("rb") as file:
        begin = file.read(len(PARQUET))
        file.seek(-min(len(PARQUET), path.stat().st_size), os.SEEK_END)
        return begin == PARQUET and file.read() == PARQUET


def _holds_files(folder: Path) -> bool:
    """Whether there is more than texts that were handed over, and files of a run that was killed before it began."""
    names = {each.name for each in folder.iterdir()} - set(HANDED_OVER)
    return any(not (name.startswith(".") and name.endswith(".tmp")) for name in names)


@contextmanager
def made_or_removed(folder: Path) -> Iterator[None]:
    """Makes `folder` for the block; if that fails, folders that were not there before are removed again.

    Raises:
        RunFolderError: it cannot be made or written.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        check_writable(folder)
        yield
    except BaseException:
        for each in missing:
            with suppress(OSError):  # not made, or already in use by another process
                each.rmdir()
        raise


def check_writable(folder: Path) -> None:
    """Makes `folder` and writes a small file into it, so that a full or read-only disk is found before any work.

    Raises:
        RunFolderError: it cannot be made or written to.
    """
    probe = folder / f".probe.{os.getpid()}.tmp"  # where it stays, it is no file of a run
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
