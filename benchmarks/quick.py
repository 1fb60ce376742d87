"""`xpoll bench quick`: engine, student and operators on this machine, short, one after the other."""

from collections.abc import Iterator

from benchmarks.engine_latency import measure_engine
from benchmarks.kernels import measure_kernels
from benchmarks.records import Parameters, Record
from benchmarks.student_speed import measure_student_speed

PARTS = {"engine": measure_engine, "student": measure_student_speed, "kernels": measure_kernels}


def measure_quick(parameters: Parameters) -> Iterator[Record]:
    """The records of every part, with its name; a part takes its table of the parameters."""
    for name in parameters["parts"]:
        for record in PARTS[name](parameters[name] | {"repeats": parameters["repeats"]}):
            yield {"part": name, **record}
