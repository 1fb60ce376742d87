"""A batch file from end to end: survey, answers, output.

Reads the batch file. Writes a run folder (config.resolved.json, plan.json, environment.json, engine.json,
completions/, summary.json) and, once every line has ended, the complete output file in the order of the
input. If it is killed, the same call resumes it.
"""

from collections.abc import Iterator
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from xpoll.core.config.job import EngineConfig, Root
from xpoll.core.errors import InputError, RunFolderError
from xpoll.core.files import read_json, read_object, replacing, write_json
from xpoll.core.machine.environment import capture
from xpoll.core.progress import counted, say
from xpoll.core.records import Prompt
from xpoll.core.run_folder import RunFolder, check_writable, open_folder
from xpoll.engine.backends.registry import devices_for
from xpoll.engine.batch.order import in_input_order
from xpoll.engine.batch.requests import read_requests
from xpoll.engine.batch.responses import Responses
from xpoll.engine.batch.survey import Survey
from xpoll.engine.journal.errors import errors_in
from xpoll.engine.journal.session import is_settled
from xpoll.engine.planning.plan import BatchPlan, Chosen, make_plan, read_batch_plan
from xpoll.engine.run import Workload, answer_prompts


class BatchConfig(Root):
    """What the output depends on."""

    input: str
    """The batch file, or a URI of it."""
    output: str
    """The file to write."""
    engine: EngineConfig


class Summary(NamedTuple):
    """How the lines of a batch file ended."""

    lines: int
    answered: int
    errors: int


def open_batch(config: BatchConfig, path: Path, survey: Survey) -> RunFolder:
    """The run folder of a batch: a new one, or that of the same batch.

    Args:
        config: The batch.
        path: The run folder.
        survey: Of the batch file.

    Raises:
        InputError: the output is the input file.
        RunFolderError: the folder belongs to another batch, or the output exists and is not of this batch.
    """
    output = Path(config.output)
    folder = RunFolder(path)
    if config.input == config.output or (output.exists() and Path(config.input).exists() and _same(config)):
        raise InputError(f"output {output} is the input file itself", mend="name another output")
    ours = folder.config.exists() and folder.plan.exists() and not config.differences(read_object(folder.config))
    if ours and read_batch_plan(folder.plan).input_digest != survey.digest:
        raise RunFolderError(
            f"{config.input} has changed since {path} was begun", mend="delete that folder, or name another output"
        )
    if output.is_dir() or (output.exists() and not (ours and _is_settled(folder, survey))):
        raise RunFolderError(f"{output} is there and was not written by this batch", mend="name another output")
    check_writable(output.parent)
    return open_folder(path, config, key="--run-folder")


def _same(config: BatchConfig) -> bool:
    return Path(config.input).samefile(config.output)


def _is_settled(folder: RunFolder, survey: Survey) -> bool:
    return survey.asked == 0 or is_settled(folder, survey.asked)


def answer_batch(config: BatchConfig, folder: RunFolder, survey: Survey) -> None:
    """Answers every line that has no answer yet.

    Args:
        config: The batch.
        folder: Its run folder.
        survey: Of the batch file.

    Raises:
        EngineError: the engine does not start, or no device is left.
        RunFolderError: answers can no longer be written.
    """
    write_json(folder.plan, _plan(config, survey).as_json())
    write_json(folder.environment, capture())
    if survey.asked:
        answer_prompts(Workload(_prompts(config), survey.asked, survey.choices_of), config=config.engine, folder=folder)
        if line := errors_in(folder.completions).line():
            say(line)


def _prompts(config: BatchConfig) -> Iterator[Prompt]:
    return chain.from_iterable(request.prompts for request in read_requests(config.input))


AS_GIVEN = Chosen("as given", "a batch file's prompts are asked as they are")


def _plan(config: BatchConfig, survey: Survey) -> BatchPlan:
    asked = (prompt for prompt in _prompts(config) if prompt.problem is None)
    plan = make_plan(
        {AS_GIVEN.order: asked},
        documents=survey.asked,
        asked_each=1,
        config=config.engine,
        devices=[] if config.engine.address else devices_for(config.engine),
        chosen=AS_GIVEN,
    )
    about = plan.model_dump() | {"prompts": survey.prompts, "lines": survey.lines, "input_digest": survey.digest}
    return BatchPlan(**about)


def finished(config: BatchConfig, folder: RunFolder) -> Summary | None:
    """The summary of an earlier call that wrote the output; None if there is something left to do."""
    noted = _summary(folder)
    return Summary(**read_json(noted)) if noted.exists() and Path(config.output).exists() else None


def _summary(folder: RunFolder) -> Path:
    return folder.path / "summary.json"


def write_output(config: BatchConfig, folder: RunFolder, survey: Survey) -> Summary:
    """Writes the output file, completely or not at all; memory does not grow with the number of lines.

    Args:
        config: The batch.
        folder: Its run folder, with an answer to every prompt.
        survey: Of the batch file.

    Raises:
        RunFolderError: the output or the scratch folder cannot be written.
    """
    responses = Responses(config.engine.model, survey.digest)
    answers = groupby(in_input_order(folder.completions, survey, folder.path / "sorting"), key=itemgetter(0))
    group = next(answers, None)
    answered = 0
    output = Path(config.output)
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for request in counted(read_requests(config.input), f"writing {output}", total=survey.lines, unit="lines"):
            own = []
            if group is not None and group[0] == request.number:
                own = [answer for _, answer in group[1]]
                group = next(answers, None)
            line, good = responses.line(request, own)
            file.write(line + "\n")
            answered += good
    summary = Summary(survey.lines, answered, survey.lines - answered)
    write_json(_summary(folder), summary._asdict())
    return summary
