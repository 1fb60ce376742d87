"""Poison is found by halves, a broken device is given up, and neither is taken for the other."""

import math
from dataclasses import dataclass

import pytest

from xpoll.core.errors import EngineError
from xpoll.engine.slots import Slot, Slots
from xpoll.engine.work import Work


@dataclass
class World:
    """Plays the dispatcher on one or two devices: some documents kill, some devices are broken."""

    poison: frozenset[str] = frozenset()
    broken: frozenset[int] = frozenset()
    seats_number: int = 1
    deaths: int = 0

    def __post_init__(self) -> None:
        self.seats = Slots(lambda number: number, lambda worker: None, number=self.seats_number, max_restarts=2)

    def run(self, documents: list[str], at_once: int = 64) -> set[str]:
        """Returns the documents that were answered."""
        todo = [Work(document_id, ()) for document_id in documents]
        answered: set[str] = set()
        for _ in range(10_000):
            busy = False
            for seat in list(self.seats.seats.values()):
                seat.starting = False
                work = self._next(seat, todo, at_once)
                if not work:
                    continue
                busy = True
                seat.in_flight = {each.document_id: each for each in work}
                if seat.number in self.broken or self.poison & seat.in_flight.keys():
                    self.deaths += 1
                    self.seats.died(seat, work, "killed")
                else:
                    answered |= seat.in_flight.keys()
                    self.seats.finished(seat, list(seat.in_flight))
            if not busy and not self.seats.sentence_the_rest():
                return answered
        raise AssertionError("it does not end")

    def _next(self, seat: Slot, todo: list[Work], at_once: int) -> list[Work]:
        if seat.convicted and (todo or self.seats.again):
            seat.alone = True
            return [self.seats.again.popleft() if self.seats.again else todo.pop(0)]
        if self.seats.suspects:
            seat.alone = True
            return self.seats.suspects.popleft()
        work = [self.seats.again.popleft() for _ in range(min(at_once, len(self.seats.again)))]
        while todo and len(work) < at_once:
            work.append(todo.pop(0))
        return work


def names(number: int) -> list[str]:
    return [f"doc-{i}" for i in range(number)]


@pytest.mark.parametrize("poison", [{"doc-0"}, {"doc-63"}, {"doc-17", "doc-40"}, {"doc-30", "doc-31"}])
def test_every_poison_row_is_found_and_all_others_are_answered(poison: set[str]) -> None:
    world = World(poison=frozenset(poison))
    answered = world.run(names(128))
    assert {work.document_id for work in world.seats.poison} == poison
    assert answered == set(names(128)) - poison
    assert world.deaths <= len(poison) * (2 + math.log2(64)), "bisection takes about log2(group) deaths a row"
    assert not world.seats.quarantined


def test_a_broken_device_convicts_nobody() -> None:
    world = World(broken=frozenset({1}), seats_number=2)
    answered = world.run(names(200))
    assert answered == set(names(200))
    assert world.seats.quarantined.keys() == {1}
    assert not world.seats.poison


def test_a_broken_device_beside_poison_is_told_from_it() -> None:
    world = World(poison=frozenset({"doc-100"}), broken=frozenset({0}), seats_number=2)
    answered = world.run(names(200))
    assert answered == set(names(200)) - {"doc-100"}
    assert {work.document_id for work in world.seats.poison} == {"doc-100"}


def test_without_a_device_left_the_run_ends_with_a_resumable_error() -> None:
    with pytest.raises(EngineError, match="no device is left.*goes on from the answers kept"):
        World(broken=frozenset({0})).run(names(20))


def test_a_single_poison_row_with_nothing_else_to_ask_ends_as_poison() -> None:
    world = World(poison=frozenset({"doc-0"}))
    assert world.run(names(1)) == set()
    assert [work.document_id for work in world.seats.poison] == ["doc-0"]


def test_suspects_of_a_device_that_was_given_up_get_a_seat_before_the_end() -> None:
    seats = Slots(lambda number: number, lambda worker: None, number=4, max_restarts=0)
    for number, seat in seats.seats.items():
        seat.starting, seat.load = False, 10 - number
    seats.died(seats.seats[0], [Work("doc-0", ()), Work("doc-1", ())], "lost")
    assert seats.quarantined.keys() == {0}
    assert [[work.document_id for work in group] for group in seats.suspects] == [["doc-0"], ["doc-1"]]
    assert clearing(seats) == [2, 3], "those with the least to do"
    seats.suspects.popleft()
    assert clearing(seats) == [3]
    seats.suspects.popleft()
    assert clearing(seats) == []


def clearing(seats: Slots) -> list[int]:
    seats.clear_for_suspects()
    return [number for number, seat in seats.seats.items() if seat.clearing]


def test_no_seat_is_cleared_while_the_restarted_worker_will_take_the_suspects() -> None:
    seats = Slots(lambda number: number, lambda worker: None, number=2, max_restarts=2)
    for seat in seats.seats.values():
        seat.starting = False
    seats.died(seats.seats[0], [Work("doc-0", ())], "killed")
    seats.clear_for_suspects()
    assert (len(seats.suspects), seats.seats[1].clearing) == (1, False)
