"""The suite `generative`: rows by rule, figures by seed, and a kill that changes nothing."""

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.tiny import make_tiny_llama
from xpoll.benchmarks.runner.suite import check, read_suite
from xpoll.benchmarks.suites.generative import measure
from xpoll.benchmarks.workloads.purchase_notes import purchase_notes, right_fields
from xpoll.student.causal_lm.examples import share_of


def parameters(model: Path, *parts: str) -> dict[str, object]:
    student = {"epochs": 1, "min_steps": 8, "batch_size": 8, "max_length": 320, "learning_rate": 1e-2, "held_out": 0.3}
    changed = {"model": str(model), "student": student | {"precision": "fp32"}, "rows": 24, "seeds": 2}
    return read_suite("generative")["parameters"] | changed | {"parts": list(parts)}


def test_rows_are_the_same_on_every_machine_and_differ_from_each_other() -> None:
    rows = purchase_notes(360)
    assert rows[:24] == purchase_notes(24) and len({row.prompt for row in rows}) == 360
    file = ROOT / "examples/purchase_notes/rows.jsonl"
    assert [json.loads(line) for line in file.read_text().splitlines()] == [row._asdict() for row in rows], (
        "python -m xpoll.benchmarks.workloads.purchase_notes > examples/purchase_notes/rows.jsonl"
    )
    assert 0.05 < sum(share_of(f"user: {row.prompt}") < 0.1 for row in rows) / 360 < 0.15
    for row in rows:
        seller, day = (json.loads(row.completion)[name] for name in ("seller", "day"))
        assert seller in row.prompt and day in row.prompt


def test_fields_are_counted_and_what_is_no_object_has_none() -> None:
    wanted = purchase_notes(1)[0].completion
    fields = json.loads(wanted)
    assert right_fields(wanted, wanted) == 5
    assert right_fields(json.dumps(fields | {"number": str(fields["number"])}), wanted) == 4
    assert [right_fields(text, wanted) for text in ("", "[]", "[" * 9999, wanted[:-1])] == [0, 0, 0, 0]


def test_perplexity_is_measured_before_and_after_for_each_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xpoll.student.causal_lm.inference import generate

    whole = generate.completions
    monkeypatch.setattr(generate, "completions", lambda *rows, most_tokens: whole(*rows, most_tokens=most_tokens // 40))
    records = list(measure(parameters(make_tiny_llama(tmp_path / "tiny"), "perplexity")))
    assert [(record["arm"], record["seed"]) for record in records] == [("purchase_notes", 0), ("purchase_notes", 1)]
    assert records[0]["perplexity_before"] == records[1]["perplexity_before"] > records[0]["perplexity_after"]
    assert records[0]["perplexity_after"] != records[1]["perplexity_after"]
    for record in records:
        assert record["ratio_low"] < record["ratio"] < record["ratio_high"] < 1
        assert record["fields_right_before"] == 0
    (bound,) = (each for each in read_suite("generative")["checks"] if each["name"] == "ratio_high")
    assert check(bound, records)["holds"] and not check(bound, [*records, {"ratio_high": 1.01}])["holds"]


@pytest.mark.engine
def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    changed = parameters(make_tiny_llama(tmp_path / "tiny"), "resume")
    (record,) = measure(changed | {"resume_steps": 6, "resume_killed_at": 4})
    assert (record["killed_at_step"], record["resumed_at_step"]) == (4, 3)
    assert record["largest_weight_difference"] == 0
