"""The suite `tasks`: a drawn panel errs as it is said to, and its answers are read and scored as an engine's."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.in_process import answer_in_process
from xpoll.benchmarks.runner.suite import check, read_suite
from xpoll.benchmarks.suites.tasks import measure
from xpoll.benchmarks.workloads.task_engine import HOSTILE
from xpoll.benchmarks.workloads.task_panels import SetErrors, SpanErrors, set_answers, span_answers
from xpoll.core.errors import ConfigError
from xpoll.core.spans import TextSpan

NEVER = SpanErrors(0, 0, 0, 0, 0)


def made_up(folder: Path) -> Path:
    """Folds of the data set's form, drawn."""
    (folder / "nlupp_banking").mkdir()
    about = {"description": "is it so?", "domain": ["general"]}
    ontology = {"intents": {f"i{n}": about for n in range(5)}, "slots": {"time": about, "person_name": about}}
    (folder / "nlupp_banking/ontology.json").write_text(json.dumps(ontology))
    for fold in range(5):
        rows = [
            {
                "text": f"call {fold}{i} at noon please",
                "intents": [f"i{i % 5}", f"i{(i + 1) % 5}"],
                "slots": {
                    "time": {"text": "noon", "span": [len(f"call {fold}{i} at "), len(f"call {fold}{i} at noon")]}
                },
            }
            for i in range(30)
        ]
        (folder / f"nlupp_banking/fold{fold}.json").write_text(json.dumps(rows))
    return folder


def test_a_panel_that_never_errs_teaches_without_error_and_one_that_errs_does_not(tmp_path: Path) -> None:
    drawn = {"parts": ["intents", "slots"], "with_student": False, "seeds": 1}
    usual = read_suite("tasks")["parameters"] | {"data": str(made_up(tmp_path))} | drawn
    perfect = {"set_errors": [{"misses": 0.0, "adds": 0.0}], "span_errors": [NEVER._asdict()]}
    intents, slots = measure(usual | perfect)
    assert (intents["intents_teacher_f1_micro"], slots["slots_teacher_f1_micro"]) == (1, 1)
    assert (intents["test_rows"], slots["slots_teacher_whole_right"]) == (30, 1)
    intents, slots = measure(usual)
    assert intents["intents_teacher_f1_micro"] < 1
    assert slots["slots_teacher_f1_micro"] < slots["slots_teacher_f1_overlap"] <= 1


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_misses_are_as_frequent_as_they_are_said_to_be_and_half_of_them_are_common(rate: float) -> None:
    truth = np.ones((800, 2), bool)
    errors = [SetErrors(rate, 0.0)] * 3
    missed = np.zeros((800, 3, 2), bool)
    for answer in set_answers(truth, ["a", "b"], errors, seed=1):
        said = json.loads(answer.text or "")
        missed[int(answer.document_id), int(answer.persona_id[-1])] = [each not in said for each in ("a", "b")]
    assert missed.mean() == pytest.approx(rate, abs=0.03)
    together = (missed[:, 0] & missed[:, 1]).mean()
    assert together > rate**2 + 0.02, "they err together more often than independent ones would"


def test_spans_are_missed_misquoted_and_shifted_as_often_as_said() -> None:
    texts = [f"meet at noon on day {i}" for i in range(500)]
    truth = [[TextSpan(8, 12, "time")] for _ in texts]
    errors = [SpanErrors(0.2, 0.1, 0.1, 0.0, 0.1)]
    said = [json.loads(answer.text or "") for answer in span_answers(texts, truth, ["time", "name"], errors, seed=0)]
    found = {
        "missed": np.mean([not each for each in said]),
        "label": np.mean([bool(each) and each[0]["label"] == "name" for each in said]),
        "end": np.mean([bool(each) and each[0]["text"] == "at noon" for each in said]),
        "quote": np.mean([bool(each) and each[0]["text"] == "the NOON!" for each in said]),
    }
    assert found == pytest.approx({"missed": 0.2, "label": 0.1, "end": 0.1, "quote": 0.1}, abs=0.05)


def test_a_folder_without_the_data_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"nlupp_banking is not there"):
        next(measure(read_suite("tasks")["parameters"]))


def test_hostile_texts_are_rows_of_the_engines_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
    quick = {"engine": {"backend": "tests.support.silent:SilentBackend"}, "engine_train_rows": 20, "engine_epochs": 1}
    data = {"data": str(made_up(tmp_path)), "parts": ["engine"]}
    records = list(measure(read_suite("tasks")["parameters"] | quick | data | {"engine_test_rows": 20}))
    assert [(record["arm"], record["documents"], record["hostile_rows"]) for record in records] == [
        ("multi", 46, len(HOSTILE)),
        ("spans", 46, len(HOSTILE)),
    ]
    for record, part in zip(records, ("intents", "slots"), strict=True):
        assert (record["unparsable_share"], record["hostile_abstained"]) == (2 / 92, 1), "that of the empty text"
        assert record[f"{part}_teacher_f1_micro"] == 0, "it names nothing"
    (bound,) = (each for each in read_suite("tasks")["checks"] if each["name"] == "hostile_rows")
    assert check(bound, records)["holds"] and not check(bound, [{**records[0], "hostile_rows": 5}])["holds"]
