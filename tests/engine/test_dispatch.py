"""Time limits of the dispatcher, with workers that only take calls."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pyarrow as pa
import pytest

from xpoll.core.errors import EngineError, UnavailableError
from xpoll.core.records import COMPLETION_SCHEMA, AnswerSchema, Completion, Prompt, Sampling, to_table
from xpoll.engine.dispatch import Dispatcher, Limits, _reason, without_kinds
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.load_metrics import LoadMetrics
from xpoll.engine.slots import Slots
from xpoll.engine.work import NeverStop, Work, WorkerReply

LIMITS = Limits(max_in_flight=1024, start_timeout_s=600, hang_timeout_s=600)


def silent_worker(number: int) -> SimpleNamespace:
    calls = iter(range(100))
    call = SimpleNamespace(remote=lambda *_: f"call {next(calls)} of {number}")
    return SimpleNamespace(exchange=call, start=call)


def dispatcher(
    documents: list[str], slots: Slots, journal: Journal, folder: Path, limits: Limits = LIMITS
) -> Dispatcher:
    for slot in slots.active.values():
        slot.starting = False
    metrics = LoadMetrics(folder / "load.jsonl", [f"cpu:{number}" for number in slots.active])
    return Dispatcher(iter(map(work, documents)), slots, journal, NeverStop(), limits, metrics, Event())


def work(document_id: str) -> Work:
    return Work(document_id, (Prompt(document_id, "p", 0, (), Sampling(0.8, 1.0, 16), AnswerSchema(("a", "b"))),))


def test_a_worker_that_reported_nothing_yet_gets_its_bound_and_as_much_to_wait(tmp_path: Path) -> None:
    slots = Slots(silent_worker, lambda _: None, number=1, max_restarts=2)
    with Journal(tmp_path) as journal:
        documents = [f"doc-{i}" for i in range(20)]
        run = dispatcher(documents, slots, journal, tmp_path, replace(LIMITS, max_in_flight=3))
        run.dispatch()
    assert len(slots.active[0].in_flight) == 6


class Watched(Journal):
    """Notes what was done when it was told to append."""

    def __init__(self, folder: Path, done: list[str]) -> None:
        super().__init__(folder)
        self.done = done

    def append(self, batches: Sequence[pa.RecordBatch]) -> None:
        """As `Journal.append`."""
        self.done.append(f"append {sum(batch.num_rows for batch in batches)}")
        super().append(batches)


@pytest.mark.parametrize(("documents", "sent"), [(7, ["send 2", "send 1"]), (5, ["send 1"]), (4, [])])
def test_what_is_answered_makes_room_before_the_disk_has_it_and_counts_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: int, sent: list[str]
) -> None:
    slots = Slots(silent_worker, lambda _: None, number=1, max_restarts=2)
    (slot,) = slots.active.values()
    done: list[str] = []
    names = [f"doc-{i}" for i in range(documents)]
    with Watched(tmp_path, done) as journal:
        run = dispatcher(names, slots, journal, tmp_path, replace(LIMITS, max_in_flight=2))
        run.dispatch()
        assert list(slot.in_flight) == names[:4]
        rows = [Completion(*each.prompts[0].key, text="a") for each in slot.in_flight.values()]
        answers = to_table(rows, COMPLETION_SCHEMA).to_batches()
        replies = dict(zip(slot.calls, (names[:2], names[2:4]), strict=True))
        outcomes = {
            call: WorkerReply(answers[0].slice(2 * i, 2), ids, i + 3, running=0, waiting=0, stolen=[], capacity=2)
            for i, (call, ids) in enumerate(replies.items())
        }
        monkeypatch.setattr("ray.wait", lambda calls, **_: (calls, []))
        monkeypatch.setattr("ray.get", outcomes.get)
        send = SimpleNamespace(
            remote=lambda batch, *_: done.append(f"send {len(batch.documents)}") or f"call {len(done)}"
        )
        slot.worker.exchange = send
        tally = run.collect()
        assert done == [*sent, "append 4"], "and no call that would wait for nothing"
        assert (list(slot.in_flight), tally.answers, tally.documents, tally.saved) == (names[4:], 4, 4, 7)
        assert (slot.unwritten, slot.assigned_prompts) == (0, documents - 4)
        assert [answer.document_id for answer in journal.answers_of(names)] == names[:4]


def test_a_draining_slot_gets_nothing_new_and_then_the_suspects(tmp_path: Path) -> None:
    slots = Slots(silent_worker, lambda _: None, number=2, max_restarts=2)
    for slot in slots.active.values():
        slot.capacity = 1
    with Journal(tmp_path) as journal:
        run = dispatcher([f"doc-{i}" for i in range(9)], slots, journal, tmp_path)
        run.dispatch()
        first, second = slots.active.values()
        had = list(first.in_flight)
        slots.isolation_queue.append([work("suspect")])
        second.assigned_prompts += 1  # the other one has less to do
        first.calls.clear()
        run.dispatch()
        assert list(first.in_flight) == had
        first.in_flight.clear()
        first.calls.clear()
        run.dispatch()
        assert (list(first.in_flight), first.isolated, first.draining) == (["suspect"], True, False)


def test_a_device_with_a_poison_candidate_is_asked_one_other_document_alone(tmp_path: Path) -> None:
    slots = Slots(silent_worker, lambda _: None, number=1, max_restarts=2)
    slot = slots.active[0]
    slot.poison_candidates.append(work("candidate"))
    with Journal(tmp_path) as journal:
        dispatcher(["doc-0", "doc-1"], slots, journal, tmp_path).dispatch()
    assert (list(slot.in_flight), slot.isolated) == (["doc-0"], True)


def test_a_worker_that_was_idle_for_long_is_not_taken_for_hung_when_it_gets_work(tmp_path: Path) -> None:
    slots = Slots(silent_worker, lambda _: None, number=1, max_restarts=2)
    slot = slots.active[0]
    with Journal(tmp_path) as journal:
        run = dispatcher(["doc"], slots, journal, tmp_path)
        slot.last_progress_s = time.monotonic() - 1000
        run.dispatch()
        run._check_timeouts()
        assert (slot.deaths, list(slot.in_flight)) == (0, ["doc"])
        slot.last_progress_s -= LIMITS.hang_timeout_s + 1
        run._check_timeouts()
        assert slot.deaths == 1, "without an answer for the whole limit it is"


def test_a_device_that_died_loads_its_model_again_only_if_something_is_left_to_ask(tmp_path: Path) -> None:
    slots = Slots(silent_worker, lambda _: None, number=2, max_restarts=2)
    with Journal(tmp_path) as journal:
        run = dispatcher([], slots, journal, tmp_path)
        dead, other = slots.active.values()
        dead.starting = True
        dead.last_progress_s = time.monotonic() - LIMITS.start_timeout_s - 1
        run.dispatch()
        run._check_timeouts()
        assert (run.calls, dead.deaths) == ({}, 0)
        other.waiting = 2  # half of these could be stolen
        run.dispatch()
        assert list(run.calls.values()) == [dead]
        dead.calls.clear()
        other.waiting, other.isolated = 0, True
        slots.isolation_queue.append([work("suspect")])
        run.dispatch()
        assert list(run.calls.values()) == [dead]


def test_the_document_that_is_looked_at_before_a_start_is_asked_after_it(tmp_path: Path) -> None:
    slots = Slots(silent_worker, lambda _: None, number=1, max_restarts=2)
    slot = slots.active[0]
    with Journal(tmp_path) as journal:
        run = dispatcher(["doc"], slots, journal, tmp_path)
        slot.starting = True
        run.dispatch()
        assert (len(slot.calls), slot.in_flight) == (1, {})
        slot.calls.clear()
        run._started(slot, None)
        run.dispatch()
    assert list(slot.in_flight) == ["doc"]


def test_what_was_stolen_of_a_busy_device_goes_to_the_idle_one(tmp_path: Path) -> None:
    slots = Slots(silent_worker, lambda _: None, number=2, max_restarts=2)
    busy, idle = slots.active.values()
    with Journal(tmp_path) as journal:
        run = dispatcher([], slots, journal, tmp_path, replace(LIMITS, max_in_flight=8))
        busy.in_flight = {f"doc-{i}": work(f"doc-{i}") for i in range(8)}
        busy.assigned_prompts = 8
        slots.requeued.extend(work(f"stolen-{i}") for i in range(4))
        run.dispatch()
    assert sorted(idle.in_flight) == [f"stolen-{i}" for i in range(4)]
    assert len(busy.in_flight) == 8


def test_an_idle_device_steals_half_of_what_waits_on_the_fullest_that_can_be_stolen_from(tmp_path: Path) -> None:
    for change, stolen in (
        ({}, 4),
        ({"waiting": 2}, 1),
        ({"waiting": 1}, 0),
        ({"isolated": True}, 0),
        ({"starting": True}, 0),
    ):
        slots = Slots(silent_worker, lambda _: None, number=2, max_restarts=2)
        with Journal(tmp_path / str(change)) as journal:
            run = dispatcher([], slots, journal, tmp_path)
            idle, busy = slots.active.values()
            busy.in_flight["doc"], busy.waiting, busy.assigned_prompts = work("doc"), 8, 8
            busy.calls.update(("one", "two"))  # what is to be stolen is told with the next call
            for name, value in change.items():
                setattr(busy, name, value)
            run.dispatch()
            assert (busy.steal, idle.steal) == (stolen, 0), change


def test_a_device_with_work_steals_nothing_and_a_draining_run_neither(tmp_path: Path) -> None:
    for drains in (False, True):
        slots = Slots(silent_worker, lambda _: None, number=2, max_restarts=2)
        with Journal(tmp_path / str(drains)) as journal:
            run = dispatcher([], slots, journal, tmp_path)
            idle, busy = slots.active.values()
            for slot in (idle, busy) if not drains else (busy,):
                slot.in_flight["doc"], slot.waiting = work("doc"), 8
                slot.calls.update(("one", "two"))
            if drains:
                run.drain.set()
            run.dispatch()
            assert (idle.steal, busy.steal) == ((0, 8) if drains else (0, 0))


def test_a_start_that_fails_ends_the_run_only_where_none_ever_succeeded(tmp_path: Path) -> None:
    slots = Slots(silent_worker, lambda _: None, number=2, max_restarts=2)
    with Journal(tmp_path) as journal:
        run = dispatcher(["doc"], slots, journal, tmp_path)
        first, second = slots.active.values()
        with pytest.raises(EngineError, match="no such model"):
            run._started(first, EngineError("no such model"))
        before_s = time.monotonic()
        run._started(first, None)
        ready_s = slots.ready_s[first.number]
        assert not first.starting and before_s <= ready_s == first.last_progress_s
        run._started(first, None)
        assert slots.ready_s[first.number] == ready_s, "of its first start"
        run._started(second, EngineError("the device is lost"))
        assert second.deaths == 1 and second.number not in slots.ready_s
        with pytest.raises(UnavailableError):
            run._started(second, UnavailableError("the endpoint is gone"))


def test_a_device_that_does_not_start_in_time_is_dead(tmp_path: Path) -> None:
    slots = Slots(silent_worker, lambda _: None, number=1, max_restarts=2)
    with Journal(tmp_path) as journal:
        run = dispatcher(["doc"], slots, journal, tmp_path)
        (slot,) = slots.active.values()
        slot.starting, slot.last_progress_s = True, time.monotonic() - LIMITS.start_timeout_s - 1
        run._check_timeouts()
        assert slot.deaths == 0, "its start was not called yet"
        slot.calls.add("start")
        run._check_timeouts()
        assert slot.deaths == 1


def test_the_last_line_of_an_error_is_its_reason_and_its_name_where_it_says_nothing() -> None:
    assert _reason(RuntimeError("a\n b \n")) == " b"
    assert _reason(RuntimeError(" ")) == "RuntimeError"


def test_a_kill_of_ray_s_for_memory_is_named_in_a_line() -> None:
    from ray.exceptions import OutOfMemoryError

    advice = "Memory on the node (IP: 127.0.0.1) was 22.4GB / 23.5GB\nRefer to the documentation on how to address it"
    assert _reason(OutOfMemoryError(advice)) == "Ray ended it because this machine's memory was nearly used up"


def test_error_rows_of_a_kind_that_ends_the_run_are_taken_out_with_their_reason() -> None:
    rows = [
        Completion("a", "p", 0, text="x"),
        Completion("b", "p", 0, error_kind="parameter", error="no such parameter"),
        Completion("c", "p", 0, error_kind="refused", error="no"),
        Completion("d", "p", 0, error_kind="parameter", error="nor this one"),
    ]

    def reply(*which: int) -> WorkerReply:
        (batch,) = to_table([rows[i] for i in which], COMPLETION_SCHEMA).to_batches()
        return WorkerReply(batch, [], 0, running=0, waiting=0, stolen=[], capacity=2)

    (slot,) = Slots(silent_worker, lambda _: None, number=1, max_restarts=2).active.values()
    replies = [(slot, reply(0, 1, 2)), (slot, reply(3)), (slot, reply(0)), (slot, replace(reply(0), answers=None))]
    kept, reason = without_kinds(replies, frozenset({"parameter"}))
    ids = [each.answers["document_id"].to_pylist() if each.answers is not None else None for _, each in kept]
    assert (ids, reason) == ([["a", "c"], None, ["a"], None], "no such parameter")
    kept, reason = without_kinds(replies, frozenset())
    assert (kept, reason) == (replies, None)
