"""The table of energy sources by kind of device; to add one: a file with a `find` function, and a line here."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from xpoll.energy.counters import Counter, SourceCounters
from xpoll.energy.hwmon import find_hwmon
from xpoll.energy.nvml import find_nvml
from xpoll.energy.rapl import find_rapl
from xpoll.energy.sysman import find_sysman
from xpoll.energy.xpu_smi import find_xpu_smi

Find = Callable[[], SourceCounters]

PROCESSOR: Mapping[str, Find] = {"rapl": find_rapl}
SOURCES: Mapping[str, Mapping[str, Find]] = {
    "cpu": {},
    "xpu": {"hwmon": find_hwmon, "xpu-smi": find_xpu_smi, "sysman": find_sysman},
    "cuda": {"nvml": find_nvml},
}
"""By kind of device, in order of preference: the first readable one is used, together with the processor's."""


class Counters(NamedTuple):
    """The counters of this machine.

    Attributes:
        counters: Counters of parts that do not overlap.
        source: The sources in words; "none" where the devices cannot be read.
        why: What cannot be read, and the reason; empty where everything can.
    """

    counters: Sequence[Counter]
    source: str
    why: str


def find_counters(
    kind: str,
    sources: Mapping[str, Mapping[str, Find]] = SOURCES,
    processor: Mapping[str, Find] = PROCESSOR,
) -> Counters:
    """The counters of all devices of one kind and of the processor.

    If a GPU has no readable counter, there are none at all: the processor alone would pass for the whole. All
    cards of a kind are counted, also those that a run does not use.

    Args:
        kind: "cpu", "xpu" or "cuda".
        sources: Sources by kind of device, in order of preference.
        processor: Sources of the processor, in order of preference.
    """
    on_device = _first(sources[kind])
    host = _first(processor)
    needed = on_device if sources[kind] else host
    if not needed.counters:
        for counter in host.counters:
            counter.close()
        return Counters([], "none", needed.why)
    parts = [part for part in (on_device, host) if part.counters]
    counters = [counter for part in parts for counter in part.counters]
    why = "" if host.counters else f"the processor is not counted: {host.why}"
    return Counters(counters, " + ".join(part.source for part in parts), why)


def _first(group: Mapping[str, Find]) -> Counters:
    problems = []
    for source, find in group.items():
        found = find()
        if found.counters:
            return Counters(found.counters, source, "")
        problems.append(found.why)
    return Counters([], "none", "; ".join(problems))
