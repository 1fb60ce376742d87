"""From a prompt to OpenVINO GenAI's GenerationConfig. What it cannot honour is refused, not left out."""

import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from xpoll.core.records import Prompt
from xpoll.engine.backends.chat import more_of

RENAMED = {
    "seed": "rng_seed",
    "top_k": "top_k",
    "min_tokens": "min_new_tokens",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repetition_penalty",
    "ignore_eos": "ignore_eos",
}
"""Name that vLLM's SamplingParams has for a parameter, to GenAI's."""
READ_HERE = {
    "chat_template_kwargs",
    "structured_outputs",
    "stop",
    "stop_token_ids",
    "include_stop_str_in_output",
    "skip_special_tokens",
}
"""Parameters that are honoured outside the fields of the same kind."""


class Constraint(NamedTuple):
    """What an answer is held to: the field of StructuredOutputConfig, and its value."""

    field: str
    value: str


def constraint_of(prompt: Prompt) -> Constraint | None:
    """What the answer to a prompt is held to; None where it is free text.

    Raises:
        ValueError: GenAI has no such constraint.
    """
    answer = prompt.answer
    if answer.json_schema:
        return Constraint("json_schema", answer.json_schema)
    if answer.choices:
        return Constraint("grammar", alternatives(answer.choices))
    asked: Mapping[str, Any] = more_of(prompt).get("structured_outputs", {})
    match dict(asked):
        case {**every} if not every:
            return None
        case {"json": schema}:
            return Constraint("json_schema", schema if isinstance(schema, str) else json.dumps(schema))
        case {"json_object": True}:
            return Constraint("json_schema", '{"type": "object"}')
        case {"choice": choices}:
            return Constraint("grammar", alternatives(tuple(choices)))
        case {"regex": regex}:
            return Constraint("regex", regex)
        case {"grammar": grammar}:
            return Constraint("grammar", grammar)
    raise ValueError(f"OpenVINO GenAI has no structured output of {', '.join(asked)}")


def alternatives(choices: tuple[str, ...]) -> str:
    """A grammar of exactly these texts; strings of xgrammar's EBNF are written as in JSON."""
    return f"root ::= {' | '.join(json.dumps(choice, ensure_ascii=False) for choice in choices)}"


def stops_of(prompt: Prompt) -> list[str]:
    """Texts that end the answer to a prompt."""
    stop = more_of(prompt).get("stop") or []
    return [stop] if isinstance(stop, str) else list(stop)


def until_stop(text: str, prompt: Prompt) -> str:
    """An answer up to the first of the prompt's stop texts, or with it where the prompt wants it."""
    found = [(text.index(stop), stop) for stop in stops_of(prompt) if stop in text]
    if not found:
        return text
    place, stop = min(found)
    return text[: place + len(stop)] if more_of(prompt).get("include_stop_str_in_output") else text[:place]


def seed_of(prompt: Prompt) -> int:
    """The prompt's own seed, or else one of its key: GenAI begins each request's numbers anew, at 0 unless told."""
    seed = more_of(prompt).get("seed")
    return int(seed) % 2**63 if seed is not None else zlib.crc32("\0".join(map(str, prompt.key)).encode())


def generation_config(prompt: Prompt, max_tokens: int, end_tokens: set[int]) -> Any:
    """The GenerationConfig of a prompt.

    Args:
        prompt: The prompt.
        max_tokens: Longest answer in tokens.
        end_tokens: Tokens that end an answer of this model.

    Raises:
        ValueError: GenAI cannot honour a parameter or a constraint.
    """
    import openvino_genai

    more = more_of(prompt)
    config = openvino_genai.GenerationConfig()
    if unknown := [name for name in more if name not in RENAMED and name not in READ_HERE]:
        raise ValueError(f"OpenVINO GenAI has no {', '.join(unknown)}")
    config.max_new_tokens = max_tokens
    config.stop_token_ids = end_tokens | set(more.get("stop_token_ids") or ())
    config.do_sample = prompt.sampling.temperature > 0
    if config.do_sample:
        config.temperature, config.top_p = prompt.sampling.temperature, prompt.sampling.top_p
    for name, value in more.items():
        if name in RENAMED and name != "seed" and not (name == "top_k" and value <= 0):
            setattr(config, RENAMED[name], value)
    config.rng_seed = seed_of(prompt)
    if stops := stops_of(prompt):
        # With the stop text in the output its tokens are all there, and the text can be cut at the right character.
        config.stop_strings, config.include_stop_str_in_output = set(stops), True
    if (constraint := constraint_of(prompt)) is not None:
        config.structured_output_config = openvino_genai.StructuredOutputConfig(**{constraint.field: constraint.value})
    return config
