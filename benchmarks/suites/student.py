"""How fast a student trains and serves, and what INT8 costs it.

Reads the phrasebank files of the suite `votes`. Students are trained on the train sentences and their recorded
answers. Experts' labels score the test sentences and do nothing else. How accurate students are by recipe is an
experiment: experiments/student_arms.
"""

from collections.abc import Iterator

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.student_sentences import read_sentences
from xpoll.benchmarks.workloads.student_serving import measure_serving
from xpoll.benchmarks.workloads.student_throughput import measure_throughput


def measure(parameters: Parameters) -> Iterator[Record]:
    """Training loops side by side, and the ways to serve; parameters.parts says which."""
    train, test = read_sentences(parameters["data"])
    if "throughput" in parameters["parts"]:
        yield from measure_throughput(train.texts, train.labels, parameters)
    if "serving" in parameters["parts"]:
        yield from measure_serving(train, test, parameters)
