"""A fleet as a closed network: one dispatcher that serves, and devices that each hold a bounded number of prompts.

The dispatcher works in rounds, as engine/dispatch.py does: it takes all replies that are there, sends new work to
the workers that replied, then writes the answers and begins anew. A device computes batch after batch; each of its
worker's two exchanges replies as soon as there is an answer. Prompts are the unit, documents are not. Not modelled:
network and Ray's own time between the two, starts, failures, and devices that differ.

In a long run an exchange brings as many answers as it took prompts there, at most half of what the device holds. So
no order of events has more answers per second than `most_answers_per_s`: the smaller of what devices and dispatcher
can do when they never wait.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xpoll.engine.dispatch import CALLS_PER_SLOT
from xpoll.engine.planning.rooflines import MODEL_SHAPES, decode_step_s, kv_capacity_tokens, prefill_s, roofline_of
from xpoll.engine.scheduler import MIN_QUEUED


class SteadySpan(NamedTuple):
    """Begin and end of a steady state and of the run that shows it, in multiples of what the fleet holds."""

    begin: int
    end: int
    job: int


SHORT, LONG = SteadySpan(1, 3, 4), SteadySpan(8, 12, 13)
"""A fleet whose dispatcher never rests takes longer to settle: replies wait longer, until they are merged."""
BUSY = 0.98
"""Dispatcher load from which on a fleet is given the long span."""


LEAST_ENDING = 0.25
"""Part of a full batch's answers that end with each step of a batch that is smaller than this part of a full one.

Else the last answers of a run, fewer with each step, would never end.
"""


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """Seconds of the dispatcher; all of a round but its writes are before new work is out.

    Attributes:
        exchange_s: Per exchange, whatever it carries.
        answer_s: Per answer: prompt made and sent, answer received.
        round_s: Per append to the journal, whatever it holds: the wait for the disk above all.
        written_answer_s: Per answer of an append.
    """

    exchange_s: float
    answer_s: float
    round_s: float
    written_answer_s: float


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """A device with its engine.

    Attributes:
        batch: Most prompts of a step.
        decode_s: Seconds of a step without new prompts by the number of its prompts, from 0 to `batch`.
        prefill_s: Seconds that each new prompt takes; it is counted with the answers, of which there are as many.
        answer_tokens: Mean tokens of an answer, which are the steps that it takes.
        held: Most prompts on the device's worker, waiting ones included.
    """

    batch: int
    decode_s: tuple[float, ...]
    prefill_s: float
    answer_tokens: float
    held: int

    @property
    def own_rate(self) -> float:
        """Answers per second with a full batch."""
        answers = self.batch / self.answer_tokens
        return answers / (self.decode_s[self.batch] + answers * self.prefill_s)


class FleetRate(NamedTuple):
    """What a simulated fleet does.

    Attributes:
        answers_per_s: In the steady state.
        dispatcher_load: Share of that time in which the dispatcher works.
        answers_per_exchange: In that time, on average.
        answers: Of the whole run.
        wall_s: Of the whole run, from the first step to the last durable answer.
    """

    answers_per_s: float
    dispatcher_load: float
    answers_per_exchange: float
    answers: int
    wall_s: float


def device_of(
    *,
    device: str,
    model_shape: str,
    prompt_tokens: float,
    computed_tokens: float,
    answer_tokens: float,
    max_num_seqs: int,
    max_in_flight: int,
    compute_efficiency: float,
    bandwidth_efficiency: float,
    time_scale: float = 1.0,
) -> DeviceModel:
    """A device whose steps follow a roofline, as those of engine/backends/simulated do.

    Args:
        device: Name or file of its roofline.
        model_shape: Name in MODEL_SHAPES.
        prompt_tokens: Tokens of a prompt.
        computed_tokens: Those of them that no prefix cache holds.
        answer_tokens: Mean tokens of an answer.
        max_num_seqs: Most prompts of a step.
        max_in_flight: `engine.max_in_flight`.
        compute_efficiency: Share of the peak arithmetic that is reached, 0 to 1.
        bandwidth_efficiency: Share of the peak bandwidth that is reached, 0 to 1.
        time_scale: Seconds that a second of the roofline takes.
    """
    roofline, shape = roofline_of(device), MODEL_SHAPES[model_shape]
    batch = max(1, min(max_num_seqs, int(kv_capacity_tokens(roofline, shape) / (prompt_tokens + answer_tokens))))

    efficiency = {"compute_efficiency": compute_efficiency}
    prefill = time_scale * computed_tokens * prefill_s(roofline, shape, 1, **efficiency)

    def decode(prompts: int) -> float:
        context = int(prompts * (prompt_tokens + answer_tokens / 2))
        efficiencies = {"bandwidth_efficiency": bandwidth_efficiency, **efficiency}
        return time_scale * decode_step_s(roofline, shape, prompts, context, **efficiencies)

    capacity = min(max_in_flight, batch + max(MIN_QUEUED, batch // 2))
    decodes = tuple(map(decode, range(batch + 1)))
    return DeviceModel(batch, decodes, prefill, answer_tokens, CALLS_PER_SLOT * capacity)


def dispatcher_limit(times: ServiceTimes, device: DeviceModel, devices: int) -> float:
    """Most answers per second of a dispatcher that never waits: every exchange full, every append of all exchanges."""
    exchange = times.exchange_s * CALLS_PER_SLOT / device.held
    return 1 / (times.answer_s + times.written_answer_s + exchange + times.round_s / (devices * device.held))


def most_answers_per_s(times: ServiceTimes, device: DeviceModel, devices: int) -> float:
    """The asymptotic bound of the closed network: min(N x rate of a device, 1 / service time of the dispatcher)."""
    return min(devices * device.own_rate, dispatcher_limit(times, device, devices))


def knee_devices(times: ServiceTimes, device: DeviceModel) -> float:
    """N*, the number of devices at which both bounds meet, with an append shared by very many."""
    return dispatcher_limit(times, device, 10**9) / device.own_rate


def wall_of(rate: FleetRate, device: DeviceModel, devices: int, answers: int, times: ServiceTimes) -> float:
    """Seconds of a job: simulated whole where it is short, else at the steady rate but for its begin and end.

    Args:
        rate: What `simulated_fleet` finds for this fleet.
        device: Each device.
        devices: Number of devices.
        answers: Of the whole job.
        times: The dispatcher.
    """
    if answers < rate.answers:
        return _simulated(times, device, devices, answers, SHORT).wall_s
    return rate.wall_s + (answers - rate.answers) / rate.answers_per_s


def simulated_fleet(times: ServiceTimes, device: DeviceModel, *, devices: int) -> FleetRate:
    """Runs a job that is long enough for a steady state, event by event.

    Args:
        times: The dispatcher.
        device: Each device.
        devices: Number of devices.
    """
    held = devices * device.held
    rate = _simulated(times, device, devices, SHORT.job * held, SHORT)
    return rate if rate.dispatcher_load < BUSY else _simulated(times, device, devices, LONG.job * held, LONG)


def _simulated(times: ServiceTimes, device: DeviceModel, devices: int, answers: int, span: SteadySpan) -> FleetRate:
    """Runs a job of `answers` prompts; its steady state is that of the span, if it is long enough for one."""
    held = devices * device.held
    fleet = _Devices(device, devices)
    left = answers - fleet.receive(np.full(devices, True), answers)
    free_s, busy_s, collected, exchanges = 0.0, 0.0, 0, 0
    track = [(0.0, 0.0, 0, 0)]
    while collected < answers:
        begin_s = fleet.wait_for_reply(free_s)
        replies, received = fleet.take_replies()
        sent_s = begin_s + replies * times.exchange_s + received * times.answer_s
        fleet.advance(sent_s)
        if not left:
            left = fleet.steal()
        left -= fleet.receive(fleet.calls < CALLS_PER_SLOT, left)
        free_s = sent_s + times.round_s + received * times.written_answer_s
        busy_s, collected, exchanges = busy_s + free_s - begin_s, collected + received, exchanges + replies
        track.append((free_s, busy_s, collected, exchanges))
    free, busy, done, calls = np.array(track).T
    begin, end = np.searchsorted(done, [min(span.begin * held, answers // 4), min(span.end * held, answers)])
    begin = min(begin, end - 1)
    answered, span_s = done[end] - done[begin], free[end] - free[begin]
    return FleetRate(
        float(answered / span_s),
        float((busy[end] - busy[begin]) / span_s),
        float(answered / (calls[end] - calls[begin])),
        answers,
        free_s,
    )


class _Devices:
    """State of all devices, one place of each array per device.

    Attributes:
        calls: Exchanges that wait in the worker.
    """

    def __init__(self, device: DeviceModel, devices: int) -> None:
        self._device = device
        self._decode_s = np.array(device.decode_s)
        self._queued = np.zeros(devices)  # prompts without an answer; fractions of an answer add up over steps
        self._ending = np.zeros(devices)  # answers of the step that is computed
        self._finished = np.zeros(devices)
        self._replied = np.zeros(devices)
        self._replies = np.zeros(devices, int)
        self.calls = np.zeros(devices, int)
        self._end_s = np.full(devices, np.inf)
        self._now_s = 0.0
        self._phase = np.random.default_rng(0).uniform(0, 1, devices)  # engines do not step in time

    def receive(self, which: Any, left: int) -> int:
        """Fills the room of some workers, by half of what they hold per exchange; returns how many prompts went out."""
        device, places = self._device, np.flatnonzero(which)
        new_calls = CALLS_PER_SLOT - self.calls[places]
        assigned = self._queued[places] + self._finished[places] + self._replied[places]
        room = np.minimum(device.held - assigned, new_calls * (device.held // CALLS_PER_SLOT))
        room = np.floor(np.maximum(room, 0) + 1e-9)
        sent = np.diff(np.minimum(np.cumsum(room), left), prepend=0)
        idle = self._queued[places] <= 0
        self._queued[places] += sent
        begin = places[(sent > 0) & idle]
        self._end_s[begin] = self._now_s
        self._begin_steps(begin)
        if self._now_s == 0:
            self._end_s *= self._phase
        self.calls[places] = CALLS_PER_SLOT
        self._reply(places)
        return int(sent.sum())

    def advance(self, until_s: float) -> None:
        """Ends all steps up to a time."""
        while len(places := np.flatnonzero(self._end_s <= until_s)):
            self._end_steps(places)
        self._now_s = until_s

    def wait_for_reply(self, since_s: float) -> float:
        """When the dispatcher, free at a time, has at least one reply."""
        self.advance(since_s)
        while not self._replies.any():
            assert np.isfinite(self._end_s.min()), "no device computes and no reply is under way"
            self.advance(float(self._end_s.min()))
        return self._now_s

    def take_replies(self) -> tuple[int, int]:
        """Numbers of replies and of answers in them, of all devices."""
        replies, answers = int(self._replies.sum()), int(self._replied.sum())
        self._replies[:] = 0
        self._replied[:] = 0
        return replies, answers

    def steal(self) -> int:
        """Half of what waits in the fullest worker, where one is idle; returns how many prompts."""
        waiting = self._queued - self._device.batch
        fullest = int(waiting.argmax())
        if waiting[fullest] < 2 or self._queued.min() > 0:
            return 0
        stolen = int(waiting[fullest] // 2)
        self._queued[fullest] -= stolen
        return stolen

    def _end_steps(self, places: Any) -> None:
        self._queued[places] = np.round(self._queued[places] - self._ending[places], 9)
        self._finished[places] = np.round(self._finished[places] + self._ending[places], 9)
        self._reply(places)
        self._begin_steps(places)

    def _begin_steps(self, places: Any) -> None:
        """The next step of some devices: of a full batch all answers that are due, of a small one at least some."""
        device, queued = self._device, self._queued[places]
        batch = np.minimum(queued, device.batch)
        ending = np.minimum(queued, np.maximum(batch, device.batch * LEAST_ENDING) / device.answer_tokens)
        step_s = self._decode_s[np.ceil(batch).astype(int)] + ending * device.prefill_s
        self._ending[places] = ending
        self._end_s[places] = np.where(queued > 0, self._end_s[places] + step_s, np.inf)

    def _reply(self, places: Any) -> None:
        whole = np.floor(self._finished[places] + 1e-6)  # fractions add up to almost one
        replies = (whole >= 1) & (self.calls[places] > 0)
        self._replied[places] += np.where(replies, whole, 0)
        self._finished[places] -= np.where(replies, whole, 0)
        self._replies[places] += replies
        self.calls[places] -= replies
