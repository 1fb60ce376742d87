"""`xpoll run` and its steps: each is timed and measured, and what is done already is not done again."""

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from xpoll.core.config.job import Config
from xpoll.core.config.teachers import teachers_of
from xpoll.core.log import LOGGER, log_to
from xpoll.core.progress import say
from xpoll.core.run_folder import RunFolder, open_run_folder
from xpoll.engine.lifetime import shared_engines
from xpoll.pipeline import causal_lm
from xpoll.pipeline.asking import groups_of
from xpoll.pipeline.measure import measured
from xpoll.pipeline.prepare import check_before_texts, prepare
from xpoll.pipeline.state import is_done, remove_after, removed_after, require_agreement, require_fitting
from xpoll.pipeline.steps import STEPS, score_teacher
from xpoll.pipeline.synthesize import synthesize
from xpoll.votes.check import check_votes


def whole_path(config: Config, *, until: str = "report") -> tuple[RunFolder, list[str]]:
    """Runs every step that is not done.

    Args:
        config: The job.
        until: The last step.

    Returns:
        The run's folder, and the names of the steps that were run; none where nothing was left to do.
    """
    steps = list(STEPS)[: list(STEPS).index(until) + 1]
    ran = []
    with _shared_engines(config):
        if config.synthesis.count and config.documents.path:
            say("documents.path names the texts, so [synthesis] writes none")
        elif config.synthesis.count:
            check_before_texts(config)
            ran = ["synthesize"] if synthesize(config).is_new else []
        if not config.student.is_generative:
            prepared = prepare(config, whole=True)
            folder = prepared.folder
            log_to(folder.log)
            if "poll" in steps and not prepared.is_settled:
                run_step("poll", config, folder)
                ran.append("poll")
    if config.student.is_generative:
        folder, more = causal_lm.whole_path(config)
        return folder, [*ran, *more]
    for name in steps:
        # Looked at again for each: a poll that asked something removes what was made before.
        if name != "poll" and not is_done(name, folder):
            run_step(name, config, folder)
            ran.append(name)
    return folder, ran


def _shared_engines(config: Config) -> AbstractContextManager[None]:
    """The engine that writes a job's texts is polled about them, unless processes of their own ask the teachers."""
    writes = config.synthesis.count and not config.documents.path and not config.student.is_generative
    return shared_engines(config.engine) if writes and len(groups_of(teachers_of(config))) == 1 else nullcontext()


def report_of(config: Config) -> RunFolder:
    """The run's folder with an up-to-date report: of the labels, and of the student where one was trained.

    Raises:
        ConfigError: texts of the job's kind of task do not get one label each.
        RunFolderError: nothing was voted on yet.
    """
    folder = RunFolder(Path(config.job.run_folder))
    if not is_done("report", folder):
        if not folder.evaluation.exists() and config.documents.gold_path:
            if folder.student.exists():
                one_step("evaluate", config)
            else:
                score_teacher(config, folder)
        one_step("report", config)
    return folder


def one_step(name: str, config: Config) -> list[Path]:
    """Runs one step, done already or not; what later steps made of it is removed, unless it fails.

    Returns:
        What it wrote.
    """
    if config.student.is_generative:
        return causal_lm.one_step(name, config)
    step = STEPS[name]
    folder = RunFolder(Path(config.job.run_folder))
    if name == "poll":
        prepare(config)
        log_to(folder.log)
        run_step(name, config, folder)
        return [poll.path / output for poll in folder.polls().values() for output in step.outputs]
    check_votes(config)
    for poll in folder.polls().values():
        folder.require(poll.plan, step="poll")
    require_fitting(config, folder, name)
    require_agreement(folder, name)
    with removed_after(folder, name):
        open_run_folder(config, may_change=step.own_sections)
        log_to(folder.log)
        run_step(name, config, folder)
    return [folder.path / output for output in step.outputs]


def run_step(name: str, config: Config, folder: RunFolder) -> None:
    """Runs one step, measured; removes what later steps made of what it has changed."""
    started_s = time.monotonic()
    with measured(name, config, folder):
        changed = STEPS[name].function(config, folder)
    if changed:
        remove_after(folder, name)
    LOGGER.info("%s done in %.1f s", name, time.monotonic() - started_s)
