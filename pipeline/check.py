"""What of a run is whole, what is lost, and what to type. Reads every answer; writes nothing, starts nothing.

The truth is the answers themselves: files, engine.json, votes.parquet and labels.parquet are all held against them.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.config.teachers import teachers_of
from xpoll.core.errors import RunFolderError
from xpoll.core.formatting import counted
from xpoll.core.records import Key
from xpoll.core.results import Part, Result
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import Inventory, batches_of, take_inventory, whole_batches
from xpoll.engine.journal.ledger import Ledger
from xpoll.engine.journal.sealed import reason_of
from xpoll.engine.journal.session import counted_answers, problems_of, read_engine
from xpoll.personas.probes import probe_documents
from xpoll.pipeline.asking import asked_of, stop_of
from xpoll.pipeline.state import unvoted_of
from xpoll.pipeline.synthesize import is_synthesized
from xpoll.student.training.checkpoints import is_whole_safetensors
from xpoll.synthesis.figures import read_figures
from xpoll.synthesis.texts import read_texts

SHOWN_IDS = 10


class Problem(Part):
    """Something that is lost or does not agree, and what mends it."""

    what: str
    mend: str


class CheckedFile(Part):
    """A file of answers, as it is."""

    file: str
    """Its name in completions/."""
    answers: int
    """Whole answers in it."""
    lost: int | None
    """Answers that it held and that are lost; null where that is not known."""
    problem: str | None
    """What is wrong with it."""
    torn_bytes: int
    """Bytes at a journal's end that are no whole append, and were never counted."""
    duplicates: int
    """Answers in it that a file before it has, too."""


class CheckedDocuments(Part):
    """The documents that one teacher was asked about."""

    documents: int
    settled: int
    unsettled_ids: list[str]
    """The first ids of those that need more answers."""


class CheckedPoll(Part):
    """The answers of one teacher, of the run's only panel, or of a round of texts that personas wrote."""

    teacher: str | None
    """None of the only panel; of a round of texts its folder."""
    answers: int
    """Whole answers on disk."""
    counted: int
    """Answers that engine.json says were on disk."""
    settled_documents: int | None
    """How many documents engine.json says were all settled; null while the poll goes on."""
    files: list[CheckedFile]
    set_aside: list[str]
    """Damaged files that a poll has set aside; what they held was asked again."""
    documents: CheckedDocuments | None
    """None of a batch, and where documents.parquet cannot be read."""
    problems: list[Problem]


class RunCheck(Result):
    """What `xpoll check` finds."""

    schema_version: int = 1
    run_folder: str
    texts: list[CheckedPoll] = []
    """Each round of texts that personas wrote, and the replies; empty where the run writes none."""
    polls: list[CheckedPoll]
    problems: list[Problem]
    """None in a run that is whole."""
    commands: list[str]
    """What to type, in order: what mends, else what goes on."""

    @property
    def whole(self) -> bool:
        """Whether nothing is lost, and everything agrees with the answers."""
        return not self.problems


def check_run(folder: RunFolder) -> RunCheck:
    """Holds a run's files against its answers.

    Raises:
        RunFolderError: it is no run folder.
        ConfigError: its config cannot be read.
    """
    texts = [_checked(str(part.path.relative_to(folder.path)), part, None, folder) for part in folder.synthesis_parts()]
    lost = [problem for part in texts for problem in part.problems] or _of_texts(folder)
    if folder.is_generative:
        lost += _of_student(folder)
        commands = [problem.mend for problem in lost]
        return RunCheck(run_folder=str(folder.path), texts=texts, polls=[], problems=lost, commands=commands)
    config = _config_of(folder)
    if texts and not folder.completions.exists():
        left = [] if is_synthesized(folder) else [f"xpoll synthesize {folder.path}"]
        commands = [problem.mend for problem in lost] or left
        return RunCheck(run_folder=str(folder.path), texts=texts, polls=[], problems=lost, commands=commands)
    configs = {teacher.name: teacher.config for teacher in teachers_of(config)} if config else {}
    polls = [_checked(name, poll, configs.get(name), folder) for name, poll in folder.polls().items()]
    problems = [*lost, *(problem for poll in polls for problem in poll.problems)]
    if not problems and config is not None:
        problems += _of_outputs(folder)
    commands = [problem.mend for problem in problems]
    if not commands and any(not _is_finished(poll) for poll in polls):
        commands = [folder.asks_again]
    commands = list(dict.fromkeys(commands))
    return RunCheck(run_folder=str(folder.path), texts=texts, polls=polls, problems=problems, commands=commands)


def _of_texts(folder: RunFolder) -> list[Problem]:
    """What does not agree with the answers of the file that has the texts, and of their figures."""
    if not is_synthesized(folder):
        return []
    again = f"delete {folder.synthesized}, then xpoll synthesize {folder.path}"
    try:
        asked = read_figures(folder.synthesis_figures).asked
        rows = sum(not text.is_control for text in read_texts(folder.synthesized))
    except RunFolderError as error:
        return [Problem(what=error.what, mend=again)]
    if rows == asked:
        return []
    what = f"{folder.synthesized} has {counted(rows, 'text')} where {folder.synthesis_figures} says {asked}"
    return [Problem(what=what, mend=again)]


def _of_student(folder: RunFolder) -> list[Problem]:
    """What of a job that polls nobody cannot be read: its rows, or its student."""
    again = f"xpoll train {folder.path}"
    problems = []
    if folder.examples.exists():
        try:
            pq.ParquetFile(folder.examples, page_checksum_verification=True).read()
        except (OSError, pa.ArrowException) as error:
            problems.append(Problem(what=f"{folder.examples} cannot be read ({reason_of(error)})", mend=again))
    weights = sorted(folder.student.glob("*.safetensors"))
    if folder.student.exists() and not (weights and all(map(is_whole_safetensors, weights))):
        problems.append(Problem(what=f"{folder.student} has no whole weights", mend=again))
    return problems


def _config_of(folder: RunFolder) -> Config | None:
    """The config of a run; None of a batch, which has no documents of its own."""
    if not folder.config.exists():
        raise RunFolderError(f"{folder.path} is no run folder (it has no {folder.config.name})", mend="name one")
    return None if folder.asks_again.startswith("xpoll batch") else load_config(folder.path)


def _is_finished(poll: CheckedPoll) -> bool:
    return not poll.documents.unsettled_ids if poll.documents else poll.settled_documents is not None


def _checked(name: str | None, poll: RunFolder, config: Config | None, run: RunFolder) -> CheckedPoll:
    found = take_inventory(poll.completions)
    engine = read_engine(poll)
    settled_documents = engine.get("settled_documents")
    duplicates = _duplicates(found)
    problems = [Problem(what=problem.what, mend=problem.mend or "") for problem in problems_of(poll)]
    for file, twice in duplicates.items():
        what = f"{poll.completions / file} has {counted(twice, 'answer')} that a file before it has, too"
        problems.append(Problem(what=what, mend=f"move it elsewhere, then {poll.asks_again}"))
    documents = None
    if config is not None:
        try:
            documents = _documents(poll, config, found, run)
        except (RunFolderError, OSError, pa.ArrowException) as error:
            what = f"{run.documents} cannot be read ({reason_of(error)})"
            problems.append(Problem(what=what, mend=poll.asks_again))
    if not problems and documents and documents.unsettled_ids and settled_documents == documents.documents:
        missing = documents.documents - documents.settled
        what = f"{counted(missing, 'document')} need more answers, though {poll.engine} says that none does"
        problems.append(Problem(what=what, mend=f"delete {poll.engine}, then {poll.asks_again}"))
    return CheckedPoll(
        teacher=name,
        answers=found.rows,
        counted=counted_answers(engine),
        settled_documents=settled_documents,
        files=[
            CheckedFile(
                file=file.path.name,
                answers=file.rows,
                lost=file.lost,
                problem=file.problem,
                torn_bytes=file.torn_bytes,
                duplicates=duplicates.get(file.path.name, 0),
            )
            for file in found.files
        ],
        set_aside=sorted(path.name for path in poll.completions.glob("*.damaged*")),
        documents=documents,
        problems=problems,
    )


def _documents(poll: RunFolder, config: Config, found: Inventory, run: RunFolder) -> CheckedDocuments:
    ledger = Ledger(poll.completions, asked_each=asked_of(config), stop=stop_of(config), found=found)
    number, unsettled = 0, 0
    ids: list[str] = []
    for document_id in _ids(run, config):
        number += 1
        if not ledger.is_settled(document_id):
            unsettled += 1
            if len(ids) < SHOWN_IDS:
                ids.append(document_id)
    return CheckedDocuments(documents=number, settled=number - unsettled, unsettled_ids=ids)


def _ids(run: RunFolder, config: Config) -> Iterator[str]:
    with pq.ParquetFile(run.require(run.documents, step="poll")) as file:
        for batch in file.iter_batches(columns=["document_id"]):
            yield from batch.column("document_id").to_pylist()
    yield from (probe.document_id for probe in probe_documents(config))


def _duplicates(found: Inventory) -> dict[str, int]:
    """How many answers of each file have the key of one before them; files without any are left out."""
    columns = list(Key._fields)
    batches = list(whole_batches(found, columns))
    if not batches:
        return {}
    table = pa.Table.from_batches(batches)
    if table.group_by(columns).aggregate([]).num_rows == table.num_rows:
        return {}
    seen: set[tuple[str, str, int]] = set()
    number: dict[str, int] = {}
    for file in found.files:
        for batch in batches_of(file.path, columns) if file.rows else ():
            for key in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                number[file.path.name] = number.get(file.path.name, 0) + (key in seen)
                seen.add(key)
    return {name: twice for name, twice in number.items() if twice}


def _of_outputs(folder: RunFolder) -> list[Problem]:
    """What the vote made that does not fit the answers."""
    if not folder.votes.exists() and not folder.labels.exists():
        return []
    what = unvoted_of(folder)
    try:
        labelled = pq.read_metadata(folder.require(folder.labels, step="vote")).num_rows
        documents = pq.read_metadata(folder.documents).num_rows
        if what is None and labelled != documents:
            what = f"{folder.labels} has {labelled} of {documents} documents"
    except RunFolderError as error:
        what = error.what
    except (OSError, pa.ArrowException) as error:
        what = f"{folder.labels} cannot be read ({reason_of(error)})"
    return [] if what is None else [Problem(what=what, mend=f"xpoll vote {folder.path}")]
