"""Prompts for models that hold labels against a text instead of answering in words: the text as it is, and the labels.

There is nothing to ask such a model and nobody for it to be: the question, the persona and the examples are not read.
"""

from collections.abc import Iterable, Iterator

from xpoll.core.config import Config
from xpoll.core.records import AnswerSchema, Document, Key, Prompt, Sampling
from xpoll.personas.persona import Persona

MATCHED = Sampling(0.0, 1.0, None)
"""Nothing is drawn, and there is no answer whose length could be bounded."""


def match_prompts(
    documents: Iterable[Document], panel: list[Persona], config: Config, *, logprobs: bool
) -> Iterator[Prompt]:
    """One prompt per document, persona and sample, in that order.

    Args:
        documents: What is asked about.
        panel: Whose votes these are.
        config: Names the labels.
        logprobs: Whether answers carry the probability of each label.
    """
    labels = config.task.labels
    schema = AnswerSchema(tuple(labels), logprobs=logprobs, descriptions=tuple(labels.values()))
    for document in documents:
        for persona in panel:
            for sample in range(config.panel.samples):
                key = Key(document.document_id, persona.persona_id, sample)
                yield Prompt(*key, ({"role": "user", "content": document.text},), MATCHED, schema, document.problem)
