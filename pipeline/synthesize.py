"""Personas write texts: the step before the poll of a job with [synthesis], or a run of its own.

    synthesize    config, persona file, templates  -> synthesis/, synthesized.parquet, synthesis.json

    1. what is written is drawn, once, into synthesis/       synthesis/writers.py, drawing.py
    2. each round's requests go through the engine           synthesis/round-1/completions/, as those of a poll
    3. answers are read and pass the gates                   synthesis/reading.py, gates/
    4. kept prompts are put to the engine plainly            synthesis/replies/completions/
    5. all rows are written, with what they did not pass     synthesized.parquet

Killed at any point, the same call goes on: what is answered is not asked again, and what is written is whole.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError
from xpoll.core.files import write_json
from xpoll.core.formatting import counted
from xpoll.core.log import log_to
from xpoll.core.machine.environment import capture
from xpoll.core.outputs.output import WrittenOutput
from xpoll.core.outputs.registry import write_outputs
from xpoll.core.progress import Waiting, say
from xpoll.core.record_files import stream_records
from xpoll.core.records import COMPLETION_SCHEMA, Consensus, Prompt
from xpoll.core.run_folder import REPLIES, RunFolder, made_or_removed, open_run_folder
from xpoll.engine.backends.registry import check_backend, devices_for, spec_of
from xpoll.engine.journal.answers import count_answers, read_batches
from xpoll.engine.journal.errors import errors_in
from xpoll.engine.journal.session import is_settled
from xpoll.engine.lifetime import shared_engines
from xpoll.engine.planning.plan import Chosen, make_plan
from xpoll.pipeline.asking import ONE_ENDS_THE_POLL
from xpoll.pipeline.measure import measured
from xpoll.pipeline.prepare import prepare_model
from xpoll.pipeline.steps import STEPS, say_errors
from xpoll.pipeline.verification import requested_labels
from xpoll.synthesis.assembly import gated, reply_prompts, with_replies
from xpoll.synthesis.diversity import text_diversity
from xpoll.synthesis.drawing import Draw, prompt_of
from xpoll.synthesis.figures import SynthesisFigures, figures_of, read_figures
from xpoll.synthesis.gates.registry import checks_of
from xpoll.synthesis.text_set import as_text_set
from xpoll.synthesis.texts import SynthesizedText, read_texts, write_texts
from xpoll.synthesis.writers import check_templates, draw_now, is_drawn, read_draw, read_marginals, write_drawn

AS_DRAWN = Chosen("as drawn", "templates stand first in their requests, so that they are computed once")
LEAST_SHARE = 0.1
"""Share of texts that later rounds expect to be kept at least: a round is at most ten times what is missing."""


class Synthesized(NamedTuple):
    """A finished synthesis.

    Attributes:
        folder: The run's folder.
        figures: What was kept.
        is_new: Whether this call did anything.
    """

    folder: RunFolder
    figures: SynthesisFigures
    is_new: bool


def check_synthesis(config: Config) -> None:
    """Finds what is wrong with [synthesis] before anything starts.

    Raises:
        UserError: names the key, and what to type.
    """
    if not config.synthesis.count:
        raise ConfigError("synthesis.count is 0, so no texts are written", mend="--set synthesis.count=100")
    check_templates(config)
    checks_of(config.synthesis.gates, list(config.task.labels))
    check_backend(config.engine)
    if "label" not in spec_of(config.engine.backend).answers:
        raise ConfigError(f"engine.backend = {config.engine.backend!r} writes no texts", mend="engine.backend=vllm")
    if not config.engine.address:
        devices_for(config.engine)


def synthesize(config: Config) -> Synthesized:
    """Writes the texts of a job; does what an earlier call left to do, and nothing where all is there.

    Raises:
        UserError: the job is wrong, the engine does not start, or the folder cannot be written.
    """
    check_synthesis(config)
    folder = RunFolder(Path(config.job.run_folder))
    drawn = None if is_drawn(folder.synthesis) else draw_now(config)  # so that a mistake leaves no folder behind
    with made_or_removed(folder.path):
        prepare_model(config.engine)
        open_run_folder(config, ignored=STEPS["vote"].own_sections)
    if is_synthesized(folder):
        return Synthesized(folder, read_figures(folder.synthesis_figures), is_new=False)
    log_to(folder.log)
    with measured("synthesize", config, folder), shared_engines(config.engine):
        write_json(folder.environment, capture())
        if drawn is not None:
            write_drawn(drawn, folder.synthesis)
        draw = read_draw(config, folder.synthesis)
        before_replies = folder.synthesis / "gated.parquet"
        if not before_replies.exists():
            write_texts(before_replies, _rounds(config, folder, draw))
        write_texts(folder.synthesized, _replied(config, folder, draw, before_replies))
        figures = _figures(config, folder, draw)
        write_json(folder.synthesis_figures, figures.as_json())
    if not figures.kept:
        say(f"none of {counted(figures.asked, 'text')} is kept; synthesis.json says what the gates took out")
    return Synthesized(folder, figures, is_new=True)


def is_synthesized(folder: RunFolder) -> bool:
    """Whether a run has its texts."""
    return folder.synthesized.exists() and folder.synthesis_figures.exists()


class TextsSoFar(NamedTuple):
    """How far a synthesis is.

    Attributes:
        round: The last round that was begun, from 1.
        answered: Answers of all rounds, and replies.
        is_done: Whether all texts are written.
    """

    round: int
    answered: int
    is_done: bool

    @property
    def line(self) -> str:
        """In words."""
        state = "all texts are written" if self.is_done else f"writing, round {self.round}"
        return f"{state}: {counted(self.answered, 'answer')}"


def texts_so_far(folder: RunFolder) -> TextsSoFar | None:
    """How far the texts of a run are written; None where it writes none."""
    if not folder.synthesis.exists():
        return None
    parts = folder.synthesis_parts()
    rounds = sum(part.path.name != REPLIES for part in parts)
    return TextsSoFar(rounds, sum(count_answers(part.completions) for part in parts), is_synthesized(folder))


def _rounds(config: Config, folder: RunFolder, draw: Draw) -> Iterator[SynthesizedText]:
    """Every text that is asked for, round by round, as long as too few are kept."""
    checks = checks_of(config.synthesis.gates, list(config.task.labels))
    first, number, kept = 0, config.synthesis.count, 0
    for turn in range(config.synthesis.rounds):
        part, control = folder.synthesis_part(f"round-{turn + 1}"), 0 if turn else config.synthesis.control

        def rows(first: int = first, number: int = number, control: int = control) -> Iterator[Prompt]:
            by_name = {template.name: template for template in draw.templates}
            for row in (*draw.rows(first, number), *draw.rows(0, control, control=True)):
                yield prompt_of(row, by_name[row.template], config)

        _ask(config, part, rows, number + control, doing="writing", may_fail=turn > 0)
        for text in gated(config, draw, answers_in(part), checks):
            kept += text.problem is None
            yield text
        first += number
        if kept >= config.synthesis.count or not kept:
            return
        number = math.ceil((config.synthesis.count - kept) / max(kept / first, LEAST_SHARE))


def _replied(config: Config, folder: RunFolder, draw: Draw, texts: Path) -> Iterator[SynthesizedText]:
    if not any(template.header.replies for template in draw.templates):
        return read_texts(texts)
    part = folder.synthesis_part(REPLIES)
    wanted = sum(1 for _ in reply_prompts(config, draw, texts))
    if wanted:
        _ask(config, part, lambda: reply_prompts(config, draw, texts), wanted, doing="replying")
    checks = checks_of(config.synthesis.gates, list(config.task.labels))
    return with_replies(draw, texts, answers_in(part), checks)


def answers_in(part: RunFolder) -> pa.Table:
    """The answers of a round, or the replies.

    Raises:
        RunFolderError: a file is missing or damaged.
    """
    batches = list(read_batches(part.completions))
    return pa.Table.from_batches(batches, batches[0].schema if batches else COMPLETION_SCHEMA)


def _ask(
    config: Config,
    part: RunFolder,
    prompts: Callable[[], Iterable[Prompt]],
    number: int,
    *,
    doing: str,
    may_fail: bool = False,
) -> None:
    """Puts prompts to the engine, one of each row, unless all have their answers; all may be errors if `may_fail`."""
    from xpoll.engine.run import Workload, answer_prompts

    if is_settled(part, number):
        return
    devices = [] if config.engine.address else devices_for(config.engine)
    plan = make_plan(
        {AS_DRAWN.order: prompts()},
        documents=number,
        asked_each=1,
        config=config.engine,
        devices=devices,
        chosen=AS_DRAWN,
    )
    write_json(part.plan, plan.as_json())
    work = Workload(prompts(), number, 1, ends_on=ONE_ENDS_THE_POLL, doing=(doing, "texts"))
    answer_prompts(work, config=config.engine, folder=part)
    errors = errors_in(part.completions)
    if not (may_fail and errors.errors == errors.answers):
        say_errors(errors)


def _figures(config: Config, folder: RunFolder, draw: Draw) -> SynthesisFigures:
    found = figures_of(
        read_texts(folder.synthesized),
        gates=[name for name, _ in checks_of(config.synthesis.gates, list(config.task.labels))],
        rounds=len(list(folder.synthesis.glob("round-*"))),
        replies=any(template.header.replies for template in draw.templates),
    )
    found = found.model_copy(update={"marginals": read_marginals(folder.synthesis)})
    if not found.asked:
        return found
    written, control = _comparable(folder.synthesized)
    number = min(len(written), len(control)) if control else len(written)
    with Waiting("comparing the texts with each other", usual_s=20):
        diversity = {"with_personas": text_diversity(written, number=number, seed=config.job.seed)}
        if control:
            diversity["without_personas"] = text_diversity(control, number=number, seed=config.job.seed)
    return found.model_copy(update=diversity)


_OF_CONTENT = ("engine", "form", "complete", "length", "refusal")
"""Gates whose texts are none; those that the other gates took out are compared, too, in both arms alike."""


def _comparable(path: Path) -> tuple[list[str], list[str]]:
    """The texts of personas, and those of nobody in particular."""
    written, control = [], []
    for text in read_texts(path):
        if text.is_control:
            control.append(text.text)
        elif text.problem is None or text.problem.partition(":")[0] not in _OF_CONTENT:
            written.append(text.text)
    return written, control


def write_kept_texts(config: Config, found: Synthesized, wanted: Mapping[str, Path]) -> dict[str, WrittenOutput]:
    """Writes kept texts in other forms; those whose label was voted on only if they keep it.

    Args:
        config: The job.
        found: Its texts.
        wanted: Name of the form to the file or folder.

    Raises:
        UserError: an output cannot be written.
    """
    folder = found.folder
    requested = requested_labels(config, folder) if folder.labels.exists() else {}
    refused = {row.document_id for row in _voted(folder) if row.document_id in requested} if requested else set()

    def texts() -> Iterator[SynthesizedText]:
        return (text for text in read_texts(folder.synthesized, kept=True) if text.id not in refused)

    return write_outputs(as_text_set(config, found.figures, texts, is_verified=bool(requested)), wanted)


def _voted(folder: RunFolder) -> Iterator[Consensus]:
    """The texts that have lost their label."""
    return (row for row in stream_records(folder.labels, Consensus) if row.label is None)
