"""What happens when a worker dies: bisecting its documents, isolating suspects, quarantining a broken device.

A death is blamed on no document at first. The documents in flight are requeued in halves, and each half runs
isolated on a worker; a half that kills its worker as well is bisected further, until one document is left.
That document is a poison candidate. Once the same device has finished another document it is blamed for the death:
otherwise a broken device, which kills every document, would turn all of them into poison rows. Where devices die of
nothing, one death while alone proves little, so a blamed document is asked again at the end, alone and where there are
several on another device, until so many deaths would be no chance at the rate at which devices die here; then it
becomes poison rows. A device that dies again and again without finishing anything is quarantined, and its documents run
elsewhere.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from xpoll.core.errors import EngineError
from xpoll.core.log import LOGGER
from xpoll.engine.work import Work

INITIAL_CAPACITY = 128  # until a worker reports how many prompts its engine takes
BY_CHANCE = 1e-6
"""Most that the chance may be that a document which became poison only met devices that died of something else."""
FEWEST_DEATHS = 2
"""Fewest deaths while alone of a document that becomes poison."""
MOST_DEATHS = 10_000
"""How many deaths are kept, the latest ones."""
_PRIOR_DEATHS = 0.005  # of one exchange, before any is seen


@dataclass(slots=True)
class Slot:
    """One device: its worker, the documents in flight there, and the pending calls to the worker.

    Attributes:
        number: The device's number within the run.
        worker: Handle of the worker.
        starting: The worker's model is still loading.
        isolated: Suspected documents are in flight, so no others are added.
        draining: Suspected documents wait for the slot to run empty, so no others are added.
        deaths: How often a worker died here since one last finished a document.
        in_flight: The documents sent to the worker and not finished, by id.
        unwritten: How many of these are settled by answers that the disk does not have yet.
        poison_candidates: Documents that killed a worker while isolated on it; not yet blamed for it.
        calls: Calls to the worker that have not returned.
        assigned_prompts: Prompts that the documents in flight need, as far as that was known at dispatch.
        waiting: Prompts queued in the worker for room in the engine, as last reported.
        capacity: Prompts that the engine takes at the moment, as last reported.
        steal: How many documents to take from the worker at the next exchange.
        last_progress_s: When the worker last started, received its first work or answered; monotonic clock.
    """

    number: int
    worker: Any
    starting: bool = True
    isolated: bool = False
    draining: bool = False
    deaths: int = 0
    in_flight: dict[str, Work] = field(default_factory=dict)
    unwritten: int = 0
    poison_candidates: list[Work] = field(default_factory=list)
    calls: set[Any] = field(default_factory=set)
    assigned_prompts: int = 0
    waiting: int = 0
    capacity: int = INITIAL_CAPACITY
    steal: int = 0
    last_progress_s: float = field(default_factory=time.monotonic)


class Slots:
    """The devices of a run, and the documents that have to run again.

    Attributes:
        active: The slots in use, by number.
        requeued: Documents to run again.
        isolation_queue: Groups of suspected documents, each to run isolated.
        poison: Documents to write as error rows.
        quarantined: Reason by number of a device that is no longer used.
        ever_ready: Whether any worker has been ready.
        ready_s: When each device was first ready; monotonic clock.

    Args:
        create: From a slot's number to a new worker whose model is not loaded yet.
        kill: Ends a worker and all its processes.
        number: Number of devices.
        max_restarts: Deaths in a row without a finished document after which a device is quarantined,
            unless a poison candidate explains them.
    """

    def __init__(
        self, create: Callable[[int], Any], kill: Callable[[Any], None], *, number: int, max_restarts: int
    ) -> None:
        self._create, self._kill, self._max_restarts = create, kill, max_restarts
        self.active = {i: Slot(i, create(i)) for i in range(number)}
        self.requeued: deque[Work] = deque()
        self.isolation_queue: deque[list[Work]] = deque()
        self.poison: list[Work] = []
        self._blamed: dict[str, list[int]] = {}
        self._asked_again: list[Work] = []
        self._poisonous: set[str] = set()
        self._lost: deque[frozenset[str]] = deque(maxlen=MOST_DEATHS)
        self._survived = 0
        self.quarantined: dict[int, str] = {}
        self.ever_ready = False
        self.ready_s: dict[int, float] = {}

    def finished(self, slot: Slot, document_ids: list[str]) -> None:
        """Removes finished documents from the slot; finishing one shows that the device works.

        So the slot's poison candidates are blamed.
        """
        for document_id in document_ids:
            del slot.in_flight[document_id]
        if self._blamed:
            for document_id in document_ids:
                self._blamed.pop(document_id, None)
        if document_ids:
            slot.deaths = 0
            self._survived += 1
            self._blame_candidates(slot)
        if not slot.in_flight:
            slot.isolated = False

    def died(self, slot: Slot, left: list[Work], reason: str) -> None:
        """Replaces the slot's worker, or quarantines the device.

        Args:
            slot: The slot whose worker died.
            left: The unanswered part of the documents that were in flight.
            reason: The cause of death.

        Raises:
            EngineError: no device is left.
        """
        LOGGER.warning("device %d: its worker died (%s); %d documents are requeued", slot.number, reason, len(left))
        self._kill(slot.worker)
        slot.deaths += 1
        if left and not slot.starting:
            self._lost.append(frozenset(work.document_id for work in left))
        explained = slot.isolated
        if slot.starting or not left:
            self.requeued.extend(left)
            explained = False
        elif len(left) > 1:
            middle = len(left) // 2
            self.isolation_queue.extendleft([left[middle:], left[:middle]])
        elif not slot.isolated:
            self.isolation_queue.appendleft(left)
        elif left[0].document_id in self._blamed:  # the device was shown to work since
            self._blame(left[0], slot)
        else:
            slot.poison_candidates.extend(left)
        slot.in_flight.clear()
        slot.calls.clear()
        broken = len(slot.poison_candidates) > 1 or (not explained and slot.deaths > self._max_restarts)
        if broken:
            self._quarantine(slot, reason)
        else:
            slot.worker = self._create(slot.number)
            slot.starting, slot.isolated, slot.draining, slot.assigned_prompts, slot.waiting = True, False, False, 0, 0
            slot.last_progress_s = time.monotonic()

    def drain_for_isolation(self) -> None:
        """Marks slots to run empty, so that suspected documents run now and not after all others.

        A slot that is starting, or that runs a suspected group, will be empty soon and takes a group; only
        groups beyond those need another slot.
        """
        slots = self.active.values()
        groups = len(self.isolation_queue) - sum(slot.starting or slot.isolated for slot in slots)
        drainable = [slot for slot in slots if not slot.starting and not slot.isolated]
        if groups > 0:
            drainable.sort(key=lambda slot: (not slot.draining, slot.assigned_prompts))
        for i, slot in enumerate(drainable):
            slot.draining = i < groups

    def confirm_candidates(self) -> bool:
        """Blames all poison candidates, as no document is left that could show a device to be broken; asks again.

        Returns:
            Whether there were any, or blamed documents to ask again, which are in the isolation queue now.
        """
        found = any(slot.poison_candidates for slot in self.active.values()) or bool(self._asked_again)
        for slot in self.active.values():
            self._blame_candidates(slot)
        self.isolation_queue.extend([work] for work in self._asked_again)
        self._asked_again.clear()
        return found

    def take_suspects(self, slot: Slot) -> list[Work]:
        """The next group to run isolated on a slot; none if each is better asked on another device that is there."""
        for group in self.isolation_queue:
            blamed_on = self._blamed.get(group[0].document_id, []) if len(group) == 1 else []
            if slot.number not in blamed_on or self.active.keys() <= set(blamed_on):
                self.isolation_queue.remove(group)
                return group
        return []

    def deaths_needed(self) -> int:
        """How many deaths while alone make a document poison, at the rate at which devices have died of nothing."""
        suspects = self._poisonous | self._blamed.keys()
        suspects |= {work.document_id for slot in self.active.values() for work in slot.poison_candidates}
        unexplained = sum(suspects.isdisjoint(lost) for lost in self._lost)
        rate = (unexplained + _PRIOR_DEATHS) / (unexplained + self._survived + 1)
        return max(FEWEST_DEATHS, math.ceil(math.log(BY_CHANCE) / math.log(rate)))

    def _blame_candidates(self, slot: Slot) -> None:
        for work in slot.poison_candidates:
            self._blame(work, slot)
        slot.poison_candidates.clear()

    def _blame(self, work: Work, slot: Slot) -> None:
        """Counts a death while alone; the document becomes poison, or is asked again when all others are done."""
        devices = self._blamed.setdefault(work.document_id, [])
        devices.append(slot.number)
        if len(devices) >= self.deaths_needed():
            del self._blamed[work.document_id]
            self._poisonous.add(work.document_id)
            self.poison.append(work)
        else:
            self._asked_again.append(work)

    def _quarantine(self, slot: Slot, reason: str) -> None:
        LOGGER.error("device %d is quarantined after %d deaths in a row", slot.number, slot.deaths)
        del self.active[slot.number]
        self.quarantined[slot.number] = reason
        self.isolation_queue.extend([work] for work in slot.poison_candidates)
        if not self.active:
            raise EngineError(
                f"no device is left: the last died {slot.deaths} times in a row, of: {reason}",
                mend="see xpoll.log; the same command resumes from the answers kept",
            )
