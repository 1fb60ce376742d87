"""The steps of a run, in order. Each reads and writes files of the run folder and can be run alone.

    poll      documents.parquet, panel.json, plan.json  -> completions/
    vote      completions/, documents.parquet           -> votes.parquet, labels.parquet (and probes.parquet)
    train     labels.parquet                            -> student/
    evaluate  labels.parquet, student/                  -> evaluation.json
    report    all of it                                 -> metrics.json, report.html

Of a job with [[teachers]], panel.json, plan.json and completions/ lie in each one's folder, teachers/NAME.
prepare.py writes what the first one reads. Heavy packages are imported inside the step that needs them, so that voting
and reporting start at once.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from xpoll.core.config.job import Config
from xpoll.core.config.teachers import Teacher, teachers_of
from xpoll.core.error_kinds import ErrorCounts
from xpoll.core.errors import ConfigError, EngineError, RunFolderError
from xpoll.core.files import write_json, write_table
from xpoll.core.progress import counted, say
from xpoll.core.record_files import stream_records, write_records
from xpoll.core.records import CONSENSUS_SCHEMA, AnyRecord, Consensus, Document, to_table, with_labels
from xpoll.core.run_folder import RunFolder
from xpoll.engine.backends.registry import spec_of
from xpoll.engine.journal.answers import count_answers, read_completions
from xpoll.engine.journal.errors import errors_in
from xpoll.engine.journal.session import is_settled, require_whole
from xpoll.engine.planning.plan import read_plan
from xpoll.personas.label_order import shown_in
from xpoll.personas.probes import is_probe
from xpoll.personas.prompts import asks_of_each
from xpoll.pipeline.asking import ask_all, documents_of
from xpoll.pipeline.measure import TimedStudent
from xpoll.pipeline.verification import count_verified, requested_labels, verified
from xpoll.student.heads.registry import HEADS
from xpoll.votes.check import carries_logprobs, check_votes, require_panel
from xpoll.votes.review.sample import answers_of, read_review
from xpoll.votes.tasks.kind import TaskKind
from xpoll.votes.tasks.registry import kind_of
from xpoll.votes.unread import is_written, line_of, reason_of_vote, written_line


def poll(config: Config, folder: RunFolder) -> bool:
    """Asks every teacher about each document that is not settled; `prepare` has written what is read here."""
    asked = ask_all(config, folder)
    for teacher in teachers_of(config):
        say_errors(errors_in(teacher.folder.completions), of=teacher.name)
    return bool(asked)


def say_errors(found: ErrorCounts, *, of: str | None = None) -> None:
    """Says in one line how many answers are errors, and of what kind.

    Args:
        found: The errors.
        of: Name of the teacher, where a job has several.

    Raises:
        EngineError: all answers are errors; the line is its message.
    """
    who = "" if of is None else f"teacher {of}: "
    if found.errors and found.errors == found.answers:
        raise EngineError(f"{who}{found.what()}", mend=found.mend())
    if line := found.line():
        say(f"{who}{line}")


def vote(config: Config, folder: RunFolder) -> bool:
    """Reads the answers and counts them into one label per document."""
    teachers = teachers_of(config)
    plans = [read_plan(teacher.folder.plan) for teacher in teachers]
    answered = [count_answers(teacher.folder.completions) for teacher in teachers]
    for teacher in teachers:
        require_whole(teacher.folder)
    if not all(is_settled(each.folder, plan.to_settle) for each, plan in zip(teachers, plans, strict=True)):
        wanted = sum(plan.prompts for plan in plans)
        raise RunFolderError(
            f"the poll is not finished: {sum(answered)} answers are there, up to {wanted} are wanted",
            mend=f"xpoll poll {folder.path}",
        )
    check_votes(config)
    for teacher, plan in zip(teachers, plans, strict=True):
        check_votes(teacher.config)
        carries_logprobs(teacher.config, plan.logprobs)
    labels, kind = list(config.task.labels), kind_of(config.task.kind)
    probes: list[AnyRecord] = []
    reasons: Counter[str | None] = Counter()
    written = 0

    def of_texts() -> Iterator[AnyRecord]:
        nonlocal written
        read = _votes(teachers, labels, kind)
        for vote in counted(read, "reading answers", total=sum(answered), unit="answers"):
            if is_probe(vote.document_id):
                probes.append(vote)
            else:
                reasons[reason_of_vote(vote)] += 1
                written += is_written(vote)
                yield vote

    write_records(folder.votes, of_texts(), with_labels(kind.vote_schema, labels))
    if probes:
        write_table(folder.probes, to_table(probes, with_labels(kind.vote_schema, labels)))
    for line in (line_of(reasons), written_line(written, of=reasons[None]) if config.panel.answer == "read" else None):
        if line:
            say(line)
    reviewed, shown = answers_of(read_review(folder.review)), shown_in(folder)
    votes = stream_records(folder.votes, kind.vote_record)
    voted = kind.aggregate(Documents(folder), votes, config, reviewed=reviewed, shown=shown, probes=probes)
    requested = requested_labels(config, folder)
    write_records(folder.labels, verified(voted, requested), with_labels(kind.label_schema, labels))
    if requested and kind.label_schema is CONSENSUS_SCHEMA:
        say(count_verified(stream_records(folder.labels, Consensus), requested).line)
    if not kind.gives_one_label:
        each = (
            "read" in kind.answers
            and asks_of_each(config, kind.form)
            and spec_of(config.engine.backend).reads(config.engine)
        )
        texts = sum(1 for _ in Documents(folder))
        _say_what_was_cached(folder, texts * (len(labels) if each else 1))
    return True


def _say_what_was_cached(folder: RunFolder, labels: int) -> None:
    """What a report says of the prefix cache, where there is no report."""
    from xpoll.report.collect import engine_figures
    from xpoll.report.wording import prefix_sentences

    for line in prefix_sentences(engine_figures(folder, labels)):
        say(line)


def _votes(teachers: list[Teacher], labels: list[str], kind: TaskKind) -> Iterator[Any]:
    """Every answer, read; with the teacher that it is of where the job has several."""
    for teacher in teachers:
        for completion in read_completions(teacher.folder.completions):
            vote: Any = kind.parse(completion, labels)
            yield vote if teacher.name is None else vote._replace(teacher=teacher.name)


def train(config: Config, folder: RunFolder) -> bool:
    """Fine-tunes the student on the labels."""
    from xpoll.student.dataset import read_labels
    from xpoll.student.train import train_student

    head = HEADS[kind_of(config.task.kind).head]
    rows: tuple[list[Any], list[str]] = read_labels(folder.require(folder.labels, step="vote"), head.record)
    train_student(*rows, config=config.student, seed=config.job.seed, output=folder.student, head=head)
    return True


def evaluate(config: Config, folder: RunFolder) -> bool:
    """Scores teacher and student on the gold rows."""
    from xpoll.student.dataset import read_labels
    from xpoll.student.drift import write_gold_answers
    from xpoll.student.folder import forecast_of, other_seeds

    head = HEADS[kind_of(config.task.kind).head]
    rows: tuple[list[Any], list[str]] = read_labels(folder.require(folder.labels, step="vote"), head.record)
    student: Any = TimedStudent(head.load(folder.require(folder.student, step="train")))
    others = [head.load(place) for place in other_seeds(folder.student)]
    wanted, forecast = config.student.wanted_accuracy, forecast_of(folder.student)
    scores = head.evaluate(*rows, student, other_seeds=others, wanted=wanted, forecast=forecast)
    if student.last is not None and head.has_distribution:
        write_gold_answers(folder.student, student.labels, student.last)
    write_json(folder.evaluation, scores.with_serving(student.serving()).as_json())
    return True


def score_teacher(config: Config, folder: RunFolder) -> None:
    """Scores the voted labels on the gold rows where no student is trained; a student that is replaces the scores."""
    from xpoll.student.dataset import read_labels

    head = HEADS[kind_of(config.task.kind).head]
    rows: tuple[list[Any], list[str]] = read_labels(folder.require(folder.labels, step="vote"), head.record)
    write_json(folder.evaluation, head.evaluate(*rows, None, wanted=config.student.wanted_accuracy).as_json())


def report(config: Config, folder: RunFolder) -> bool:
    """Writes metrics.json, the page, and the student's card."""
    from xpoll.report.collect import collect_metrics
    from xpoll.report.page import write_report
    from xpoll.report.panel import panel_size
    from xpoll.student.card import EnergyUsed, write_card
    from xpoll.student.evaluation import read_evaluation

    for path in (folder.votes, folder.labels):
        folder.require(path, step="vote")
    metrics = collect_metrics(folder, config.report)
    write_json(folder.metrics, metrics.as_json())
    write_report(folder)
    if folder.student.exists():
        resolved, energy = config.resolved(), EnergyUsed(metrics.energy.energy_j, metrics.energy.source)
        personas = panel_size(folder, resolved)
        write_card(folder.student, resolved, read_evaluation(folder), personas=personas, energy=energy)
    return True


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of a run, read anew each time they are gone through."""

    folder: RunFolder

    def __iter__(self) -> Iterator[Document]:
        """Each document once."""
        return documents_of(self.folder)


def require_one_label(config: Config, what: str) -> None:
    """Refuses what a task whose texts do not get one label each cannot have.

    Raises:
        ConfigError: the task is such a one, or of a kind that is not known.
    """
    require_panel(config)
    if not kind_of(config.task.kind).gives_one_label:
        raise ConfigError(
            f"there is no {what} for task.kind = {config.task.kind!r}: texts do not get one label each",
            mend="see docs/howto/tasks.md for what there is",
        )


class Step(NamedTuple):
    """One station of a run.

    Attributes:
        function: Reads and writes files of the run folder; whether later steps have to be done again.
        outputs: What it makes in the run folder; each appears whole or not at all.
        own_sections: Sections of the config that may differ from the folder's when the step is run alone.
    """

    function: Callable[[Config, RunFolder], bool]
    outputs: tuple[str, ...]
    own_sections: tuple[str, ...]


STEPS: dict[str, Step] = {
    "poll": Step(poll, ("plan.json", "panel.json", "completions"), ()),
    "vote": Step(vote, ("votes.parquet", "labels.parquet"), ("vote", "student", "report")),
    "train": Step(train, ("student",), ("student", "report")),
    "evaluate": Step(evaluate, ("evaluation.json",), ("report",)),
    "report": Step(report, ("metrics.json", "report.html"), ("report",)),
}
"""In order. To add a step: one function and one line."""
