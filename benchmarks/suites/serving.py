"""A student behind `xpoll serve`: what HTTP, another process and batches of what comes together cost and give.

Arms in turn: the student in this process one text at a time and in batches, and the server with as many clients.
"""

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from xpoll.benchmarks.runner.records import Parameters, Record, alternating
from xpoll.benchmarks.workloads.example_job import EXAMPLE
from xpoll.benchmarks.workloads.served_student import (
    ask_in_process,
    ask_server,
    served_student,
    untrained_student,
)


def measure(parameters: Parameters) -> Iterator[Record]:
    """The arms in turn, then the server against the student in this process, at one text and at many at a time."""
    from xpoll.student.inference.model import StudentModel

    requests = parameters["requests"]
    with (EXAMPLE / "documents.csv").open(newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    rates: dict[str, list[float]] = {arm: [] for arm in parameters["arms"]}
    with tempfile.TemporaryDirectory() as folder:
        student = Path(folder) / "student"
        untrained_student(student, parameters["encoder"])
        model = StudentModel(student)
        with served_student(student) as address:

            def measure_arm(arm: str, _repeat: int) -> Record:
                where, _, many = arm.partition(", ")
                if where == "server":
                    record = ask_server(address, "student", texts, clients=int(many), requests=requests)
                else:
                    record = ask_in_process(model, texts, batch=int(many), requests=requests)
                rates[arm].append(record["requests_per_s"])
                return record

            for arm in parameters["arms"]:
                measure_arm(arm, -1)  # the first pass allocates
            rates.update({arm: [] for arm in rates})
            yield from alternating(parameters, measure_arm)
    for many in sorted({int(arm.partition(", ")[2]) for arm in rates}):
        server, here = rates.get(f"server, {many}"), rates.get(f"in process, {many}")
        if server and here:
            share = round(median(server) / median(here), 3)
            yield {"arm": f"server against in process, {many}", f"share_of_rate_{many}": share}
