"""All prompts of a run: documents x panel, drawn where not everybody is asked, then the texts without content."""

from collections.abc import Iterable, Iterator
from itertools import chain

from xpoll.core.config.job import Config, PromptOrder
from xpoll.core.records import Document, Prompt
from xpoll.personas.draw import asked_of_each
from xpoll.personas.persona import Persona
from xpoll.personas.probes import probe_documents
from xpoll.personas.prompts import build_prompts
from xpoll.votes.tasks.registry import kind_of


def prompts_of(
    config: Config, documents: Iterable[Document], panel: list[Persona], order: PromptOrder, *, logprobs: bool
) -> Iterator[Prompt]:
    """Every prompt of a run, document by document, then those about texts without content."""
    form = kind_of(config.task.kind).form
    asked_of = asked_of_each(panel, config.panel.per_document, seed=config.job.seed)
    prompts = build_prompts(documents, panel, config, order, form=form, needs_logprobs=logprobs, asked_of=asked_of)
    probes = build_prompts(probe_documents(config), panel, config, order, form=form, needs_logprobs=logprobs)
    return chain(prompts, (prompt for prompt in probes if prompt.sample == 0))
