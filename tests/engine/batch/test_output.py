"""A journal in any order gives output lines in the order of the batch file."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.engine.batch.test_requests import line
from xpoll.core.records import COMPLETION_SCHEMA, Completion, to_table
from xpoll.engine.batch import order
from xpoll.engine.batch.order import in_input_order
from xpoll.engine.batch.requests import read_requests
from xpoll.engine.batch.responses import Responses
from xpoll.engine.batch.survey import Survey
from xpoll.engine.journal.journal import Journal


def journal(folder: Path, answers: list[Completion], *, rows_per_part: int) -> None:
    with Journal(folder, rows_per_part=rows_per_part) as opened:
        for start in range(0, len(answers), 100):
            opened.append(to_table(answers[start : start + 100], COMPLETION_SCHEMA).to_batches())


def test_answers_come_in_the_order_of_the_lines_however_many_pieces_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "PIECE_ROWS", 70)
    monkeypatch.setattr(order, "BATCH_ROWS", 8)
    monkeypatch.setattr(order, "MERGED_AT_ONCE", 3)
    (tmp_path / "in.jsonl").write_text("\n".join(line(f"id-{i}", n=1 + i % 2) for i in range(1000)))
    survey = Survey(read_requests(str(tmp_path / "in.jsonl")))
    answers = [
        Completion(f"id-{i}", "", sample, text=f"{i}/{sample}") for i in range(1000) for sample in range(1 + i % 2)
    ]
    shuffled = random.Random(0).sample(answers, len(answers))
    journal(tmp_path / "completions", shuffled, rows_per_part=300)
    found = list(in_input_order(tmp_path / "completions", survey, tmp_path / "sorting"))
    assert [answer for _, answer in found] == answers
    assert [number for number, _ in found] == [i for i in range(1000) for _ in range(1 + i % 2)]
    assert not (tmp_path / "sorting").exists()


def written(tmp_path: Path, text: str, *answers: Completion) -> tuple[dict[str, Any], bool]:
    (tmp_path / "in.jsonl").write_text(text)
    (request,) = read_requests(str(tmp_path / "in.jsonl"))
    made, good = Responses("m", "digest").line(request, answers)
    return json.loads(made), good


def answer(sample: int, **more: Any) -> Completion:
    counts = {"prompt_tokens": 10, "cached_prompt_tokens": 4, "output_tokens": 3, "started_unix_s": 1.7e9}
    return Completion("x", "", sample, **{"text": f"t{sample}", "finish_reason": "stop", **counts, **more})


def test_an_answered_line_is_a_chat_completion(tmp_path: Path) -> None:
    made, good = written(tmp_path, line(n=2), answer(0), answer(1, text="ä", finish_reason="length"))
    assert good
    assert (made["custom_id"], made["error"], made["response"]["status_code"]) == ("x", None, 200)
    body = made["response"]["body"]
    assert (body["object"], body["model"], body["created"]) == ("chat.completion", "m", 1_700_000_000)
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in body["choices"]] == [
        (0, "t0", "stop"),
        (1, "ä", "length"),
    ]
    assert body["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 6,
        "total_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    assert made["id"].startswith("batch_req_")
    assert made == written(tmp_path, line(n=2), answer(0), answer(1, text="ä", finish_reason="length"))[0]


@pytest.mark.parametrize(
    ("kind", "status", "type_"), [("context_length", 400, "BadRequestError"), ("poison", 500, "InternalServerError")]
)
def test_a_failed_choice_fails_its_line(tmp_path: Path, kind: str, status: int, type_: str) -> None:
    made, good = written(tmp_path, line(n=2), answer(0), answer(1, text=None, error_kind=kind, error="too much"))
    assert not good
    assert (made["response"]["status_code"], made["response"]["body"]) == (status, None)
    message = "1 of 2 choices failed, the first one: too much"
    assert made["error"] == {"error": {"message": message, "type": type_, "param": None, "code": status}}


def test_a_line_that_was_not_asked_says_why(tmp_path: Path) -> None:
    made, good = written(tmp_path, "nonsense")
    assert not good
    assert made["custom_id"] is None
    assert made["error"]["error"]["message"].startswith("line 1: line is no JSON: ")
