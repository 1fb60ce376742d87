"""Documents x panel -> prompts, document by document.

What does not change stands first in a prompt (persona, question, examples) and the text last, so that
a persona's prompts share one long prefix, which the engine computes once.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from core.config import Config
from core.records import AnswerSchema, Document, Message, Prompt, Sampling
from personas.panel import Persona

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), undefined=StrictUndefined, trim_blocks=True
)


def build_prompts(documents: Iterable[Document], panel: list[Persona], config: Config) -> Iterator[Prompt]:
    """One prompt for each document, persona and sample, in that order."""
    sampling = Sampling(config.panel.temperature, config.panel.top_p, config.panel.answer_max_tokens)
    answer = answer_schema(config)
    prefixes = {persona.persona_id: shared_messages(persona, config) for persona in panel}
    for document in documents:
        question: Message = {"role": "user", "content": f"Text: {document.text}"}
        for persona_id, prefix in prefixes.items():
            messages = (*prefix, question)
            for sample in range(config.panel.samples):
                yield Prompt(document.document_id, persona_id, sample, messages, sampling, answer, document.problem)


def shared_messages(persona: Persona, config: Config) -> tuple[Message, ...]:
    """What all prompts of a persona begin with: who it is, the question, and the examples as turns."""
    task = config.task
    system = _TEMPLATES.get_template(f"{config.panel.answer}.jinja").render(
        persona=persona.persona,
        question=task.question,
        labels={label: description.rstrip(".") for label, description in task.labels.items()},
        reason_max_chars=config.panel.reason_max_chars,
    )
    messages: list[Message] = [{"role": "system", "content": system}]
    for example in task.examples:
        shown = example.label
        if config.panel.answer == "chain_of_thought":
            shown = json.dumps({"reason": example.reason, "label": example.label}, ensure_ascii=False)
        messages.append({"role": "user", "content": f"Text: {example.text}"})
        messages.append({"role": "assistant", "content": shown})
    return tuple(messages)


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
    return AnswerSchema(labels, json.dumps(schema), "label", logprobs=config.vote.method == "calibrated")
