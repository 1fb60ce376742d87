"""How fast a student trains and serves, and what INT8 costs it.

The parts `throughput` and `serving` read the phrasebank files of the suite `votes`: students are trained on the train
sentences and their recorded answers. The part `sets` trains on labels that people gave, of data sets of more labels.
Labels by people of test rows score and do nothing else. How accurate students are by recipe is an experiment:
experiments/student_arms.
"""

from collections.abc import Iterator

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.student_sentences import read_sentences
from xpoll.benchmarks.workloads.student_serving import measure_serving
from xpoll.benchmarks.workloads.student_sets import measure_sets
from xpoll.benchmarks.workloads.student_throughput import measure_throughput


def measure(parameters: Parameters) -> Iterator[Record]:
    """Training loops side by side, the ways to serve, and further data sets; parameters.parts says which."""
    if "sets" in parameters["parts"]:
        yield from measure_sets(parameters)
    if not {"throughput", "serving"} & set(parameters["parts"]):
        return
    train, test = read_sentences(parameters["data"])
    if "throughput" in parameters["parts"]:
        yield from measure_throughput(train.texts, train.labels, parameters)
    if "serving" in parameters["parts"]:
        yield from measure_serving(train, test, parameters)
