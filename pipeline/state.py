"""What of a run is done, and what no longer fits. Starts nothing."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.config.job import Config
from xpoll.core.errors import RunFolderError
from xpoll.core.files import read_object, write_text, writing
from xpoll.core.formatting import counted, number
from xpoll.core.run_folder import RunFolder, changes_no_answer, check_writable
from xpoll.engine.journal.answers import count_answers
from xpoll.engine.journal.sealed import reason_of
from xpoll.engine.journal.session import is_settled, require_whole
from xpoll.engine.planning.plan import read_plan
from xpoll.pipeline.steps import STEPS, Step

Steps = Mapping[str, Step]
"""The steps of a kind of job, by name and in order."""


def is_done(name: str, folder: RunFolder, steps: Steps = STEPS) -> bool:
    """A step is done when all it makes is there; a poll, when every document of its plan is settled."""
    if name == "poll":
        return all(
            poll.plan.exists() and is_settled(poll, read_plan(poll.plan).to_settle) for poll in folder.polls().values()
        )
    there = all((folder.path / output).exists() for output in steps[name].outputs)
    return there and (name != "vote" or unvoted_of(folder) is None)


def unvoted_of(folder: RunFolder) -> str | None:
    """What keeps the votes from being those of the answers on disk, in words; None where they are.

    Every answer has one vote, of a text or of a probe.
    """
    try:
        votes = sum(int(pq.read_metadata(path).num_rows) for path in (folder.votes, folder.probes) if path.exists())
    except (OSError, pa.ArrowException) as error:
        return f"{folder.votes} cannot be read ({reason_of(error)})"
    answers = sum(count_answers(poll.completions) for poll in folder.polls().values())
    return None if votes == answers else f"{folder.votes} has {number(votes)} votes of {counted(answers, 'answer')}"


def require_agreement(folder: RunFolder, name: str) -> None:
    """Refuses to do a step on answers that are not all there, or on votes that are not those of the answers.

    Raises:
        RunFolderError: names the file, and the command that mends it.
    """
    for poll in folder.polls().values():
        require_whole(poll)
    if name != "vote" and folder.votes.exists() and (unvoted := unvoted_of(folder)):
        raise RunFolderError(unvoted, mend=f"xpoll vote {folder.path}")


def later_sections(steps: Steps = STEPS) -> tuple[str, ...]:
    """Sections that only steps read which can be done again: those of the first step that has any of its own."""
    return next(step.own_sections for step in steps.values() if step.own_sections)


def differs_before_votes(config: Config, folder: RunFolder, steps: Steps = STEPS) -> bool:
    """Whether the folder's config differs from this one in what changes the poll's answers."""
    later = later_sections(steps)
    differing = config.differences(read_object(folder.config))
    return any(key.partition(".")[0] not in later and not changes_no_answer(key) for key in differing)


def require_fitting(config: Config, folder: RunFolder, name: str, steps: Steps = STEPS) -> None:
    """Refuses to do a step on what earlier steps made with other values of keys that only they read.

    Raises:
        RunFolderError: names these keys; the poll's answers themselves fit.
    """
    if not folder.config.exists() or differs_before_votes(config, folder, steps):
        return
    unread = {*later_sections(steps)} - {*steps[name].own_sections}
    if other := [key for key in config.differences(read_object(folder.config)) if key.partition(".")[0] in unread]:
        raise RunFolderError(
            f"what {name} reads in {folder.path} was made with another {', '.join(other)}",
            mend="give the same --set here, or have xpoll run make it again",
        )


def remove_outdated(config: Config, folder: RunFolder, steps: Steps = STEPS) -> list[str]:
    """Removes what steps made under other values of the sections that they read, so that they are done again.

    Returns:
        The keys that differ; none where everything fits, or nothing was made yet, or it is another poll's folder.
    """
    if not folder.config.exists() or differs_before_votes(config, folder, steps):
        return []
    differing: dict[str, list[str]] = {}
    for key in config.differences(read_object(folder.config)):
        readers = [name for name, step in steps.items() if key.partition(".")[0] in step.own_sections]
        if readers:
            differing.setdefault(readers[-1], []).append(key)
    outdated = next((name for name in steps if name in differing), None)
    if outdated is None:
        return []
    made = [path for path in _made_by(outdated, folder, steps) + _made_after(folder, outdated, steps) if path.exists()]
    remove_from(folder, outdated, steps)
    return sorted(key for keys in differing.values() for key in keys) if made else []


def remove_after(folder: RunFolder, name: str, steps: Steps = STEPS) -> None:
    """Removes what later steps made from the outputs of this one, because it no longer fits them.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    with writing(folder.path):
        for output in _made_after(folder, name, steps):
            _remove(output)


def remove_from(folder: RunFolder, name: str, steps: Steps = STEPS) -> None:
    """Removes what this step and later ones made, so that they are done again.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    with writing(folder.path):
        for output in _made_by(name, folder, steps) + _made_after(folder, name, steps):
            _remove(output)


@contextmanager
def removed_after(folder: RunFolder, name: str, steps: Steps = STEPS) -> Iterator[None]:
    """Runs a step in place of `remove_after`: if it fails or is stopped, later outputs and config are as before.

    They are moved aside while it runs: should it be killed, nothing is in place that fits an older output of the step.

    Raises:
        RunFolderError: the folder cannot be written; where it cannot be written any more when the step fails, later
            outputs stay aside.
    """
    check_writable(folder.path)
    aside, config = folder.path / ".before", folder.config.read_text(encoding="utf-8")
    with writing(folder.path):
        _remove(aside)
        aside.mkdir()
    try:
        with writing(folder.path):
            for output in _made_after(folder, name, steps):
                if output.exists():
                    output.rename(aside / output.name)
        yield
    except BaseException:
        with suppress(OSError, RunFolderError):  # the step's own error is the one to tell
            for output in aside.iterdir():
                output.rename(folder.path / output.name)
            write_text(folder.config, config)
            _remove(aside)
        raise
    with writing(folder.path):
        _remove(aside)


def _made_by(name: str, folder: RunFolder, steps: Steps) -> list[Path]:
    return [folder.path / output for output in steps[name].outputs]


def _made_after(folder: RunFolder, name: str, steps: Steps) -> list[Path]:
    later = list(steps)[list(steps).index(name) + 1 :]
    return [folder.path / output for step in later for output in steps[step].outputs]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
