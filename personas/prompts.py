"""Documents x panel -> prompts, document by document, in one of two orders.

The engine computes once what prompts begin with in common:

    persona_first   persona, question, examples | text              shared by all prompts of a persona
    text_first      question, examples | text | persona             shared by all prompts of a text

The question names the labels. Where each label is read by itself (panel.answer = "read" in a task of several labels),
they stand in questions of their own behind all of this, which share it. A text, and that of an example, always stands
between fences (personas/quoting.py): it is data, whatever it says.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xpoll.core.config.job import Config, PromptOrder
from xpoll.core.config.task import Example, TaskConfig
from xpoll.core.pairs import joined, parts_of
from xpoll.core.questions import YES_NO, Questions
from xpoll.core.records import AnswerSchema, Document, Key, Message, Prompt, Sampling
from xpoll.personas.answer_format import ONE_LABEL, AnswerFormat
from xpoll.personas.label_order import rotated, shown_orders
from xpoll.personas.match import match_prompts
from xpoll.personas.persona import Persona
from xpoll.personas.quoting import quoted

ANYBODY = "a careful annotator"
"""Who answers the examples where the text stands first; without a reader there, a small model does worse."""

FEWEST_TOKENS = 16
"""Room for an answer, however short the labels are."""
MOST_SET_TOKENS = 1024
"""Room for a set of labels at most: all of a hundred names would not leave a small model's context to the text."""

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), undefined=StrictUndefined, trim_blocks=True
)


def orders_of(config: Config) -> tuple[PromptOrder, ...]:
    """The orders worth comparing for a job; first the one in which quality was measured."""
    if config.panel.size > 1:
        return ("persona_first", "text_first")
    # One persona's prompts share the same in both orders.
    return ("text_first",) if config.panel.order == "text_first" else ("persona_first",)


def build_prompts(
    documents: Iterable[Document],
    panel: list[Persona],
    config: Config,
    order: PromptOrder = "persona_first",
    *,
    form: AnswerFormat = ONE_LABEL,
    needs_logprobs: bool = False,
    asked_of: Callable[[str], Sequence[Persona]] | None = None,
) -> Iterator[Prompt]:
    """One prompt per document, persona and sample, in that order, whatever stands first in a prompt.

    Args:
        documents: What is asked about.
        panel: Who is asked.
        config: The job.
        order: What stands first in a prompt.
        form: How the answers to the job's kind of task are asked for.
        needs_logprobs: Whether the vote reads how likely the engine held each label to be.
        asked_of: From a document's id to those of the panel that are asked about it; all without it.
    """
    if config.panel.answer == "match":
        logprobs = config.panel.carries_logprobs(needed=needs_logprobs)
        yield from match_prompts(documents, panel, config, logprobs=logprobs, asked_of=asked_of)
        return
    room = answer_max_tokens(config, form)
    sampling = Sampling(config.panel.temperature, config.panel.top_p, room, config.engine.sampling_more)
    answer = answer_schema(config, form, needs_logprobs=needs_logprobs)
    labels = list(config.task.labels)
    persona_ids = [persona.persona_id for persona in panel]
    shown = shown_orders(labels, config.panel.label_order, persona_ids, order, seed=config.job.seed)
    persona_first, pair = order == "persona_first", bool(config.documents.text_pair_column)

    first = {persona.persona_id: persona for persona in panel} if persona_first else {}

    @cache
    def prefix(persona_id: str, rotation: int) -> tuple[Message, ...]:
        return shared_messages(first.get(persona_id), config, rotated(labels, rotation), form)

    samples = range(config.panel.samples)
    for document in documents:
        document_id, text, problem = document.document_id, document.text, document.problem
        # What prompts share is one object, so that it is made, held and sent to a worker once.
        question = _question(text, None, pair=pair)
        for persona in panel if asked_of is None else asked_of(document_id):
            if not persona_first:
                question = _question(text, persona.persona, pair=pair)
            messages = (*prefix(persona.persona_id, 0), question)
            for sample in samples:
                if shown:
                    rotation = shown.rotation(Key(document_id, persona.persona_id, sample))
                    messages = (*prefix(persona.persona_id, rotation), question)
                yield Prompt(document_id, persona.persona_id, sample, messages, sampling, answer, problem)


def shared_messages(
    persona: Persona | None, config: Config, labels: Sequence[str], form: AnswerFormat
) -> tuple[Message, ...]:
    """What prompts begin with: the persona if it is to stand first, the question, and the examples as turns.

    Args:
        persona: Who answers; None where the text is to stand first.
        config: Holds task and answer form.
        labels: The labels in the order in which they are named.
        form: How the answers are asked for.
    """
    task = config.task
    each_label = asks_of_each(config, form)
    # A read of one label asks just as a label answer does, so that one is the likelihood of the other.
    template = "chain_of_thought" if config.panel.answer == "chain_of_thought" else "label"
    if each_label:
        template = "questions"
    system = _system(template, task, labels, form, persona=persona, reason_max_chars=config.panel.reason_max_chars)
    messages: list[Message] = [{"role": "system", "content": system}]
    for number, example in enumerate(task.examples):
        shown = example.text if example.text_pair is None else joined(example.text, example.text_pair)
        asked = _question(shown, None if persona else ANYBODY, pair=bool(config.documents.text_pair_column))
        if each_label:
            messages += _shown_questions(asked, example, config, number)
        else:
            messages += [asked, {"role": "assistant", "content": _answered(example, config, form)}]
    return tuple(messages)


def instruction(task: TaskConfig, form: AnswerFormat = ONE_LABEL) -> str:
    """What a model is told that answers with labels alone, in nobody's name.

    Args:
        task: The question and the labels.
        form: How the answer is asked for.
    """
    return _system("label", task, list(task.labels), form)


def _system(
    template: str,
    task: TaskConfig,
    labels: Sequence[str],
    form: AnswerFormat,
    *,
    persona: Persona | None = None,
    reason_max_chars: int = 0,
) -> str:
    return _TEMPLATES.get_template(f"{template}.jinja").render(
        persona=persona.persona if persona else None,
        form=form,
        question=task.question,
        labels={label: task.labels[label].rstrip(".") for label in labels},
        reason_max_chars=reason_max_chars,
    )


def asks_of_each(config: Config, form: AnswerFormat) -> bool:
    """Whether a prompt asks about each label by itself, to be answered yes or no."""
    return config.panel.answer == "read" and not form.one_label


def _question(text: str, reader: str | None, *, pair: bool) -> Message:
    shown = f"Text:\n{quoted(text)}"
    if pair:
        first, second = parts_of(text)
        shown = f"First text:\n{quoted(first)}\n\nSecond text:\n{quoted(second)}"
    return {"role": "user", "content": shown + (f"\n\nAnswer as: {reader}." if reader else "")}


def _shown_questions(asked: Message, example: Example, config: Config, number: int) -> Iterator[Message]:
    """Turns about an example: a label that fits and one that does not, where it has them; others in each example."""
    labels = config.task.labels
    for answer, group in zip(
        YES_NO, (example.named, [each for each in labels if each not in example.named]), strict=True
    ):
        if group:
            label = group[number % len(group)]
            question = question_about(label, labels[label])
            yield {**asked, "content": f"{asked['content']}\n\n{question}"}
            yield {"role": "assistant", "content": answer}


def question_about(label: str, description: str) -> str:
    """The question whether a label fits, short because each label costs its tokens once for every text."""
    described = f" ({description.rstrip('.')})" if description else ""
    return f"Label: {label}{described}. Does it fit the text, yes or no?"


def _questions(config: Config, form: AnswerFormat) -> Questions:
    labels = config.task.labels
    described = "".join(f" {label}: {text.rstrip('.')}." for label, text in labels.items() if text)
    together = f"Do not answer yes or no, but with {form.bare}: {', '.join(labels)}."
    return Questions(
        tuple(question_about(label, text) for label, text in labels.items()), f"{described} {together}".strip()
    )


def _answered(example: Example, config: Config, form: AnswerFormat) -> str:
    """What the answer to an example is, in the form that answers have."""
    named = form.shown(example)
    if config.panel.answer == "chain_of_thought":
        return json.dumps({"reason": example.reason, form.key: named}, ensure_ascii=False)
    return named if isinstance(named, str) else json.dumps(named, ensure_ascii=False)


def answer_max_tokens(config: Config, form: AnswerFormat = ONE_LABEL) -> int:
    """`panel.max_tokens`, or what the longest answer needs: a token of a label has at least one byte."""
    if config.panel.max_tokens is not None:
        return config.panel.max_tokens
    if config.panel.answer == "read" and form.one_label:
        return FEWEST_TOKENS
    labels = list(config.task.labels)
    named: str | list[str] = max(labels, key=_num_bytes) if form.one_label else labels
    if config.panel.answer == "chain_of_thought":
        longest = _num_bytes(json.dumps({"reason": "", form.key: named}, ensure_ascii=False, indent=2))
    else:
        longest = _num_bytes(named if isinstance(named, str) else json.dumps(named, ensure_ascii=False))
    if form.max_tokens is not None:
        longest = form.max_tokens
    if not form.one_label:
        longest = min(longest, MOST_SET_TOKENS)
    if config.panel.answer == "chain_of_thought":
        longest += max(FEWEST_REASON_TOKENS, _TOKENS_PER_CHARACTER * config.panel.reason_max_chars)
    return max(FEWEST_TOKENS, longest + 1)


FEWEST_REASON_TOKENS = 128
"""Of a reason however short, because a tokenizer may take four tokens for one character."""

_TOKENS_PER_CHARACTER = 2
"""Of a reason, at most: SmolLM2's tokenizer, which is made for English, takes 1.7 for Thai, 1.0 for Arabic and 0.8 for
Russian."""


def _num_bytes(text: str) -> int:
    return len(text.encode())


def answer_schema(config: Config, form: AnswerFormat = ONE_LABEL, *, needs_logprobs: bool = False) -> AnswerSchema:
    """What an answer may be: what the kind of task asks for, bare or in a JSON object after a reason.

    Logprobs of the labels come almost free with a bare label. With a reason they are asked for at
    every token of it, so only where the vote needs them, or where `panel.logprobs` says so.
    """
    labels = tuple(config.task.labels)
    logprobs = config.panel.carries_logprobs(needed=needs_logprobs)
    if config.panel.answer != "chain_of_thought":
        if form.one_label:
            return AnswerSchema(labels, logprobs=logprobs, read=config.panel.answer == "read")
        schema = json.dumps(form.schema(labels))
        if asks_of_each(config, form):
            return AnswerSchema(labels, schema, logprobs=logprobs, read=True, questions=_questions(config, form))
        return AnswerSchema((), schema)
    schema = json.dumps(_with_reason(form.key, form.schema(labels), config))
    return AnswerSchema(labels, schema, form.key, logprobs=logprobs) if form.one_label else AnswerSchema((), schema)


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
