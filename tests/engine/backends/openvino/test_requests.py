"""What a prompt asks for becomes GenAI's GenerationConfig, or an error that names what it cannot honour."""

import json
from typing import Any

import pytest

from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import ConfigError
from xpoll.core.records import AnswerSchema, Prompt, Sampling
from xpoll.engine.backends import registry
from xpoll.engine.backends.openvino.requests import Constraint, constraint_of, generation_config, seed_of, until_stop


def prompt(answer: AnswerSchema | None = None, *, temperature: float = 0.0, sample: int = 0, **more: Any) -> Prompt:
    sampling = Sampling(temperature, 0.9, 8, json.dumps(more) if more else None)
    return Prompt("d", "p", sample, ({"role": "user", "content": "a"},), sampling, answer or AnswerSchema())


SCHEMA = '{"type": "object"}'


@pytest.mark.parametrize(
    ("asked", "constraint"),
    [
        (prompt(), None),
        (prompt(AnswerSchema(("good", 'b"ä'))), Constraint("grammar", 'root ::= "good" | "b\\"ä"')),
        (prompt(AnswerSchema(("a",), json_schema=SCHEMA, choice_property="x")), Constraint("json_schema", SCHEMA)),
        (prompt(structured_outputs={"json": {"type": "object"}}), Constraint("json_schema", SCHEMA)),
        (prompt(structured_outputs={"json_object": True}), Constraint("json_schema", SCHEMA)),
        (prompt(structured_outputs={"regex": "a+"}), Constraint("regex", "a+")),
        (prompt(structured_outputs={"grammar": 'root ::= "a"'}), Constraint("grammar", 'root ::= "a"')),
        (prompt(structured_outputs={"choice": ["a", "b"]}), Constraint("grammar", 'root ::= "a" | "b"')),
    ],
)
def test_what_an_answer_is_held_to(asked: Prompt, constraint: Constraint | None) -> None:
    assert constraint_of(asked) == constraint


def test_what_genai_has_not_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="disable_any_whitespace"):
        constraint_of(prompt(structured_outputs={"disable_any_whitespace": True}))
    pytest.importorskip("openvino_genai")
    with pytest.raises(ValueError, match="has no min_p, logit_bias"):
        generation_config(prompt(min_p=0.1, logit_bias={"3": 1.0}), 8, {2})


def test_parameters_reach_genai_under_its_own_names() -> None:
    pytest.importorskip("openvino_genai")
    more = {"top_k": 5, "min_tokens": 2, "repetition_penalty": 1.5, "stop_token_ids": [7], "seed": -1}
    config = generation_config(prompt(temperature=0.8, **more), 8, {2})
    assert (config.max_new_tokens, config.top_k, config.min_new_tokens) == (8, 5, 2)
    assert (config.do_sample, config.temperature, config.top_p) == (True, pytest.approx(0.8), pytest.approx(0.9))
    assert (config.repetition_penalty, config.stop_token_ids, config.rng_seed) == (1.5, {2, 7}, 2**63 - 1)
    greedy = generation_config(prompt(top_k=-1, stop="."), 8, {2})
    assert (greedy.do_sample, greedy.stop_strings, greedy.include_stop_str_in_output) == (False, {"."}, True)
    assert greedy.top_k > 1_000_000, "-1 is all, as for vLLM"


def test_each_sample_has_numbers_of_its_own_and_the_same_in_every_run() -> None:
    seeds = [seed_of(prompt(sample=sample)) for sample in range(5)]
    assert len(set(seeds)) == 5
    assert seeds == [seed_of(prompt(sample=sample)) for sample in range(5)]
    assert seed_of(prompt(seed=3)) == 3


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "a. b, c"),
        ({"stop": "."}, "a"),
        ({"stop": [",", "."]}, "a"),
        ({"stop": [","], "include_stop_str_in_output": True}, "a. b,"),
        ({"stop": ["x"]}, "a. b, c"),
    ],
)
def test_an_answer_ends_at_the_first_stop_text(more: dict[str, Any], text: str) -> None:
    assert until_stop("a. b, c", prompt(**more)) == text


def test_a_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "package_version", lambda name: None if name == "openvino-genai" else "1")
    with pytest.raises(ConfigError, match="needs openvino-genai ") as raised:
        registry.check_backend(EngineConfig(backend="openvino"))
    assert raised.value.mend == "pip install 'xpoll[openvino-genai]'"
    registry.check_backend(EngineConfig(backend="openvino", address="ray-head:6379"))
