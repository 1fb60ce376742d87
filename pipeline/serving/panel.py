"""A job's panel as a labeller of single texts: its personas, examples, label order and vote, on a started backend.

Of the run it takes what `xpoll vote` would: the personas in panel.json, the order of prompts in plan.json, and the
label bias that its votes show (votes/later.py). What needs all texts of a run at once is not applied: a stop rule,
labels that people gave, and methods that learn from agreement; `counting` says how votes are counted.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from xpoll.core.config.job import Config, PromptOrder
from xpoll.core.config.teachers import Teacher, teachers_of
from xpoll.core.error_kinds import OF_THE_REQUEST
from xpoll.core.errors import ConfigError, UserError
from xpoll.core.files import read_object
from xpoll.core.records import NO_READABLE_VOTE, Completion, Consensus, Document, Prompt
from xpoll.core.run_folder import RunFolder
from xpoll.engine.answer import answer_of
from xpoll.engine.backends.backend import Backend, EngineDeadError
from xpoll.engine.planning.plan import read_plan
from xpoll.personas.label_order import Shown, shown_orders
from xpoll.personas.panel import find_panel
from xpoll.personas.persona import Persona
from xpoll.pipeline.prompts import prompts_of
from xpoll.pipeline.serving.request_error import RequestError, unavailable
from xpoll.pipeline.serving.text_label import TextLabel, TokensSpent
from xpoll.votes.check import check_votes
from xpoll.votes.later import LaterCount, later_count
from xpoll.votes.methods.registry import method_of
from xpoll.votes.tasks.registry import kind_of

ANSWER_WITHIN_S = 300.0
"""A text whose prompts have no answers by then ends with 503, also while an engine is started again."""
DECIDING = ("task.", "panel.", "engine.model", "job.seed", "teachers")
"""What a run must have in common with a job for its votes to say how the job's are counted."""


class ServedTeacher(NamedTuple):
    """One teacher of a panel that is served.

    Attributes:
        teacher: Its name, None where the job has one teacher, and the job as if it were the only one.
        personas: Who is asked.
        order: What stands first in a prompt.
    """

    teacher: Teacher
    personas: list[Persona]
    order: PromptOrder

    def prompts(self, document: Document) -> list[Prompt]:
        """The prompts about a text."""
        config = self.teacher.config
        needed = method_of(config.vote.method).needs_logprobs
        return list(prompts_of(config, [document], self.personas, self.order, logprobs=needed))

    def shown(self) -> Shown | None:
        """The orders in which its prompts name the labels."""
        config, ids = self.teacher.config, [persona.persona_id for persona in self.personas]
        labels = list(config.task.labels)
        return shown_orders(labels, config.panel.label_order, ids, self.order, seed=config.job.seed)


class ServedPanel(NamedTuple):
    """A panel that is to be served, resolved before anything starts.

    Attributes:
        config: The job.
        asked: Its teachers.
        later: How votes are counted.
    """

    config: Config
    asked: tuple[ServedTeacher, ...]
    later: LaterCount

    def prompts(self, text: str) -> list[tuple[str | None, Prompt]]:
        """The prompts about a text, each with the name of its teacher.

        Draws and label orders are those of an id that is made of the text.
        """
        document = Document(document_id_of(text), text, "train")
        return [(each.teacher.name, prompt) for each in self.asked for prompt in each.prompts(document)]

    def consensus(self, text: str, answers: Sequence[tuple[str | None, Completion]]) -> Consensus:
        """What the answers, each with its teacher's name, say of a text, counted as the run's are."""
        config = self.config
        kind, labels = kind_of(config.task.kind), list(config.task.labels)
        aggregate: Callable[..., Iterable[Any]] = kind.aggregate
        parse: Callable[..., Any] = kind.parse
        votes = [parse(completion, labels)._replace(teacher=name) for name, completion in answers]
        document = Document(document_id_of(text), text, "train")
        shown = {each.teacher.name: orders for each in self.asked if (orders := each.shown()) is not None}
        [row] = aggregate([document], votes, config, shown=shown or None, count=self.later.function)
        return cast(Consensus, row)


def document_id_of(text: str) -> str:
    """The id that a text has outside of a run: the same text has the same one."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def served_panel(config: Config) -> ServedPanel:
    """The panel of a job, with what its run says where there is one that was voted on.

    Raises:
        ConfigError: texts of the job's kind of task do not get one label each, or its vote cannot be held.
        InputError: a persona cannot be used, or the run's votes lack what the method needs.
    """
    check_votes(config)
    if not kind_of(config.task.kind).gives_one_label:
        raise ConfigError(
            f"task.kind = {config.task.kind!r} has no decisions: its texts do not get one label each",
            mend="serve a single or an ordinal task",
        )
    if config.documents.text_pair_column:
        raise ConfigError("the job's texts are pairs, and a request has one text", mend="see docs/howto/tasks.md")
    run = _run_of(config)
    return ServedPanel(config, tuple(_asked(teacher, run) for teacher in teachers_of(config)), later_count(config, run))


def _asked(teacher: Teacher, run: RunFolder | None) -> ServedTeacher:
    config = teacher.config
    check_votes(config)
    panel = find_panel(config.panel, seed=config.job.seed, kept=teacher.folder.panel)
    order = config.panel.order
    if order == "auto":
        order = cast(PromptOrder, read_plan(teacher.folder.plan).prompt_order) if run else "persona_first"
    # The texts without content are the run's; nobody is asked about them again.
    asking = config.model_copy(update={"panel": config.panel.model_copy(update={"content_free": []})})
    return ServedTeacher(Teacher(teacher.name, asking), panel.personas, order)


def _run_of(config: Config) -> RunFolder | None:
    """The job's run, if it was voted on and asked the same panel the same question."""
    run = RunFolder(Path(config.job.run_folder))
    plans = [poll.plan for poll in run.polls().values()]
    if not (run.config.exists() and run.votes.exists() and all(plan.exists() for plan in plans)):
        return None
    differing = [key for key in config.differences(read_object(run.config)) if key.startswith(DECIDING)]
    return None if differing else run


class Panel:
    """Labels texts by asking a panel.

    Args:
        served: The panel.
        backends: What answers the prompts of each teacher, by its name; started.
    """

    is_ready = True

    def __init__(self, served: ServedPanel, backends: Mapping[str | None, Backend]) -> None:
        self._served, self._backends = served, backends
        self.labels = tuple(served.config.task.labels)
        self.counting: str | None = served.later.words

    async def label_texts(self, texts: Sequence[str]) -> list[TextLabel]:
        """One label per text, in their order.

        Raises:
            RequestError: a text is too long for the model, or the engine is gone or gives no answer.
        """
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return list(await asyncio.gather(*(self._label(text) for text in texts)))
        except TimeoutError:
            raise unavailable(f"the panel's engine gave no answer within {ANSWER_WITHIN_S:g} s") from None
        except EngineDeadError as error:
            raise unavailable(f"the panel's engine is gone: {error}") from error
        except UserError as error:
            raise unavailable(f"the panel's engine cannot be asked: {error}") from error

    async def _label(self, text: str) -> TextLabel:
        prompts = self._served.prompts(text)
        completions = await asyncio.gather(*(answer_of(self._backends[name], prompt) for name, prompt in prompts))
        if all(completion.error_kind for completion in completions):
            first = completions[0]
            if first.error_kind in OF_THE_REQUEST:
                raise RequestError(f"the panel cannot be asked about this text: {first.error}", param="input")
            raise unavailable(f"the panel's engine has no answer: {first.error}")
        names = [name for name, _ in prompts]
        row = self._served.consensus(text, list(zip(names, completions, strict=True)))
        spent = TokensSpent(
            sum(each.prompt_tokens for each in completions),
            sum(each.cached_prompt_tokens for each in completions),
            sum(each.output_tokens for each in completions),
        )
        read = row.abstained != NO_READABLE_VOTE
        return TextLabel(
            row.label, row.distribution if read else None, "panel", spent, row.votes_counted, row.abstained
        )
