"""Runs of the real dispatcher, scheduler and journal whose workers are threads: no Ray, so a run takes a moment."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xpoll.benchmarks.workloads.faults.forked_poll import threads_for_workers
from xpoll.benchmarks.workloads.faults.inner_faults import InnerFault
from xpoll.benchmarks.workloads.simulated_run import label_prompts
from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import EngineError
from xpoll.core.files import read_json
from xpoll.core.records import Completion, Prompt
from xpoll.core.run_folder import RunFolder
from xpoll.engine import dispatch
from xpoll.engine.dispatch import Dispatcher
from xpoll.engine.journal.answers import read_completions
from xpoll.engine.run import Workload, answer_prompts
from xpoll.votes.stop import Decided

LABELS = ("negative", "neutral", "positive")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "WAIT_S", 0.05)


def engine(**more: Any) -> EngineConfig:
    simulated = {"time_scale": 0.02, **more.pop("simulated", {})}
    given = {"backend": "simulated", "device": "cpu", "replicas": 2, "max_in_flight": 8, "hang_timeout_s": 5, **more}
    return EngineConfig(**given, simulated=simulated)


def run(
    folder: Path, documents: int = 60, *, fault: InnerFault | None = None, config: EngineConfig | None = None
) -> list[Completion]:
    with threads_for_workers(fault):
        answer_prompts(
            Workload(label_prompts(documents), documents, 1), config=config or engine(), folder=run_of(folder)
        )
    return list(read_completions(folder / "completions"))


def run_of(folder: Path) -> RunFolder:
    folder.mkdir(exist_ok=True)
    return RunFolder(folder)


def ids(answers: list[Completion]) -> Counter[str]:
    return Counter(answer.document_id for answer in answers)


def each_once(documents: int = 60) -> Counter[str]:
    return Counter(f"doc-{i}" for i in range(documents))


def test_every_prompt_is_answered_once_and_both_devices_work(tmp_path: Path) -> None:
    answers = run(tmp_path / "run")
    assert ids(answers) == each_once()
    assert {answer.worker for answer in answers} == {"worker-0", "worker-1"}
    assert all(answer.error_kind is None for answer in answers)
    assert read_json(tmp_path / "run" / "engine.json")["settled_documents"] == 60


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("kind", ["worker dies", "worker hangs"])
def test_a_worker_that_is_lost_costs_nothing(tmp_path: Path, kind: str, at: int) -> None:
    hangs = kind == "worker hangs"
    answers = run(tmp_path / "run", fault=InnerFault(kind, at), config=engine(hang_timeout_s=0.5 if hangs else 60))
    assert ids(answers) == each_once()
    assert all(answer.error_kind is None for answer in answers)


def test_a_document_that_kills_the_engine_is_found_among_others(tmp_path: Path) -> None:
    answers = run(tmp_path / "run", config=engine(simulated={"die_on": ["doc-7", "doc-31"]}))
    assert ids(answers) == each_once()
    assert {answer.document_id for answer in answers if answer.error_kind == "poison"} == {"doc-7", "doc-31"}


def test_a_document_on_which_the_engine_hangs_is_found_too(tmp_path: Path) -> None:
    answers = run(tmp_path / "run", 12, config=engine(hang_timeout_s=0.15, simulated={"hang_on": ["doc-3"]}))
    assert ids(answers) == each_once(12)
    assert [answer.document_id for answer in answers if answer.error_kind == "poison"] == ["doc-3"]


def test_devices_that_all_die_end_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no device is left"):
        run(tmp_path / "run", config=engine(max_restarts=0, simulated={"lose_device_after_answers": 9}))
    kept = len(list(read_completions(tmp_path / "run" / "completions"))) if parts(tmp_path) else 0
    assert kept < 60
    assert ids(run(tmp_path / "run")) == each_once()


def parts(folder: Path) -> list[Path]:
    return list((folder / "run" / "completions").glob("*-0*"))


def test_a_drain_finishes_what_is_in_flight_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Dispatcher.collect

    def collect(self: Dispatcher) -> Any:
        tally = real(self)
        if tally.answers:
            self.drain.set()
        return tally

    with monkeypatch.context() as patch:
        patch.setattr(Dispatcher, "collect", collect)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", 400)
    kept = ids(list(read_completions(tmp_path / "run" / "completions")))
    assert 0 < len(kept) < 400
    assert set(kept.values()) == {1}
    assert ids(run(tmp_path / "run", 400)) == each_once(400)


def three_samples(documents: int) -> Iterator[Prompt]:
    for prompt in label_prompts(documents):
        for sample in range(3):
            yield prompt._replace(sample=sample)


def test_the_stop_rule_saves_answers_in_workers_and_over_sessions(tmp_path: Path) -> None:
    work = Workload(three_samples(40), 40, 3, stop=Decided(LABELS))
    with threads_for_workers(None):
        answered = answer_prompts(work, config=engine(simulated={"agreement": 1.0}), folder=run_of(tmp_path / "run"))
    answers = list(read_completions(tmp_path / "run" / "completions"))
    assert len(answers) == answered == 80, "two of three that agree settle each"
    assert set(ids(answers).values()) == {2}
    with threads_for_workers(None):
        again = Workload(three_samples(40), 40, 3, stop=Decided(LABELS))
        assert answer_prompts(again, config=engine(), folder=run_of(tmp_path / "run")) == 0


def test_a_kind_of_error_that_is_of_all_rows_ends_the_run_and_is_not_kept(tmp_path: Path) -> None:
    work = Workload(label_prompts(40), 40, 1, ends_on=frozenset({"simulated"}))
    config = engine(replicas=1, max_in_flight=2, simulated={"fail_share": 0.2})
    with threads_for_workers(None), pytest.raises(EngineError, match="drawn by fail_share"):
        answer_prompts(work, config=config, folder=run_of(tmp_path / "run"))
    found = list(read_completions(tmp_path / "run" / "completions")) if parts(tmp_path) else []
    assert all(answer.error_kind is None for answer in found)
