"""All prompts of a run: documents x panel, drawn where not everybody is asked, then the texts without content."""

from collections.abc import Iterable, Iterator
from itertools import chain

from xpoll.core.config.job import Config, PromptOrder
from xpoll.core.records import Document, Prompt
from xpoll.personas.draw import drawn_prompts
from xpoll.personas.persona import Persona
from xpoll.personas.probes import probe_documents
from xpoll.personas.prompts import build_prompts
from xpoll.votes.tasks.registry import kind_of


def prompts_of(
    config: Config, documents: Iterable[Document], panel: list[Persona], order: PromptOrder, *, logprobs: bool
) -> Iterator[Prompt]:
    """Every prompt of a run, document by document, then those about texts without content."""
    form = kind_of(config.task.kind).form
    prompts, probes = (
        build_prompts(asked, panel, config, order, form=form, needs_logprobs=logprobs)
        for asked in (documents, probe_documents(config))
    )
    return chain(
        drawn_prompts(prompts, panel, config.panel.per_document, seed=config.job.seed),
        (prompt for prompt in probes if prompt.sample == 0),
    )
