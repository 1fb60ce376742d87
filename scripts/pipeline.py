"""The steps of a run, in order. Each reads and writes files of the run folder and can be run alone.

    poll      documents, personas  -> completions/
    vote      completions/         -> votes.parquet, labels.parquet
    train     labels.parquet       -> student/
    evaluate  labels, student/     -> evaluation.json
    report    all of it            -> metrics.json, report.html

Heavy packages are imported inside the step that needs them, so that planning, voting and reporting
start at once.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from core.config import Config
from core.environment import capture
from core.errors import RunFolderError
from core.files import read_json, write_json, write_table
from core.models import needs_preparation, resolve_model
from core.progress import Waiting, counted
from core.records import CONSENSUS_SCHEMA, VOTE_SCHEMA, Document, Prompt, to_table, with_labels
from core.run_folder import RunFolder
from engine.backends import LOADS_MODEL, check_backend
from engine.devices import find_devices
from engine.journal import count_answers, read_completions
from engine.plan import make_plan
from engine.session import is_settled
from personas.documents import check_ids, stream_documents
from personas.panel import load_panel
from personas.parse import to_vote
from personas.prompts import build_prompts
from personas.review.sample import answers_of, read_review
from personas.stop import stop_rule
from personas.vote import consensus_of


def check_inputs(config: Config) -> None:
    """Finds every mistake that can be found before a run folder is made; prepares a packaged model."""
    check_backend(config.engine.backend)
    load_panel(config.panel.personas)
    find_devices(config.engine.device, config.engine.replicas)
    check_ids(config.documents, list(config.task.labels))
    resolve_model(config.student.encoder, key="student.encoder")
    if config.engine.backend not in LOADS_MODEL:
        return
    if needs_preparation(config.engine.model):
        with Waiting(f"preparing {config.engine.model} (once)", usual_s=30):
            resolve_model(config.engine.model, key="engine.model")
    else:
        resolve_model(config.engine.model, key="engine.model")


def plan(config: Config) -> dict[str, Any]:
    """What `poll` will do, as plain JSON types; writes nothing."""
    check_backend(config.engine.backend)
    counts = check_ids(config.documents, list(config.task.labels))
    devices = find_devices(config.engine.device, config.engine.replicas)
    return make_plan(
        _prompts(config),
        documents=sum(counts.values()),
        asked_each=len(config.panel.personas) * config.panel.samples,
        config=config.engine,
        devices=devices,
    )


def poll(config: Config, folder: RunFolder) -> None:
    from engine.run import Job, answer_prompts
    from engine.work import NeverStop

    made = plan(config)
    write_json(folder.plan, made)
    write_json(folder.environment, capture())
    asked_each = len(config.panel.personas) * config.panel.samples
    job = Job(_prompts(config), made["documents"], asked_each, stop_rule(config) or NeverStop())
    if answer_prompts(job, config=config.engine, folder=folder):
        remove_after(folder, "poll")


def vote(config: Config, folder: RunFolder) -> None:
    answered = count_answers(folder.completions)
    if not is_settled(folder.engine):
        wanted = read_json(folder.require(folder.plan, step="poll"))["prompts"]
        raise RunFolderError(
            f"the poll is not finished: {answered} answers are there, up to {wanted} are wanted",
            mend=f"xpoll poll {folder.path}",
        )
    labels = list(config.task.labels)
    completions = counted(read_completions(folder.completions), "reading answers", total=answered, unit="answers")
    votes = [to_vote(completion, labels) for completion in completions]
    write_table(folder.votes, to_table(votes, with_labels(VOTE_SCHEMA, labels)))
    reviewed = answers_of(read_review(folder.review))
    consensus = consensus_of(_documents(config), votes, config, reviewed=reviewed)
    write_table(folder.labels, to_table(consensus, with_labels(CONSENSUS_SCHEMA, labels)))


def train(config: Config, folder: RunFolder) -> None:
    from student.dataset import read_labels
    from student.train import train_student

    consensus, labels = read_labels(folder.require(folder.labels, step="vote"))
    train_student(consensus, labels, config=config.student, seed=config.job.seed, output=folder.student)


def evaluate(config: Config, folder: RunFolder) -> None:
    from student.dataset import read_labels
    from student.evaluate import evaluate as scores_of
    from student.predict import StudentModel

    consensus, labels = read_labels(folder.require(folder.labels, step="vote"))
    student = StudentModel(folder.require(folder.student, step="train"))
    write_json(folder.evaluation, scores_of(consensus, labels, student))


def report(config: Config, folder: RunFolder) -> None:
    from benchmarks.metrics import collect_metrics
    from benchmarks.report import write_report

    folder.require(folder.labels, step="vote")
    write_json(folder.metrics, collect_metrics(folder, config.report))
    write_report(folder)


class Step(NamedTuple):
    """A step, what it makes, and the config sections that may differ when it is run alone."""

    run: Callable[[Config, RunFolder], None]
    outputs: tuple[str, ...]
    own_sections: tuple[str, ...]


STEPS: dict[str, Step] = {
    "poll": Step(poll, ("plan.json", "completions"), ()),
    "vote": Step(vote, ("votes.parquet", "labels.parquet"), ("vote", "student", "report")),
    "train": Step(train, ("student",), ("student", "report")),
    "evaluate": Step(evaluate, ("evaluation.json",), ("report",)),
    "report": Step(report, ("metrics.json", "report.html"), ("report",)),
}


def is_done(name: str, folder: RunFolder) -> bool:
    """A step is done when all it makes is there: outputs appear whole or not at all."""
    if name == "poll":
        return is_settled(folder.engine)
    return all((folder.path / output).exists() for output in STEPS[name].outputs)


def remove_after(folder: RunFolder, name: str) -> None:
    """Removes what later steps made from the outputs of this one, because it no longer fits them."""
    later = list(STEPS)[list(STEPS).index(name) + 1 :]
    for output in (folder.path / output for step in later for output in STEPS[step].outputs):
        _remove(output)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _documents(config: Config) -> Iterator[Document]:
    return stream_documents(config.documents, list(config.task.labels))


def _prompts(config: Config) -> Iterator[Prompt]:
    return build_prompts(_documents(config), load_panel(config.panel.personas), config)
