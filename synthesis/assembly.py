"""From answers to rows: read, put through the gates, joined with their replies."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from xpoll.core.config.job import Config
from xpoll.core.records import AnswerSchema, Completion, Prompt, Sampling, from_table
from xpoll.synthesis.drawing import Draw, TextRequest, messages_of
from xpoll.synthesis.gates.gate import Candidate
from xpoll.synthesis.gates.registry import NamedCheck, problem_of
from xpoll.synthesis.reading import read_text
from xpoll.synthesis.template import Template
from xpoll.synthesis.texts import CONTROL_PROBLEM, SynthesizedText, read_texts

REPLIER = "reply"
"""Who answers a prompt that was written: the model as it is."""
REPLY_GATES = ("refusal",)
"""Gates that replies pass, too, where the job has them."""
AT_A_TIME = 4096


def in_order(completions: pa.Table, draw: Draw) -> Iterator[Completion]:
    """Answers in the order of their rows, whatever the order in which they came; those of nobody in particular last.

    Args:
        completions: Of COMPLETION_SCHEMA; it is in memory as Arrow has it.
        draw: What the rows were drawn from.
    """
    numbers = np.array([draw.number_of(each) for each in completions.column("document_id").to_pylist()], np.int64)
    ordered = completions.take(pa.array(np.argsort(numbers, kind="stable")))
    for start in range(0, ordered.num_rows, AT_A_TIME):
        yield from from_table(ordered.slice(start, AT_A_TIME), Completion)


def gated(config: Config, draw: Draw, completions: pa.Table, checks: Sequence[NamedCheck]) -> Iterator[SynthesizedText]:
    """The rows of a round, each with the first gate that it did not pass.

    Args:
        config: The job.
        draw: What the rows were drawn from.
        completions: Of the round.
        checks: The gates, which have seen the texts of earlier rounds.
    """
    templates = {template.name: template for template in draw.templates}
    for completion in in_order(completions, draw):
        row = draw.row_of(completion.document_id)
        template = templates[row.template]
        text, problem = read_text(completion, template)
        if problem is None:
            problem = CONTROL_PROBLEM if row.is_control else _gate(row, text, completion, template, config, checks)
        yield _text_of(row, text, problem, completion, template, config)


def _gate(
    row: TextRequest,
    text: str,
    completion: Completion,
    template: Template,
    config: Config,
    checks: Sequence[NamedCheck],
) -> str | None:
    asked = "\n".join(message["content"] for message in messages_of(row, template, config))
    reason, tokens = completion.finish_reason, completion.output_tokens
    return problem_of(Candidate(row.row_id, text, row.label, template, asked, reason, tokens), checks)


def _text_of(
    row: TextRequest, text: str, problem: str | None, completion: Completion, template: Template, config: Config
) -> SynthesizedText:
    sampling = template.sampling(config.synthesis.sampling, config.engine.sampling_more)
    return SynthesizedText(
        id=row.row_id,
        text=text,
        label=row.label,
        prompt=text if template.header.replies else None,
        completion=None,
        persona_id=row.persona_id,
        persona=row.persona,
        template=row.template,
        axes=row.axes_json,
        model=config.engine.model,
        sampling=sampling_json(sampling),
        finish_reason=completion.finish_reason,
        output_tokens=completion.output_tokens,
        problem=problem,
    )


def sampling_json(sampling: Sampling) -> str:
    """Sampling parameters as a JSON object."""
    own = {"temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": sampling.max_tokens}
    return json.dumps({**own, **json.loads(sampling.more or "{}")}, sort_keys=True)


def reply_prompts(config: Config, draw: Draw, texts: Path) -> Iterator[Prompt]:
    """The kept prompts as the model is asked them: plainly, by nobody in particular.

    Args:
        config: The job.
        draw: Has the templates.
        texts: File of the rows before they have replies.
    """
    samplings = {
        template.name: template.reply_sampling(config.synthesis.sampling, config.engine.sampling_more)
        for template in draw.templates
        if template.header.replies
    }
    for text in read_texts(texts, kept=True):
        if text.template in samplings:
            messages = ({"role": "user", "content": text.text},)
            yield Prompt(text.id, REPLIER, 0, messages, samplings[text.template], AnswerSchema())


def with_replies(
    draw: Draw, texts: Path, completions: pa.Table, checks: Sequence[NamedCheck]
) -> Iterator[SynthesizedText]:
    """The rows with their replies; one whose reply is cut off, empty or a refusal is not kept.

    Args:
        draw: Has the templates.
        texts: File of the rows before they have replies.
        completions: The replies; they are in memory.
        checks: The job's gates.
    """
    templates = {template.name: template for template in draw.templates}
    replies = {completion.document_id: completion for completion in from_table(completions, Completion)}
    checks = [each for each in checks if each.name in REPLY_GATES]
    for text in read_texts(texts):
        reply = replies.get(text.id)
        if text.problem is not None or not templates[text.template].header.replies or reply is None:
            yield text
            continue
        answer = (reply.text or "").strip()
        yield text._replace(completion=answer or None, problem=_reply_problem(reply, answer, text, templates, checks))


def _reply_problem(
    reply: Completion,
    answer: str,
    text: SynthesizedText,
    templates: dict[str, Template],
    checks: Sequence[NamedCheck],
) -> str | None:
    if reply.text is None:
        return f"reply: engine: {reply.error_kind}: {reply.error}"
    if not answer:
        return "reply: empty"
    if reply.finish_reason == "length":
        return f"reply: cut off after {reply.output_tokens} tokens"
    candidate = Candidate(
        text.id, answer, None, templates[text.template], text.text, reply.finish_reason, reply.output_tokens
    )
    problem = problem_of(candidate, checks)
    return problem and f"reply: {problem}"
