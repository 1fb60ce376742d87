"""The steps of a job whose student is a causal language model: its rows have completions, so nobody is polled.

train     rows with completions                    -> examples.parquet, student/
evaluate  examples.parquet, student/               -> evaluation.json
report    training.json, evaluation.json           -> metrics.json, report.html, the student's card
"""

import time
from pathlib import Path

from xpoll.core.config.job import Config
from xpoll.core.files import write_json
from xpoll.core.log import LOGGER, log_to
from xpoll.core.machine.environment import capture
from xpoll.core.models import needs_preparation, resolve_model
from xpoll.core.progress import Waiting, say
from xpoll.core.run_folder import RunFolder, made_or_removed, open_run_folder
from xpoll.pipeline.measure import measured
from xpoll.pipeline.state import is_done, remove_after, remove_from, remove_outdated, removed_after, require_fitting
from xpoll.pipeline.steps import Step
from xpoll.student.causal_lm.examples import notes, read_examples, write_examples, written_examples
from xpoll.student.causal_lm.train import check_causal, train_causal
from xpoll.votes.check import require_panel


def whole_path(config: Config) -> tuple[RunFolder, list[str]]:
    """Runs every step that is not done.

    Returns:
        The run's folder, and the names of the steps that were run.
    """
    folder = prepare_rows(config, whole=True)
    log_to(folder.log)
    ran = []
    for name in CAUSAL_STEPS:
        if not is_done(name, folder, CAUSAL_STEPS):
            _run(name, config, folder)
            ran.append(name)
    return folder, ran


def one_step(name: str, config: Config) -> list[Path]:
    """Runs one step, done already or not; what later steps made of it is removed, unless it fails.

    Returns:
        What it wrote.

    Raises:
        ConfigError: there is no such step in such a job.
    """
    if name not in CAUSAL_STEPS:
        require_panel(config)
    folder = RunFolder(Path(config.job.run_folder))
    if name == "train" and not folder.config.exists():
        folder = prepare_rows(config, whole=False)
        _run(name, config, folder)
    else:
        folder.require(folder.config, step="train")
        require_fitting(config, folder, name, CAUSAL_STEPS)
        with removed_after(folder, name, CAUSAL_STEPS):
            open_run_folder(config, may_change=CAUSAL_STEPS[name].own_sections)
            if name == "train":
                prepare_rows(config, whole=False)
            log_to(folder.log)
            _run(name, config, folder)
    return [folder.path / output for output in CAUSAL_STEPS[name].outputs]


def prepare_rows(config: Config, *, whole: bool) -> RunFolder:
    """Finds every mistake that can be found before a model is loaded, then makes or reopens the run folder.

    Args:
        config: The job.
        whole: Whether every later step follows: what was made with other values of the sections that these read is
            removed.

    Raises:
        UserError: whatever is wrong with the job; the run folder is then as it was, or not there.
    """
    folder = RunFolder(Path(config.job.run_folder))
    check_causal(config.student)
    with made_or_removed(folder.path):
        examples = read_examples(config.texts, held_out=config.student.held_out)
        for line in notes(examples):
            say(line)
        if needs_preparation(config.student.model):
            with Waiting(f"preparing {config.student.model} (once)", usual_s=30):
                resolve_model(config.student.model, key="student.model")
        resolve_model(config.student.model, key="student.model")
        if whole and (differing := remove_outdated(config, folder, CAUSAL_STEPS)):
            say(f"what was made with another {', '.join(differing)} is made again")
        open_run_folder(config, may_change=CAUSAL_STEPS["train"].own_sections)
        if not folder.examples.exists() or written_examples(folder.examples) != examples:
            write_examples(folder.examples, examples)
            if whole and folder.student.exists():
                say("the rows have changed: the student is trained again")
                remove_from(folder, "train", CAUSAL_STEPS)
    write_json(folder.environment, capture())
    return folder


def _run(name: str, config: Config, folder: RunFolder) -> None:
    """Runs one step, measured; removes what later steps made of what it has changed."""
    started_s = time.monotonic()
    with measured(name, config, folder):
        CAUSAL_STEPS[name].function(config, folder)
    remove_after(folder, name, CAUSAL_STEPS)
    LOGGER.info("%s done in %.1f s", name, time.monotonic() - started_s)


def _train(config: Config, folder: RunFolder) -> bool:
    train_causal(written_examples(folder.examples), config=config.student, seed=config.job.seed, output=folder.student)
    return True


def _evaluate(config: Config, folder: RunFolder) -> bool:
    from xpoll.student.causal_lm.evaluate import evaluate_causal

    student = folder.require(folder.student, step="train")
    found = evaluate_causal(written_examples(folder.examples), student, config=config.student)
    write_json(folder.evaluation, found.as_json())
    return True


def _report(config: Config, folder: RunFolder) -> bool:
    from xpoll.report.causal_lm import collect_causal_metrics, write_causal_report
    from xpoll.student.causal_lm.card import write_causal_card

    folder.require(folder.student, step="train")
    metrics = collect_causal_metrics(folder, config.report)
    write_json(folder.metrics, metrics.as_json())
    write_causal_report(folder)
    write_causal_card(folder.student, config.resolved(), metrics.evaluation)
    return True


CAUSAL_STEPS: dict[str, Step] = {
    "train": Step(_train, ("student",), ("student", "engine", "report")),
    "evaluate": Step(_evaluate, ("evaluation.json",), ("engine", "report")),
    "report": Step(_report, ("metrics.json", "report.html"), ("engine", "report")),
}
"""In order. [engine] says how the student is served, and changes nothing of what is made here."""
