"""The steps of a run, in order. Each reads and writes files of the run folder and can be run alone.

    poll      documents, personas  -> panel.json, completions/
    vote      completions/         -> votes.parquet, labels.parquet (and probes.parquet, if there were any)
    train     labels, votes        -> student/
    evaluate  labels, student/     -> evaluation.json
    report    all of it            -> metrics.json, report.html

Heavy packages are imported inside the step that needs them, so that voting and reporting start at once.
"""

from collections.abc import Callable, Iterable
from typing import Any

from xpoll.core.config import Config
from xpoll.core.environment import capture
from xpoll.core.errors import RunFolderError
from xpoll.core.files import read_json, write_json, write_table
from xpoll.core.progress import counted
from xpoll.core.records import (
    CONSENSUS_SCHEMA,
    SET_CONSENSUS_SCHEMA,
    SET_VOTE_SCHEMA,
    VOTE_SCHEMA,
    Completion,
    Vote,
    to_table,
    with_labels,
)
from xpoll.core.run_folder import RunFolder
from xpoll.engine.devices.intel_cards import cards_as_json
from xpoll.engine.journal.journal import count_answers, read_completions
from xpoll.engine.journal.session import is_settled
from xpoll.personas.label_order import shown_in
from xpoll.personas.panel import find_panel, write_panel
from xpoll.personas.probes import asked_of_probe, is_probe
from xpoll.pipeline.measure import TimedStudent
from xpoll.pipeline.prepare import checked_documents, documents_of, plan_of, prompts_of
from xpoll.pipeline.state import is_done, polled, remove_after, require_one_label, to_settle
from xpoll.votes.consensus import consensus_of
from xpoll.votes.label_sets import set_consensus_of
from xpoll.votes.parse import to_set_vote, to_vote
from xpoll.votes.review.sample import answers_of, read_review
from xpoll.votes.stop import StopButAskProbes, stop_rule


def poll(config: Config, folder: RunFolder) -> None:
    from xpoll.engine.run import Workload, answer_prompts
    from xpoll.engine.work import NeverStop

    inputs = checked_documents(config, polled(folder))
    if not is_done("poll", folder, inputs):
        remove_after(folder, "poll")
    panel = find_panel(config.panel, seed=config.job.seed, kept=folder.panel)
    write_panel(folder.panel, panel)
    made = {**plan_of(config, panel.personas, inputs), "inputs": inputs.as_json()}
    write_json(folder.plan, made)
    write_json(folder.environment, {**capture(), "intel_gpus": cards_as_json()})
    prompts = prompts_of(config, panel.personas, made["prompt_order"])
    rule = stop_rule(config)
    job = Workload(
        prompts,
        to_settle(made),
        lambda document_id: asked_of_probe(config) if is_probe(document_id) else config.panel.asked_each,
        StopButAskProbes(rule) if rule else NeverStop(),
    )
    if answer_prompts(job, config=config.engine, folder=folder):
        remove_after(folder, "poll")


def vote(config: Config, folder: RunFolder) -> None:
    answered = count_answers(folder.completions)
    planned = read_json(folder.require(folder.plan, step="poll"))
    if not is_settled(folder.engine, to_settle(planned)):
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
        documents_of(config), votes, config, reviewed=reviewed, shown=shown_in(folder), probes=probes
    )
    write_table(folder.labels, to_table(consensus, with_labels(CONSENSUS_SCHEMA, labels)))


def _vote_on_sets(config: Config, folder: RunFolder, completions: Iterable[Completion]) -> None:
    labels = list(config.task.labels)
    votes = [to_set_vote(completion, labels) for completion in completions]
    write_table(folder.votes, to_table(votes, with_labels(SET_VOTE_SCHEMA, labels)))
    consensus = set_consensus_of(documents_of(config), votes, config)
    write_table(folder.labels, to_table(consensus, with_labels(SET_CONSENSUS_SCHEMA, labels)))


def train(config: Config, folder: RunFolder) -> None:
    require_one_label(config, "student")
    from xpoll.student.dataset import read_labels
    from xpoll.student.train import train_student

    consensus, labels = read_labels(folder.require(folder.labels, step="vote"))
    train_student(consensus, labels, config=config.student, seed=config.job.seed, output=folder.student)


def evaluate(config: Config, folder: RunFolder) -> None:
    require_one_label(config, "student")
    from xpoll.student.dataset import read_labels
    from xpoll.student.evaluate import evaluate as scores_of
    from xpoll.student.folder import forecast_of, other_seeds
    from xpoll.student.inference.model import StudentModel

    consensus, labels = read_labels(folder.require(folder.labels, step="vote"))
    student: Any = TimedStudent(StudentModel(folder.require(folder.student, step="train")))
    others = [StudentModel(place) for place in other_seeds(folder.student)]
    wanted, forecast = config.student.wanted_accuracy, forecast_of(folder.student)
    scores = scores_of(consensus, labels, student, other_seeds=others, wanted=wanted, forecast=forecast)
    write_json(folder.evaluation, scores | {"serving": student.serving()})


def report(config: Config, folder: RunFolder) -> None:
    require_one_label(config, "report")
    from xpoll.report.metrics import collect_metrics
    from xpoll.report.page import write_report
    from xpoll.student.card import write_card

    folder.require(folder.labels, step="vote")
    write_json(folder.metrics, collect_metrics(folder, config.report))
    write_report(folder)
    if folder.student.exists():
        evaluation = read_json(folder.evaluation) if folder.evaluation.exists() else None
        write_card(folder.student, config.resolved(), evaluation, read_json(folder.metrics))


RUN: dict[str, Callable[[Config, RunFolder], None]] = {
    "poll": poll,
    "vote": vote,
    "train": train,
    "evaluate": evaluate,
    "report": report,
}
