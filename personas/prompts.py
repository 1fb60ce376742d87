"""Documents x panel -> prompts, document by document, in one of two orders.

The engine computes once what prompts begin with in common:

    persona_first   persona, question, examples | text              shared by all prompts of a persona
    text_first      question, examples | text | persona             shared by all prompts of a text
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from core.config import Config, PromptOrder
from core.records import AnswerSchema, Document, Message, Prompt, Sampling
from personas.panel import Persona

ANYBODY = "a careful annotator"
"""Who answers the examples where the text stands first; without a reader there, a small model does worse."""

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), undefined=StrictUndefined, trim_blocks=True
)


def orders_of(config: Config) -> tuple[PromptOrder, ...]:
    """The orders worth comparing for a job, the one that quality was measured in first."""
    if config.panel.size > 1:
        return ("persona_first", "text_first")
    # One persona's prompts share the same in both orders.
    return ("text_first",) if config.panel.order == "text_first" else ("persona_first",)


def build_prompts(
    documents: Iterable[Document], panel: list[Persona], config: Config, order: PromptOrder = "persona_first"
) -> Iterator[Prompt]:
    """One prompt for each document, persona and sample, in that order, whatever stands first in a prompt."""
    sampling = Sampling(
        config.panel.temperature, config.panel.top_p, config.panel.answer_max_tokens, config.engine.sampling_more
    )
    answer = answer_schema(config)
    persona_first = order == "persona_first"
    prefixes = [shared_messages(persona if persona_first else None, config) for persona in panel]
    for document in documents:
        for persona, prefix in zip(panel, prefixes, strict=True):
            messages = (*prefix, _question(document.text, None if persona_first else persona.persona))
            for sample in range(config.panel.samples):
                yield Prompt(
                    document.document_id, persona.persona_id, sample, messages, sampling, answer, document.problem
                )


def shared_messages(persona: Persona | None, config: Config) -> tuple[Message, ...]:
    """What prompts begin with: the persona if it is to stand first, the question, and the examples as turns."""
    task = config.task
    system = _TEMPLATES.get_template(f"{config.panel.answer}.jinja").render(
        persona=persona.persona if persona else None,
        question=task.question,
        labels={label: description.rstrip(".") for label, description in task.labels.items()},
        reason_max_chars=config.panel.reason_max_chars,
    )
    messages: list[Message] = [{"role": "system", "content": system}]
    for example in task.examples:
        shown = example.label
        if config.panel.answer == "chain_of_thought":
            shown = json.dumps({"reason": example.reason, "label": example.label}, ensure_ascii=False)
        messages.append(_question(example.text, None if persona else ANYBODY))
        messages.append({"role": "assistant", "content": shown})
    return tuple(messages)


def _question(text: str, reader: str | None) -> Message:
    return {"role": "user", "content": f"Text: {text}" + (f"\n\nAnswer as: {reader}." if reader else "")}


def answer_schema(config: Config) -> AnswerSchema:
    """What an answer may be: a label, or a JSON object with a reason and a label.

    Logprobs of the labels come almost free with a bare label. With a reason they are asked for at
    every token of it, so only where the vote needs them.
    """
    labels = tuple(config.task.labels)
    if config.panel.answer == "label":
        return AnswerSchema(labels, logprobs=True)
    schema = {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "minLength": 1, "maxLength": config.panel.reason_max_chars},
            "label": {"type": "string", "enum": list(labels)},
        },
        "required": ["reason", "label"],
        "additionalProperties": False,
    }
    return AnswerSchema(labels, json.dumps(schema), "label", logprobs=config.vote.needs_logprobs)
