"""An answer has room for every label, in any script and form, unless the job itself says how long it may be."""

import json
from typing import Any

import pytest

from xpoll.core.config.job import Config
from xpoll.core.records import Document
from xpoll.personas.persona import Persona
from xpoll.personas.prompts import MOST_SET_TOKENS, answer_max_tokens, build_prompts
from xpoll.votes.tasks.registry import kind_of

LONG = ["toys", "household goods, kitchen and dining: pots, pans and other cookware (induction)", "жалоба на доставку"]


def job(labels: list[str], *, kind: str = "single", **panel: Any) -> Config:
    task = {"labels": labels, "kind": kind}
    return Config.model_validate({"documents": {"path": "x.csv"}, "task": task, "panel": panel})


def room(config: Config) -> int:
    return answer_max_tokens(config, kind_of(config.task.kind).form)


def test_a_label_may_have_as_many_tokens_as_bytes() -> None:
    assert room(job(LONG)) == len(LONG[1].encode()) + 1 == 79
    assert room(job(["\u0e44\u0e21\u0e48\u0e1e\u0e2d\u0e43\u0e08", "ok"])) == 7 * 3 + 1
    assert room(job(["yes", "no"])) == 16
    (prompt,) = build_prompts([Document("0", "t", "train")], [Persona("p", "a reader")], job(LONG))
    assert prompt.sampling.max_tokens == 79


def test_a_set_may_name_all_labels_up_to_a_bound() -> None:
    assert room(job(LONG, kind="multi")) > len(json.dumps(LONG, ensure_ascii=False).encode())
    assert room(job([f"label {i}" for i in range(1000)], kind="multi")) == MOST_SET_TOKENS + 1


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_reason_of_any_script_leaves_room_for_the_label(kind: str) -> None:
    config = job(LONG, kind=kind, answer="chain_of_thought", reason_max_chars=100)
    named = LONG if kind == "multi" else LONG[1]
    answer = {"reason": "", kind_of(kind).form.key: named}
    # Thai is the longest known: 1.7 tokens a character.
    assert room(config) > 1.7 * 100 + len(json.dumps(answer, ensure_ascii=False, indent=1).encode())


def test_what_the_job_says_is_taken() -> None:
    assert room(job(LONG, max_tokens=5)) == 5
    assert room(job(LONG, answer="read")) == 16
