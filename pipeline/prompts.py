"""All prompts of a run: documents x panel, drawn where not everybody is asked, then the texts without content."""

from collections.abc import Iterable, Iterator
from itertools import chain

from xpoll.core.config import Config, PromptOrder
from xpoll.core.records import Document, Prompt
from xpoll.personas.draw import drawn_prompts
from xpoll.personas.persona import Persona
from xpoll.personas.probes import probe_documents
from xpoll.personas.prompts import build_prompts


def prompts_of(
    config: Config, documents: Iterable[Document], panel: list[Persona], order: PromptOrder
) -> Iterator[Prompt]:
    """Every prompt of a run, document by document, then those about texts without content."""
    prompts = build_prompts(documents, panel, config, order)
    probes = build_prompts(probe_documents(config), panel, config, order)
    return chain(
        drawn_prompts(prompts, panel, config.panel.per_document, seed=config.job.seed),
        (prompt for prompt in probes if prompt.sample == 0),
    )
