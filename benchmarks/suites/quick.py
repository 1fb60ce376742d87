"""`xpoll bench quick`: short runs of the suites engine, student and kernels, one after the other."""

from collections.abc import Iterator

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.suites.engine import measure as measure_engine
from xpoll.benchmarks.suites.kernels import measure as measure_kernels
from xpoll.benchmarks.workloads.student_speed import measure_student_speed

PARTS = {"engine": measure_engine, "student": measure_student_speed, "kernels": measure_kernels}


def measure(parameters: Parameters) -> Iterator[Record]:
    """The records of every part, with its name; each part has a table of parameters."""
    for name in parameters["parts"]:
        for record in PARTS[name](parameters[name] | {"repeats": parameters["repeats"]}):
            yield {"part": name, **record}
