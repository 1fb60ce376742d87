"""What happens when a worker dies: who is suspected, who is convicted, and when a device is given up.

A death is blamed on nobody at first. The documents the worker had are asked again in halves, each alone
on a worker; a half that ends it as well is cut further, until one document is left. That one becomes a
poison row, but only once the same device has finished another document since: a device that kills everything
would otherwise convict everything. A device that dies again and again without finishing anything is
quarantined, and what it had is asked elsewhere.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from xpoll.core.errors import EngineError
from xpoll.engine.work import Work

FIRST_PLACES = 128  # until a worker says how many prompts its engine takes


@dataclass(slots=True)
class Slot:
    """One device: its worker, what that has in flight, and the calls that wait for its news.

    Attributes:
        starting: The worker's model is still loading.
        alone: What is in flight is suspected, so nothing is added to it.
        clearing: Suspects wait for it to be empty, so nothing is added to it.
        deaths: How often a worker died here since one last finished a document.
        convicted: Documents that killed a worker while alone on it; not yet sentenced.
        load: Prompts that its documents in flight need, as far as that is known when they are handed over.
        waiting: Prompts without a place in the engine, as the worker said last.
        places: How many prompts its engine takes at the moment, as the worker said last.
        give_back: How many documents to ask back at the next exchange.
    """

    number: int
    worker: Any
    starting: bool = True
    alone: bool = False
    clearing: bool = False
    deaths: int = 0
    in_flight: dict[str, Work] = field(default_factory=dict)
    convicted: list[Work] = field(default_factory=list)
    calls: set[Any] = field(default_factory=set)
    load: int = 0
    waiting: int = 0
    places: int = FIRST_PLACES
    give_back: int = 0
    news_s: float = field(default_factory=time.monotonic)


class Slots:
    """The devices of a run, and the documents that are to be asked again.

    Attributes:
        seats: Those in use, by number.
        again, suspects, poison: Documents to ask again, groups to ask alone, documents to end as error rows.
        quarantined: Reasons by the number of a device that was given up.
        worked: Some worker has been ready once.
        ready_s: When each device was ready first, on the monotonic clock.

    Args:
        begin: From a seat's number to a new worker that has yet to load its model.
        end: Ends a worker and all its processes.
        number: How many devices.
        max_restarts: Deaths in a row without a finished document after which a device is given up,
            where no suspect explains them.
    """

    def __init__(
        self, begin: Callable[[int], Any], end: Callable[[Any], None], *, number: int, max_restarts: int
    ) -> None:
        self._begin, self._end, self._max_restarts = begin, end, max_restarts
        self.seats = {i: Slot(i, begin(i)) for i in range(number)}
        self.again: deque[Work] = deque()
        self.suspects: deque[list[Work]] = deque()
        self.poison: list[Work] = []
        self.quarantined: dict[int, str] = {}
        self.worked = False
        self.ready_s: dict[int, float] = {}

    def finished(self, seat: Slot, document_ids: list[str]) -> None:
        """Takes finished documents off the seat; a seat that finishes one is in order, so its convicts are guilty."""
        for document_id in document_ids:
            del seat.in_flight[document_id]
        if document_ids:
            seat.deaths = 0
            self.poison.extend(seat.convicted)
            seat.convicted.clear()
        if not seat.in_flight:
            seat.alone = False

    def died(self, seat: Slot, left: list[Work], reason: str) -> None:
        """Replaces the worker, or gives the device up.

        Args:
            seat: Whose worker died.
            left: What is still to be asked of what it had in flight.
            reason: What it died of.

        Raises:
            EngineError: no device is left.
        """
        logging.warning("device %d: its worker died (%s); %d documents are asked again", seat.number, reason, len(left))
        self._end(seat.worker)
        seat.deaths += 1
        explained = seat.alone
        if seat.starting or not left:
            self.again.extend(left)
            explained = False
        elif len(left) > 1:
            middle = len(left) // 2
            self.suspects.extendleft([left[middle:], left[:middle]])
        elif not seat.alone:
            self.suspects.appendleft(left)
        else:
            seat.convicted.extend(left)
        seat.in_flight.clear()
        seat.calls.clear()
        broken = len(seat.convicted) > 1 or (not explained and seat.deaths > self._max_restarts)
        if broken:
            self._quarantine(seat, reason)
        else:
            seat.worker = self._begin(seat.number)
            seat.starting, seat.alone, seat.clearing, seat.load, seat.waiting = True, False, False, 0, 0
            seat.news_s = time.monotonic()

    def clear_for_suspects(self) -> None:
        """Marks seats that are to run empty, so that suspects are asked now and not when all else is done.

        A worker that is starting, and one that has suspects now, will be empty and take a group; only groups
        beyond those need another seat.
        """
        seats = self.seats.values()
        groups = len(self.suspects) - sum(seat.starting or seat.alone for seat in seats)
        able = [seat for seat in seats if not seat.starting and not seat.alone]
        if groups > 0:
            able.sort(key=lambda seat: (not seat.clearing, seat.load))
        for i, seat in enumerate(able):
            seat.clearing = i < groups

    def sentence_the_rest(self) -> bool:
        """When nothing else is left to ask, no other document can clear a device: the convicts stay convicted."""
        rest = [work for seat in self.seats.values() for work in seat.convicted]
        for seat in self.seats.values():
            seat.convicted.clear()
        self.poison.extend(rest)
        return bool(rest)

    def _quarantine(self, seat: Slot, reason: str) -> None:
        logging.error("device %d is given up after %d deaths in a row", seat.number, seat.deaths)
        del self.seats[seat.number]
        self.quarantined[seat.number] = reason
        self.suspects.extend([work] for work in seat.convicted)
        if not self.seats:
            raise EngineError(
                f"no device is left: the last died {seat.deaths} times in a row, of: {reason}",
                mend="see xpoll.log; the same command goes on from the answers kept",
            )
