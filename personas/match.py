"""Prompts for models that compare texts to labels: the text as it is, the labels, and examples of them.

There is nothing to ask such a model and nobody for it to be: the question and the persona are not read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from xpoll.core.config.job import Config
from xpoll.core.records import AnswerSchema, Document, Key, Prompt, Sampling
from xpoll.personas.persona import Persona

MATCHED = Sampling(0.0, 1.0, None)
"""Nothing is drawn, and there is no answer whose length could be bounded."""


def match_prompts(
    documents: Iterable[Document],
    panel: Sequence[Persona],
    config: Config,
    *,
    logprobs: bool,
    asked_of: Callable[[str], Sequence[Persona]] | None = None,
) -> Iterator[Prompt]:
    """One prompt per document, persona and sample, in that order.

    Args:
        documents: What is asked about.
        panel: Whose votes these are.
        config: Names the labels, and has examples of them.
        logprobs: Whether answers carry the probability of each label.
        asked_of: From a document's id to those of the panel that are asked about it; all without it.
    """
    labels = config.task.labels
    examples = tuple(tuple(each.text for each in config.task.examples if each.label == label) for label in labels)
    schema = AnswerSchema(
        tuple(labels),
        logprobs=logprobs,
        descriptions=tuple(labels.values()),
        examples=examples if any(examples) else (),
    )
    for document in documents:
        for persona in panel if asked_of is None else asked_of(document.document_id):
            for sample in range(config.panel.samples):
                key = Key(document.document_id, persona.persona_id, sample)
                yield Prompt(*key, ({"role": "user", "content": document.text},), MATCHED, schema, document.problem)
