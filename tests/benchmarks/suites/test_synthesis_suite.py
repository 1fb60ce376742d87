"""The suite `synthesis` counts what is planted, and says so where nothing is found."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_process import answer_in_process
from tests.support.synthesis_job import write_synthesis_job
from xpoll.benchmarks.runner.suite import check, read_suite
from xpoll.benchmarks.suites import synthesis
from xpoll.benchmarks.workloads import synthesis_circle
from xpoll.benchmarks.workloads.planted_texts import FLAWS
from xpoll.benchmarks.workloads.synthesis_circle import CircleTask, _keys, circle_record
from xpoll.core.config.file import load_config
from xpoll.core.errors import EngineError
from xpoll.core.records import Key
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline.run import one_step
from xpoll.pipeline.synthesize import synthesize

SUITE = read_suite("synthesis")


def parameters(**more: Any) -> dict[str, Any]:
    return {**SUITE["parameters"], **more}


def bounds(part: str) -> list[dict[str, Any]]:
    return [bound for bound in SUITE["checks"] if bound["part"] == part]


def test_every_gate_finds_what_is_planted_for_it() -> None:
    records = list(synthesis.measure(parameters(parts=["gates"], planted_each=24)))
    counts = {record["arm"]: record for record in records}
    assert set(FLAWS) <= set(counts)
    assert all(counts[name]["planted"] == 24 for name in FLAWS)
    assert all(check(bound, records)["holds"] for bound in bounds("gates"))


def test_a_gate_that_finds_nothing_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    real = synthesis.checks_of

    def without_refusals(settings: dict[str, Any], labels: Any) -> Any:
        return real({**settings, "refusal": False}, labels)

    monkeypatch.setattr(synthesis, "checks_of", without_refusals)
    records = list(synthesis.measure(parameters(parts=["gates"], planted_each=24)))
    (bound,) = [bound for bound in bounds("gates") if bound["name"] == "least_found_share"]
    assert not check(bound, records)["holds"]


def test_planted_personas_are_counted() -> None:
    records = list(synthesis.measure(parameters(parts=["personas"], personas=1500)))
    assert all(check(bound, records)["holds"] for bound in bounds("personas")), records
    assert records[0]["kept"] < records[0]["personas"] == 1500


@pytest.mark.parametrize("with_data", [False, True])
def test_both_jobs_of_the_circle_are_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_data: bool) -> None:
    data = tmp_path / "data"
    if with_data:
        (data / "banking77").mkdir(parents=True)
        for split in ("train", "test"):
            with (data / f"banking77/{split}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([["text", "category"], *([f"text {i}", f"c{i % 20}"] for i in range(200))])
    task = CircleTask(parameters(data=str(data) if with_data else ""))
    assert len(task.labels) == (6 if with_data else 3)
    assert {label for _, label in task.gold} <= set(task.labels) and task.texts
    task.write(tmp_path / "own", parameters(), count=20, control=5)
    task.write(tmp_path / "people", parameters(), count=0, texts=20)
    monkeypatch.chdir(tmp_path / "own")
    own = load_config(Path("job.toml"))
    assert own.synthesis.count == 20 and own.synthesis.control == 5 and not own.documents.path
    people = load_config(tmp_path / "people/job.toml")
    assert people.documents.path == "texts.csv" and people.synthesis.count == 0
    assert {**own.task.model_dump(), **own.panel.model_dump()} == {
        **people.task.model_dump(),
        **people.panel.model_dump(),
    }


def test_answers_of_a_circle_are_lost_if_they_are_gone_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
    monkeypatch.setattr("xpoll.synthesis.diversity._distances", lambda _: (None, None))
    config = load_config(write_synthesis_job(tmp_path, count=20))
    synthesize(config)
    for step in ("poll", "vote"):
        one_step(step, config)
    there = _keys(RunFolder(tmp_path / "run"))
    figures = circle_record(tmp_path, [there, Counter()])
    assert (figures["kills_survived"], figures["lost_answers"], figures["asked_twice"]) == (1, 0, 0)
    assert there.total() == len(there) == 20 + figures["texts_kept"] + 20, "texts, and answers about these and gold"
    gone = there + Counter([Key("gone", "", 0)])
    records = [{"part": "circle", **circle_record(tmp_path, [gone, gone])}]
    held = {bound["name"]: check(bound, records)["holds"] for bound in bounds("circle")}
    assert held == {"kills_survived": True, "lost_answers": False, "asked_twice": True}


def test_kills_of_an_earlier_call_are_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def killed(step: str, _folder: Path, _parameters: Any) -> Counter[Key]:
        if step == "polling" and "polling" not in done:
            done.append(step)
            raise EngineError("not done in time")
        done.append(step)
        return Counter([Key(step, "", 0)])

    monkeypatch.setattr(synthesis_circle, "kill_in", killed)
    with pytest.raises(EngineError):
        synthesis_circle._killed(tmp_path, parameters())
    assert [set(keys) for keys in synthesis_circle._killed(tmp_path, parameters())] == [
        {Key("writing", "", 0)},
        {Key("polling", "", 0)},
    ]
    assert done == ["writing", "polling", "polling"]
