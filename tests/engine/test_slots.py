"""Poison is found by bisection, a broken device is quarantined, and neither is mistaken for the other."""

import math
import random
from dataclasses import dataclass

import pytest

from xpoll.core.errors import EngineError
from xpoll.engine.slots import Slot, Slots
from xpoll.engine.work import Work


@dataclass
class World:
    """Plays the dispatcher on one or two devices: some documents kill, some devices are broken or die of nothing.

    Attributes:
        chance: How probable it is that a device dies of nothing in an exchange.
    """

    poison: frozenset[str] = frozenset()
    broken: frozenset[int] = frozenset()
    slots_number: int = 1
    deaths: int = 0
    chance: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.slots = Slots(lambda number: number, lambda _: None, number=self.slots_number, max_restarts=2)
        self._random = random.Random(self.seed)

    def run(self, documents: list[str], at_once: int = 64) -> set[str]:
        """Returns the documents that were answered."""
        todo = [Work(document_id, ()) for document_id in documents]
        answered: set[str] = set()
        for _ in range(10_000):
            busy = False
            for slot in list(self.slots.active.values()):
                slot.starting = False
                work = self._next(slot, todo, at_once)
                if not work:
                    continue
                busy = True
                slot.in_flight = {each.document_id: each for each in work}
                dies = self._random.random() < self.chance
                if dies or slot.number in self.broken or self.poison & slot.in_flight.keys():
                    self.deaths += 1
                    self.slots.died(slot, work, "killed")
                else:
                    answered |= slot.in_flight.keys()
                    self.slots.finished(slot, list(slot.in_flight))
            if not busy and not self.slots.confirm_candidates():
                return answered
        raise AssertionError("it does not end")

    def _next(self, slot: Slot, todo: list[Work], at_once: int) -> list[Work]:
        if slot.poison_candidates and (todo or self.slots.requeued):
            slot.isolated = True
            return [self.slots.requeued.popleft() if self.slots.requeued else todo.pop(0)]
        if self.slots.isolation_queue:
            suspects = self.slots.take_suspects(slot)
            slot.isolated = bool(suspects)
            return suspects
        work = [self.slots.requeued.popleft() for _ in range(min(at_once, len(self.slots.requeued)))]
        while todo and len(work) < at_once:
            work.append(todo.pop(0))
        return work


def names(number: int) -> list[str]:
    return [f"doc-{i}" for i in range(number)]


@pytest.mark.parametrize("poison", [{"doc-0"}, {"doc-63"}, {"doc-17", "doc-40"}, {"doc-30", "doc-31"}])
def test_every_poison_row_is_found_and_all_others_are_answered(poison: set[str]) -> None:
    world = World(poison=frozenset(poison))
    answered = world.run(names(128))
    assert {work.document_id for work in world.slots.poison} == poison
    assert answered == set(names(128)) - poison
    assert world.deaths <= len(poison) * (2 + math.log2(64)), "bisection takes about log2(group) deaths per row"
    assert not world.slots.quarantined


def test_a_broken_device_makes_no_poison_rows() -> None:
    world = World(broken=frozenset({1}), slots_number=2)
    answered = world.run(names(200))
    assert answered == set(names(200))
    assert world.slots.quarantined.keys() == {1}
    assert not world.slots.poison


def test_a_broken_device_beside_poison_is_told_from_it() -> None:
    world = World(poison=frozenset({"doc-100"}), broken=frozenset({0}), slots_number=2)
    answered = world.run(names(200))
    assert answered == set(names(200)) - {"doc-100"}
    assert {work.document_id for work in world.slots.poison} == {"doc-100"}


def test_without_a_device_left_the_run_ends_with_a_resumable_error() -> None:
    with pytest.raises(EngineError, match=r"no device is left.*resumes from the answers kept"):
        World(broken=frozenset({0})).run(names(20))


def test_a_single_poison_row_with_nothing_else_to_ask_ends_as_poison() -> None:
    world = World(poison=frozenset({"doc-0"}))
    assert world.run(names(1)) == set()
    assert [work.document_id for work in world.slots.poison] == ["doc-0"]


def test_suspects_of_a_quarantined_device_get_a_slot_before_the_end() -> None:
    slots = Slots(lambda number: number, lambda _: None, number=4, max_restarts=0)
    for number, slot in slots.active.items():
        slot.starting, slot.assigned_prompts = False, 10 - number
    slots.died(slots.active[0], [Work("doc-0", ()), Work("doc-1", ())], "lost")
    assert slots.quarantined.keys() == {0}
    assert [[work.document_id for work in group] for group in slots.isolation_queue] == [["doc-0"], ["doc-1"]]
    assert draining(slots) == [2, 3], "those with the least to do"
    slots.isolation_queue.popleft()
    assert draining(slots) == [3]
    slots.isolation_queue.popleft()
    assert draining(slots) == []


def draining(slots: Slots) -> list[int]:
    slots.drain_for_isolation()
    return [number for number, slot in slots.active.items() if slot.draining]


def test_no_slot_is_drained_while_the_restarted_worker_will_take_the_suspects() -> None:
    slots = Slots(lambda number: number, lambda _: None, number=2, max_restarts=2)
    for slot in slots.active.values():
        slot.starting = False
    slots.died(slots.active[0], [Work("doc-0", ())], "killed")
    slots.drain_for_isolation()
    assert (len(slots.isolation_queue), slots.active[1].draining) == (1, False)


@pytest.mark.parametrize("at_once", [1, 8, 64])
def test_devices_that_die_of_nothing_make_no_document_poison(at_once: int) -> None:
    """A tenth of all exchanges ends in a death that no document caused, beside two that kill whatever device."""
    poison = frozenset({"doc-17", "doc-140"})
    ended = 0
    for seed in range(50):
        world = World(poison=poison, slots_number=2, chance=0.1, seed=seed)
        try:
            answered = world.run(names(200), at_once)
        except EngineError:  # three deaths in a row on each device, which the same command resumes
            ended += 1
        else:
            assert answered == set(names(200)) - poison, f"seed {seed}"
            assert {work.document_id for work in world.slots.poison} == poison, f"seed {seed}"
        assert {work.document_id for work in world.slots.poison} <= poison, f"seed {seed}: an innocent document"
    assert ended <= 10


def test_a_blamed_document_is_asked_again_on_another_device_where_there_is_one() -> None:
    slots = Slots(lambda number: number, lambda _: None, number=2, max_restarts=2)
    first, second = slots.active.values()
    first.starting = second.starting = False
    suspect, other = Work("suspect", ()), Work("other", ())
    first.isolated, first.in_flight = True, {"suspect": suspect}
    slots.died(first, [suspect], "killed")
    first.starting, first.in_flight = False, {"other": other}
    slots.finished(first, ["other"])
    assert not slots.poison, "one death while alone is no proof"
    assert slots.confirm_candidates()
    assert slots.take_suspects(first) == []
    assert slots.take_suspects(second) == [suspect]
    slots.isolation_queue.append([suspect])
    del slots.active[1]
    assert slots.take_suspects(first) == [suspect], "the other one was given up"


def test_more_deaths_are_asked_for_where_devices_die_more_often() -> None:
    slots = Slots(lambda number: number, lambda _: None, number=1, max_restarts=100)
    slot = slots.active[0]
    for _ in range(50):
        slot.in_flight = {"doc": Work("doc", ())}
        slots.finished(slot, ["doc"])
    assert slots.deaths_needed() == 2
    for number in range(10):
        slot.starting = False
        slots.died(slot, [Work(f"a{number}", ()), Work(f"b{number}", ())], "lost")
    assert slots.deaths_needed() == 8


def ready(number: int, *, max_restarts: int = 2) -> Slots:
    slots = Slots(lambda number: f"worker {number}", lambda _: None, number=number, max_restarts=max_restarts)
    for slot in slots.active.values():
        slot.starting = False
    return slots


def dies_alone(slots: Slots, slot: Slot, work: Work) -> None:
    slot.starting, slot.isolated, slot.in_flight = False, True, {work.document_id: work}
    slots.died(slot, [work], "killed")


def finishes(slots: Slots, slot: Slot, *document_ids: str) -> None:
    slot.starting, slot.in_flight = False, {name: Work(name, ()) for name in document_ids}
    slots.finished(slot, list(document_ids))


def test_a_replaced_worker_has_nothing_of_the_one_before_and_the_log_says_why_that_died(
    caplog: pytest.LogCaptureFixture,
) -> None:
    killed: list[str] = []
    slots = Slots(lambda number: object(), killed.append, number=1, max_restarts=2)
    (slot,) = slots.active.values()
    before = slot.worker
    slot.starting, slot.isolated, slot.draining, slot.waiting, slot.assigned_prompts = False, True, True, 5, 7
    slot.in_flight, slot.calls, slot.last_progress_s = {"doc": Work("doc", ())}, {"call"}, 0.0
    with caplog.at_level("WARNING", logger="xpoll"):
        slots.died(slot, [Work("doc", ())], "out of memory")
    assert killed == [before] and slot.worker is not before and slot.last_progress_s > 0
    assert (slot.starting, slot.isolated, slot.draining) == (True, False, False)
    assert (slot.in_flight, slot.calls, slot.waiting, slot.assigned_prompts) == ({}, set(), 0, 0)
    assert "device 0: its worker died (out of memory); 1 documents are requeued" in caplog.text


def test_a_device_is_quarantined_after_the_death_that_is_one_too_many_unless_it_finished_something(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slots = ready(2, max_restarts=2)
    first = slots.active[0]
    for _ in range(2):
        slots.died(first, [], "lost")
    finishes(slots, first, "doc")
    for _ in range(2):
        slots.died(first, [], "lost")
    assert not slots.quarantined
    with caplog.at_level("ERROR", logger="xpoll"):
        slots.died(first, [], "lost for good")
    assert (slots.quarantined, list(slots.active)) == ({0: "lost for good"}, [1])
    assert "device 0 is quarantined after 3 deaths in a row" in caplog.text


def test_deaths_with_nothing_in_flight_or_while_starting_are_blamed_on_nothing() -> None:
    slots = ready(1, max_restarts=100)
    slot = slots.active[0]
    for _ in range(50):
        finishes(slots, slot, "doc")
    for _ in range(10):
        slot.starting = False
        slots.died(slot, [], "lost while idle")
        slots.died(slot, [Work("doc", ())], "lost while it starts")
    assert (slots.deaths_needed(), list(slots.isolation_queue), slot.poison_candidates) == (2, [], [])
    assert len(slots.requeued) == 10


def test_a_death_that_a_candidate_may_explain_does_not_count_as_one_of_nothing() -> None:
    slots = ready(1)
    slot = slots.active[0]
    for _ in range(50):
        finishes(slots, slot, "doc")
    dies_alone(slots, slot, Work("suspect", ()))
    assert ([work.document_id for work in slot.poison_candidates], slots.deaths_needed()) == (["suspect"], 2)


def test_a_blamed_document_that_is_answered_after_all_is_blamed_no_more() -> None:
    slots = ready(2)
    first, second = slots.active.values()
    suspect = Work("suspect", ())
    for _ in range(50):
        finishes(slots, first, "doc")
    dies_alone(slots, first, suspect)
    finishes(slots, first, "other")
    assert slots.confirm_candidates()
    assert slots.take_suspects(second) == [suspect]
    finishes(slots, second, "suspect")
    dies_alone(slots, second, suspect)
    finishes(slots, second, "other")
    assert not slots.poison, "that is one death, not two"
    dies_alone(slots, second, suspect)
    assert slots.poison == [suspect]


def test_a_slot_that_starts_takes_a_group_of_suspects_and_others_run_empty_for_the_rest() -> None:
    slots = ready(3)
    first, second, third = slots.active.values()
    second.assigned_prompts, third.isolated = 9, True
    slots.died(first, [Work("a", ()), Work("b", ())], "lost")
    assert draining(slots) == []
    slots.isolation_queue.append([Work("c", ())])
    assert (first.starting, draining(slots)) == (True, [1])
