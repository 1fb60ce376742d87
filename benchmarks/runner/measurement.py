"""Measurements: figures with their provenance. The types refuse figures that are not results.

A suite's flat records become measurements: one figure of one arm, over its repeats.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["ok", "failed"]

IDENTITY = ("part", "arm", "role", "kernel", "model", "shape", "dtype")
"""Keys of a record that identify what was measured; all other numbers are figures."""
COUNTERS = frozenset({"repeat"})


class RefusedError(ValueError):
    """A record or document is no measurement; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of figures.

    Attributes:
        commit: Commit of the code that was measured.
        dirty: Whether the code differed from it.
        started_utc: When the suite started.
        processor: Name of the machine's processor.
        cores: Number of usable cores.
        devices: Devices that engines would use, and the drivers of GPUs.
        packages: Versions by package.
        parameters: Parameters of the suite.
    """

    commit: str
    dirty: bool
    started_utc: str
    processor: str
    cores: int
    devices: str
    packages: Mapping[str, str]
    parameters: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.commit:
            raise RefusedError("a run without a commit is no measurement: nobody can tell what was measured")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of one arm over its repeats; a failed one has an error and no values.

    Attributes:
        suite: Name of the suite.
        what: What was measured, e.g. the arm.
        figure: Name of the figure, with its unit.
        values: One value per repeat.
        status: "ok" or "failed".
        error: Why it failed; otherwise empty.
        provenance: Its origin.

    Raises:
        RefusedError: it has neither values nor an error, both, or values that are not finite.
    """

    suite: str
    what: str
    figure: str
    values: tuple[float, ...]
    status: Status
    error: str
    provenance: Provenance

    def __post_init__(self) -> None:
        if self.status == "failed" and self.values:
            raise RefusedError(f"{self.what}, {self.figure}: it failed, so its numbers {self.values} are none")
        if self.status == "failed" and not self.error:
            raise RefusedError(f"{self.what}, {self.figure}: it failed without a reason")
        if self.status == "ok" and not self.values:
            raise RefusedError(f"{self.what}, {self.figure}: it has no numbers and did not fail")
        if not all(math.isfinite(value) for value in self.values):
            raise RefusedError(f"{self.what}, {self.figure}: {self.values} are not all finite")

    @property
    def median(self) -> float:
        """Median over the repeats."""
        return statistics.median(self.values)

    def percentile(self, percent: int) -> float:
        """A percentile of the repeats, by linear interpolation; the value itself where there is one.

        Args:
            percent: 1 to 99.
        """
        if len(self.values) == 1:
            return self.values[0]
        return statistics.quantiles(sorted(self.values), n=100, method="inclusive")[percent - 1]


def provenance_of(document: Mapping[str, Any]) -> Provenance:
    """The provenance of a suite's document.

    Raises:
        RefusedError: it names no commit.
    """
    environment = document["environment"]
    return Provenance(
        commit=environment["commit"] or "",
        dirty=bool(environment["dirty"]),
        started_utc=document["started_utc"],
        processor=environment["processor"],
        cores=environment["cores"],
        devices=", ".join([environment.get("devices", "not known"), *_drivers(environment)]),
        packages=environment["packages"],
        parameters=document["parameters"],
    )


def _drivers(environment: Mapping[str, Any]) -> list[str]:
    return [f"{name} {version}" for name, version in environment.get("drivers", {}).items()]


def measurements_of(document: Mapping[str, Any]) -> list[Measurement]:
    """Every figure of a suite's records, in order.

    Raises:
        RefusedError: the document names no commit, or a record failed and has numbers.
    """
    provenance = provenance_of(document)
    values: dict[tuple[str, str], list[float]] = {}
    failed: dict[str, str] = {}
    for record in document["records"]:
        what = name_of(record)
        if record.get("status", "ok") == "failed":
            failed[what] = record.get("error", "")
        for figure, value in figures(record):
            values.setdefault((what, figure), []).append(value)
    found = [
        Measurement(
            document["suite"],
            what,
            figure,
            tuple(numbers),
            "failed" if what in failed else "ok",
            failed.get(what, ""),
            provenance,
        )
        for (what, figure), numbers in values.items()
    ]
    without = [what for what in failed if not any(each.what == what for each in found)]
    return [*found, *(Measurement(document["suite"], w, "", (), "failed", failed[w], provenance) for w in without)]


def name_of(record: Mapping[str, Any]) -> str:
    """The identity of a record, in words; "all" without any key of IDENTITY."""
    return ", ".join(str(record[key]) for key in IDENTITY if record.get(key)) or "all"


def figures(record: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    """Name and value of each number of a record, except counters."""
    return [
        (name, float(value))
        for name, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in COUNTERS
    ]
