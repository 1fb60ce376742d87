"""What of a run is done, and what no longer fits. Starts nothing."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xpoll.core.files import write_text
from xpoll.core.run_folder import RunFolder, check_writable
from xpoll.engine.journal.session import is_settled
from xpoll.engine.planning.plan import read_plan
from xpoll.pipeline.steps import STEPS


def is_done(name: str, folder: RunFolder) -> bool:
    """A step is done when all it makes is there; a poll, when every document of its plan is settled."""
    if name == "poll":
        return folder.plan.exists() and is_settled(folder.engine, read_plan(folder.plan).to_settle)
    return all((folder.path / output).exists() for output in STEPS[name].outputs)


def remove_after(folder: RunFolder, name: str) -> None:
    """Removes what later steps made from the outputs of this one, because it no longer fits them."""
    for output in _made_after(folder, name):
        _remove(output)


@contextmanager
def removed_after(folder: RunFolder, name: str) -> Iterator[None]:
    """Runs a step in place of `remove_after`: if it fails or is stopped, later outputs and config are as before.

    They are moved aside while it runs: should it be killed, nothing is in place that fits an older output of the step.
    """
    check_writable(folder.path)
    aside, config = folder.path / ".before", folder.config.read_text(encoding="utf-8")
    _remove(aside)
    aside.mkdir()
    try:
        for output in _made_after(folder, name):
            if output.exists():
                output.rename(aside / output.name)
        yield
    except BaseException:
        for output in aside.iterdir():
            output.rename(folder.path / output.name)
        write_text(folder.config, config)
        raise
    finally:
        _remove(aside)


def _made_after(folder: RunFolder, name: str) -> list[Path]:
    later = list(STEPS)[list(STEPS).index(name) + 1 :]
    return [folder.path / output for step in later for output in STEPS[step].outputs]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
