"""The steps of a run, in order. Each reads and writes files of the run folder and can be run alone.

    poll      documents, personas  -> panel.json, completions/
    vote      completions/         -> votes.parquet, labels.parquet (and probes.parquet, if there were any)
    train     labels.parquet       -> student/
    evaluate  labels, student/     -> evaluation.json
    report    all of it            -> metrics.json, report.html

Heavy packages are imported inside the step that needs them, so that planning, voting and reporting
start at once.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from core.config import Config, Engine, PromptOrder
from core.environment import capture
from core.errors import ConfigError, RunFolderError
from core.files import read_json, write_json, write_table
from core.models import needs_preparation, resolve_model
from core.progress import Waiting, counted
from core.records import (
    CONSENSUS_SCHEMA,
    SET_CONSENSUS_SCHEMA,
    SET_VOTE_SCHEMA,
    VOTE_SCHEMA,
    Completion,
    Document,
    Prompt,
    Vote,
    to_table,
    with_labels,
)
from core.run_folder import RunFolder
from engine.backends import LOADS_MODEL, check_backend, devices_for
from engine.devices import Device
from engine.fit import require_fit
from engine.intel_cards import cards_as_json
from engine.journal import count_answers, read_completions
from engine.plan import NAMED, Chosen, make_plan
from engine.session import is_settled
from personas.chosen import check_panel, find_panel, planned_panel, write_panel
from personas.documents import Inputs, check_documents, stream_documents
from personas.draw import drawn_prompts
from personas.label_order import shown_in
from personas.label_sets import set_consensus_of
from personas.panel import Persona
from personas.parse import to_set_vote, to_vote
from personas.probes import StopButAskProbes, asked_of_probe, is_probe, probe_documents
from personas.prompts import build_prompts, orders_of
from personas.review.sample import answers_of, read_review
from personas.stop import stop_rule
from personas.vote import consensus_of
from scripts.measure import TimedStudent


def check_inputs(config: Config) -> Inputs:
    """Finds every mistake that can be found before a run folder is made; prepares a packaged model."""
    check_backend(config.engine)
    check_panel(config.panel, seed=config.job.seed, kept=_kept_panel(config))
    devices = _devices(config)
    if devices and config.engine.backend in LOADS_MODEL:
        require_fit(config.engine, devices)
    inputs = _checked(config)
    resolve_model(config.student.encoder, key="student.encoder")
    prepare_model(config.engine)
    return inputs


def prepare_model(config: Engine) -> None:
    """Has the files of `engine.model` on this machine if the backend needs them."""
    if config.backend not in LOADS_MODEL:
        return
    if needs_preparation(config.model):
        with Waiting(f"preparing {config.model} (once)", usual_s=30):
            resolve_model(config.model, key="engine.model")
    else:
        resolve_model(config.model, key="engine.model")


def plan(config: Config) -> dict[str, Any]:
    """What `poll` will do, as plain JSON types; writes nothing. A run that was begun keeps its prompts' order."""
    check_backend(config.engine)
    panel = planned_panel(config.panel, seed=config.job.seed, kept=_kept_panel(config))
    return _plan(config, panel, _checked(config))


def _plan(config: Config, panel: list[Persona], inputs: Inputs) -> dict[str, Any]:
    devices, probes = _devices(config), len(probe_documents(config))
    plan = make_plan(
        {order: _prompts(config, panel, order) for order in orders_of(config)},
        documents=inputs.documents,
        asked_each=config.panel.asked_each,
        config=config.engine,
        devices=devices,
        chosen=_chosen_order(config),
    )
    return {**plan, "probes": probes, "prompts": plan["prompts"] + probes * asked_of_probe(config)}


def _chosen_order(config: Config) -> Chosen | None:
    """The order that the job names, or that the plan of the run has if it was begun already."""
    if config.panel.order != "auto":
        return Chosen(config.panel.order, NAMED)
    folder = RunFolder(Path(config.job.run_folder))
    if not folder.plan.exists() or not folder.config.exists() or config.differences(read_json(folder.config)):
        return None
    begun = read_json(folder.plan)
    return Chosen(begun["prompt_order"], begun["prompt_order_reason"])


def poll(config: Config, folder: RunFolder) -> None:
    from engine.run import Job, answer_prompts
    from engine.work import NeverStop

    inputs = _checked(config, _polled(folder))
    if not is_done("poll", folder, inputs):
        remove_after(folder, "poll")
    panel = find_panel(config.panel, seed=config.job.seed, kept=folder.panel)
    write_panel(folder.panel, panel)
    made = {**_plan(config, panel.personas, inputs), "inputs": inputs.as_json()}
    write_json(folder.plan, made)
    write_json(folder.environment, {**capture(), "intel_gpus": cards_as_json()})
    prompts = _prompts(config, panel.personas, made["prompt_order"])
    rule = stop_rule(config)
    job = Job(
        prompts,
        _to_settle(made),
        lambda document_id: asked_of_probe(config) if is_probe(document_id) else config.panel.asked_each,
        StopButAskProbes(rule) if rule else NeverStop(),
    )
    if answer_prompts(job, config=config.engine, folder=folder):
        remove_after(folder, "poll")


def require_one_label(config: Config, what: str) -> None:
    """Refuses what a task of several labels a text cannot have.

    Raises:
        ConfigError: the task is such a one.
    """
    if config.task.kind == "multi":
        raise ConfigError(
            f"there is no {what} for task.kind = 'multi': texts have several labels",
            mend="xpoll poll, xpoll vote and xpoll vote --compare; labels.parquet holds the sets",
        )


def vote(config: Config, folder: RunFolder) -> None:
    answered = count_answers(folder.completions)
    planned = read_json(folder.require(folder.plan, step="poll"))
    if not is_settled(folder.engine, _to_settle(planned)):
        wanted = planned["prompts"]
        raise RunFolderError(
            f"the poll is not finished: {answered} answers are there, up to {wanted} are wanted",
            mend=f"xpoll poll {folder.path}",
        )
    labels = list(config.task.labels)
    completions = counted(read_completions(folder.completions), "reading answers", total=answered, unit="answers")
    if config.task.kind == "multi":
        _vote_on_sets(config, folder, completions)
        return
    votes: list[Vote] = []
    probes: list[Vote] = []
    for completion in completions:
        (probes if is_probe(completion.document_id) else votes).append(to_vote(completion, labels))
    write_table(folder.votes, to_table(votes, with_labels(VOTE_SCHEMA, labels)))
    if probes:
        write_table(folder.probes, to_table(probes, with_labels(VOTE_SCHEMA, labels)))
    reviewed = answers_of(read_review(folder.review))
    consensus = consensus_of(
        _documents(config), votes, config, reviewed=reviewed, shown=shown_in(folder), probes=probes
    )
    write_table(folder.labels, to_table(consensus, with_labels(CONSENSUS_SCHEMA, labels)))


def _vote_on_sets(config: Config, folder: RunFolder, completions: Iterable[Completion]) -> None:
    labels = list(config.task.labels)
    votes = [to_set_vote(completion, labels) for completion in completions]
    write_table(folder.votes, to_table(votes, with_labels(SET_VOTE_SCHEMA, labels)))
    consensus = set_consensus_of(_documents(config), votes, config)
    write_table(folder.labels, to_table(consensus, with_labels(SET_CONSENSUS_SCHEMA, labels)))


def train(config: Config, folder: RunFolder) -> None:
    require_one_label(config, "student")
    from student.dataset import read_labels
    from student.train import train_student

    consensus, labels = read_labels(folder.require(folder.labels, step="vote"))
    train_student(consensus, labels, config=config.student, seed=config.job.seed, output=folder.student)


def evaluate(config: Config, folder: RunFolder) -> None:
    require_one_label(config, "student")
    from student.dataset import read_labels
    from student.evaluate import evaluate as scores_of
    from student.folder import forecast_of, other_seeds
    from student.predict import StudentModel

    consensus, labels = read_labels(folder.require(folder.labels, step="vote"))
    student: Any = TimedStudent(StudentModel(folder.require(folder.student, step="train")))
    others = [StudentModel(place) for place in other_seeds(folder.student)]
    wanted, forecast = config.student.wanted_accuracy, forecast_of(folder.student)
    scores = scores_of(consensus, labels, student, other_seeds=others, wanted=wanted, forecast=forecast)
    write_json(folder.evaluation, scores | {"serving": student.serving()})


def report(config: Config, folder: RunFolder) -> None:
    require_one_label(config, "report")
    from benchmarks.metrics import collect_metrics
    from benchmarks.report import write_report
    from student.card import write_card

    folder.require(folder.labels, step="vote")
    write_json(folder.metrics, collect_metrics(folder, config.report))
    write_report(folder)
    if folder.student.exists():
        evaluation = read_json(folder.evaluation) if folder.evaluation.exists() else None
        write_card(folder.student, config.resolved(), evaluation, read_json(folder.metrics))


class Step(NamedTuple):
    """A step, what it makes, and the config sections that may differ when it is run alone."""

    run: Callable[[Config, RunFolder], None]
    outputs: tuple[str, ...]
    own_sections: tuple[str, ...]


STEPS: dict[str, Step] = {
    "poll": Step(poll, ("plan.json", "panel.json", "completions"), ()),
    "vote": Step(vote, ("votes.parquet", "labels.parquet"), ("vote", "student", "report")),
    "train": Step(train, ("student",), ("student", "report")),
    "evaluate": Step(evaluate, ("evaluation.json",), ("report",)),
    "report": Step(report, ("metrics.json", "report.html"), ("report",)),
}


def is_done(name: str, folder: RunFolder, inputs: Inputs | None = None) -> bool:
    """A step is done when all it makes is there: outputs appear whole or not at all.

    A poll is done when every document is settled; with `inputs`, when these are what was polled.
    """
    if name == "poll":
        if not folder.plan.exists() or (inputs is not None and inputs != _polled(folder)):
            return False
        return is_settled(folder.engine, _to_settle(read_json(folder.plan)))
    return all((folder.path / output).exists() for output in STEPS[name].outputs)


def _to_settle(planned: dict[str, Any]) -> int:
    """How many documents a poll is done with; those without content count too."""
    return int(planned["documents"]) + int(planned.get("probes", 0))


def _polled(folder: RunFolder) -> Inputs | None:
    """What the last poll asked about, be it finished or not."""
    noted = read_json(folder.plan).get("inputs") if folder.plan.exists() else None
    return Inputs(**noted) if noted else None


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


def _devices(config: Config) -> list[Device]:
    """The devices of this machine; those of a cluster are known only when the poll has connected to it."""
    return [] if config.engine.address else devices_for(config.engine)


def _checked(config: Config, polled: Inputs | None = None) -> Inputs:
    labels = list(config.task.labels)
    return check_documents(config.documents, labels, polled, several=config.task.kind == "multi")


def _documents(config: Config) -> Iterator[Document]:
    return stream_documents(config.documents, list(config.task.labels), several=config.task.kind == "multi")


def _prompts(config: Config, panel: list[Persona], order: PromptOrder) -> Iterator[Prompt]:
    prompts = build_prompts(_documents(config), panel, config, order)
    probes = build_prompts(probe_documents(config), panel, config, order)
    return chain(
        drawn_prompts(prompts, panel, config.panel.per_document, seed=config.job.seed),
        (prompt for prompt in probes if prompt.sample == 0),
    )


def _kept_panel(config: Config) -> Path:
    return RunFolder(Path(config.job.run_folder)).panel
