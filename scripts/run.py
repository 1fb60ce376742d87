"""`xpoll run` and its steps: each is timed and measured, and what is done already is not done again."""

import json
import logging
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from core.config import Config
from core.run_folder import RunFolder, open_run_folder
from scripts.measure import measured
from scripts.planning import check_inputs
from scripts.run_state import STEPS, is_done, removed_after, require_one_label
from scripts.show_run import show_metrics
from scripts.steps import RUN


def whole_path(config: Config, *, as_json: bool) -> int:
    """Every step that is not done, then the figures."""
    require_one_label(config, "student")
    inputs = check_inputs(config)
    folder = open_run_folder(config)
    log_to(folder.log)
    todo = [name for name in STEPS if not is_done(name, folder, inputs)]
    if not todo:
        print(f"nothing left to do in {folder.path}", file=sys.stderr)
    for name in STEPS:
        # Looked at again for each: a poll that asked something removes what was made before.
        if not is_done(name, folder, inputs):
            _timed(name, config, folder)
    return show_metrics(folder, as_json=as_json)


def one_step(name: str, config: Config, as_json: bool) -> int:
    """One step, done already or not; what later steps made of it is removed, unless it fails."""
    step = STEPS[name]
    folder = RunFolder(Path(config.job.run_folder))
    if name == "poll":
        check_inputs(config)
        removed: AbstractContextManager[None] = nullcontext()  # it removes them itself, and only if it asked something
    else:
        folder.require(folder.plan, step="poll")
        removed = removed_after(folder, name)
    with removed:
        open_run_folder(config, may_change=step.own_sections)
        log_to(folder.log)
        _timed(name, config, folder)
    made: dict[str, Any] = {"step": name, "outputs": [str(folder.path / output) for output in step.outputs]}
    print(json.dumps(made) if as_json else f"{name}: wrote {', '.join(made['outputs'])}")
    return 0


def log_to(path: Path) -> None:
    """Sends this process's log to a file."""
    form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(filename=path, level=logging.INFO, format=form, force=True)


def _timed(name: str, config: Config, folder: RunFolder) -> None:
    started_s = time.monotonic()
    with measured(name, config, folder):
        RUN[name](config, folder)
    logging.info("%s done in %.1f s", name, time.monotonic() - started_s)
