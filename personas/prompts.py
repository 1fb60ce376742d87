"""Documents x panel -> prompts, document by document, in one of two orders.

The engine computes once what prompts begin with in common:

    persona_first   persona, question, examples | text              shared by all prompts of a persona
    text_first      question, examples | text | persona             shared by all prompts of a text

The question names the labels. A text, and that of an example, always stands between fences
(personas/quoting.py): it is data, whatever it says.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xpoll.core.config import Config, PromptOrder
from xpoll.core.records import AnswerSchema, Document, Key, Message, Prompt, Sampling
from xpoll.core.task import Example
from xpoll.personas.label_order import rotated, shown_orders
from xpoll.personas.persona import Persona
from xpoll.personas.quoting import quoted

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
    labels = list(config.task.labels)
    persona_ids = [persona.persona_id for persona in panel]
    shown = shown_orders(labels, config.panel.label_order, persona_ids, order, seed=config.job.seed)
    persona_first = order == "persona_first"

    @cache
    def prefix(number: int, rotation: int) -> tuple[Message, ...]:
        return shared_messages(panel[number] if persona_first else None, config, rotated(labels, rotation))

    for document in documents:
        for number, persona in enumerate(panel):
            question = _question(document.text, None if persona_first else persona.persona)
            for sample in range(config.panel.samples):
                key = Key(document.document_id, persona.persona_id, sample)
                messages = (*prefix(number, shown.rotation(key) if shown else 0), question)
                yield Prompt(*key, messages, sampling, answer, document.problem)


def shared_messages(persona: Persona | None, config: Config, labels: Sequence[str]) -> tuple[Message, ...]:
    """What prompts begin with: the persona if it is to stand first, the question, and the examples as turns.

    Args:
        persona: Who answers; None where the text is to stand first.
        config: Holds task and answer form.
        labels: The labels in the order in which they are named.
    """
    task = config.task
    system = _TEMPLATES.get_template(f"{config.panel.answer}.jinja").render(
        persona=persona.persona if persona else None,
        kind=task.kind,
        question=task.question,
        labels={label: task.labels[label].rstrip(".") for label in labels},
        reason_max_chars=config.panel.reason_max_chars,
    )
    messages: list[Message] = [{"role": "system", "content": system}]
    for example in task.examples:
        messages.append(_question(example.text, None if persona else ANYBODY))
        messages.append({"role": "assistant", "content": _answered(example, config)})
    return tuple(messages)


def _question(text: str, reader: str | None) -> Message:
    return {"role": "user", "content": f"Text:\n{quoted(text)}" + (f"\n\nAnswer as: {reader}." if reader else "")}


def _answered(example: Example, config: Config) -> str:
    """What the answer to an example is, in the form that answers have."""
    named: str | list[str] = example.label if example.labels is None else example.labels
    if config.panel.answer == "chain_of_thought":
        key = "label" if example.labels is None else "labels"
        return json.dumps({"reason": example.reason, key: named}, ensure_ascii=False)
    return named if isinstance(named, str) else json.dumps(named, ensure_ascii=False)


def answer_schema(config: Config) -> AnswerSchema:
    """What an answer may be: a label, or a JSON object with a reason and a label; of a multi task a list of labels.

    Logprobs of the labels come almost free with a bare label. With a reason they are asked for at
    every token of it, so only where the vote needs them.
    """
    labels = tuple(config.task.labels)
    one: dict[str, Any] = {"type": "string", "enum": list(labels)}
    several = {"type": "array", "items": one, "maxItems": len(labels)}
    if config.task.kind == "multi":
        schema = several if config.panel.answer == "label" else _with_reason("labels", several, config)
        return AnswerSchema((), json.dumps(schema))
    if config.panel.answer == "label":
        return AnswerSchema(labels, logprobs=True)
    schema = _with_reason("label", one, config)
    return AnswerSchema(labels, json.dumps(schema), "label", logprobs=config.vote.needs_logprobs)


def _with_reason(key: str, value: dict[str, Any], config: Config) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "minLength": 1, "maxLength": config.panel.reason_max_chars},
            key: value,
        },
        "required": ["reason", key],
        "additionalProperties": False,
    }
