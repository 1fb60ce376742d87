"""`xpoll run` and its steps: each is timed and measured, and what is done already is not done again."""

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from xpoll.core.config import Config
from xpoll.core.progress import say
from xpoll.core.run_folder import RunFolder, open_run_folder
from xpoll.pipeline.measure import measured
from xpoll.pipeline.prepare import check_inputs
from xpoll.pipeline.state import (
    STEPS,
    is_done,
    remove_outdated,
    removed_after,
    require_fitting,
    require_one_label,
)
from xpoll.pipeline.steps import RUN
from xpoll.votes.check import check_votes


def whole_path(config: Config) -> tuple[RunFolder, list[str]]:
    """Runs every step that is not done.

    Returns:
        The run's folder, and the names of the steps that were run; none where nothing was left to do.
    """
    require_one_label(config, "student")
    inputs = check_inputs(config)
    if differing := remove_outdated(config, RunFolder(Path(config.job.run_folder))):
        say(f"what was made with another {', '.join(differing)} is made again")
    folder = open_run_folder(config, may_change=STEPS["vote"].own_sections)
    log_to(folder.log)
    ran = []
    for name in STEPS:
        # Looked at again for each: a poll that asked something removes what was made before.
        if not is_done(name, folder, inputs):
            _timed(name, config, folder)
            ran.append(name)
    return folder, ran


def one_step(name: str, config: Config) -> list[Path]:
    """Runs one step, done already or not; what later steps made of it is removed, unless it fails.

    Returns:
        What it wrote.
    """
    step = STEPS[name]
    folder = RunFolder(Path(config.job.run_folder))
    if name == "poll":
        check_inputs(config)
        ignored = STEPS["vote"].own_sections  # it reads none of them, and what was made with them stays
        removed: AbstractContextManager[None] = nullcontext()  # it removes them itself, and only if it asked something
    else:
        check_votes(config)
        folder.require(folder.plan, step="poll")
        require_fitting(config, folder, name)
        ignored, removed = (), removed_after(folder, name)
    with removed:
        open_run_folder(config, may_change=step.own_sections, ignored=ignored)
        log_to(folder.log)
        _timed(name, config, folder)
    return [folder.path / output for output in step.outputs]


def log_to(path: Path) -> None:
    """Sends this process's log to a file."""
    form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(filename=path, level=logging.INFO, format=form, force=True)


def _timed(name: str, config: Config, folder: RunFolder) -> None:
    started_s = time.monotonic()
    with measured(name, config, folder):
        RUN[name](config, folder)
    logging.info("%s done in %.1f s", name, time.monotonic() - started_s)
