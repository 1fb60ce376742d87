"""Ways to serve a student, on the same sentences, in turn: Transformers' pipeline, xpoll, OpenVINO.

The pipeline gets batches of 8 in the order of the sentences, as its page shows it. xpoll and OpenVINO get
all sentences at once and sort them by length. Latency is that of a call with 8 sentences.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.recording import LABELS
from xpoll.benchmarks.workloads.student_int8 import measure_points_lost
from xpoll.benchmarks.workloads.student_sentences import Sentences, settings, voted_rows
from xpoll.core.errors import UserError
from xpoll.core.progress import say
from xpoll.energy.sources import find_counters
from xpoll.energy.window import Energy, Window
from xpoll.student.folder import other_seeds
from xpoll.student.inference.openvino_runtime import RUNTIMES
from xpoll.student.recipe import Recipe

PIPELINE, PYTORCH = "pipeline", "pytorch"
SMALL_BATCH = 8
ROBERTA_BASE_SIZE = "roberta-base-size"

Classify = Callable[[Sequence[str]], list[str]]


def measure_serving(train: Sentences, test: Sentences, parameters: Parameters) -> Iterator[Record]:
    """A first pass of each way, which is not compared, one per way and repeat, and each way against the pipeline.

    In the first pass OpenVINO compiles for every length of batch that it meets, and everything allocates. What is
    compared passes over the sentences until `serving_window_s` are full: a fast way has them done in half a second,
    in which a machine may do anything. A repeat has `serving_rounds` such windows of each way, in turn: what the
    machine does for some seconds meets all of them. OpenVINO's INT8 and the pipeline, whose pair is the claim, are
    neighbours. Last, what INT8 loses, over `seeds` students, the first of which is the one that was timed.
    """
    for name in parameters["serving_encoders"]:
        with tempfile.TemporaryDirectory() as folder:
            student = Path(folder) / "student"
            if name == ROBERTA_BASE_SIZE:
                _random_roberta(student, parameters["encoder"])
            else:
                _trained(student, train, parameters)
            students = [student, *other_seeds(student)]
            exported = [_export(each, train.texts, parameters["ipex_python"]) for each in students]
            yield from _measured(name, student, exported[0], test, parameters)
            if name != ROBERTA_BASE_SIZE and all(exported):
                yield from measure_points_lost(students, test, name)


def _measured(name: str, student: Path, exported: bool, test: Sentences, parameters: Parameters) -> Iterator[Record]:
    from xpoll.core.machine.device import best_device

    texts = test.texts[: parameters["serving_rows"]]
    truth = test.labels[: parameters["serving_rows"]]
    counters = find_counters(best_device().type)
    ways = {way: _way(way, student) for way in (PYTORCH, *(RUNTIMES if exported else ()), PIPELINE)}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    right: dict[str, float] = {}
    passes: dict[str, int] = {}
    for way, classify in ways.items():
        started_s = time.perf_counter()
        classify(texts)
        first_s = time.perf_counter() - started_s
        passes[way] = max(1, round(parameters["serving_window_s"] / first_s))
        yield {"arm": way, "encoder": name, "first_pass_texts_per_s": len(texts) / first_s}
    for repeat in range(parameters["serving_repeats"]):
        windows: dict[str, list[Energy]] = {way: [] for way in ways}
        for turn in range(parameters["serving_rounds"]):
            for way, classify in ways.items():
                say(f"serving {name}, repeat {repeat + 1} of {parameters['serving_repeats']}, turn {turn + 1}: {way}")
                with Window(counters) as window:
                    for _ in range(passes[way]):
                        answers = classify(texts)
                windows[way].append(window.energy)
                right[way] = float(np.mean([mine == real for mine, real in zip(answers, truth, strict=True)]))
        for way, classify in ways.items():
            done = parameters["serving_rounds"] * passes[way] * len(texts)
            rate = done / sum(energy.wall_s for energy in windows[way])
            rates[way].append(rate)
            joules = [energy.energy_j for energy in windows[way] if energy.energy_j is not None]
            measured = len(joules) == len(windows[way])
            yield {
                "arm": way,
                "encoder": name,
                "repeat": repeat,
                "texts_per_s": rate,
                "hours_for_a_million": 1e6 / rate / 3600,
                "usd_for_a_million": parameters["usd_per_hour"] * 1e6 / rate / 3600,
                "kwh_for_a_million": sum(joules) / done / 3.6 if measured else None,
                "energy_source": windows[way][0].source,
                "accuracy": right[way] if name != ROBERTA_BASE_SIZE else None,
                **_latencies(classify, texts),
            }
    for way in [way for way in ways if way != PIPELINE]:
        figure = "int8_speedup" if way == "openvino-int8" else f"{way.replace('-', '_')}_speedup"
        pairs = [ours / plain for ours, plain in zip(rates[way], rates[PIPELINE], strict=True)]
        for repeat, times in enumerate(pairs):
            yield {"arm": way, "encoder": name, "repeat": repeat, figure: times}
        yield {"arm": way, "encoder": name, f"{figure}_median": float(np.median(pairs))}


def _latencies(classify: Classify, texts: Sequence[str]) -> Record:
    took = []
    for start in range(0, len(texts) - SMALL_BATCH + 1, SMALL_BATCH):
        started_s = time.perf_counter()
        classify(texts[start : start + SMALL_BATCH])
        took.append(1000 * (time.perf_counter() - started_s))
    return {"latency_p50_ms": float(np.median(took)), "latency_p95_ms": float(np.quantile(took, 0.95))}


def _way(way: str, student: Path) -> Classify:
    if way == PIPELINE:
        from transformers import pipeline

        classify = pipeline("text-classification", model=str(student), device="cpu")

        def by_pipeline(texts: Sequence[str]) -> list[str]:
            found: list[dict[str, Any]] = classify(list(texts), batch_size=SMALL_BATCH, truncation=True)
            return [each["label"] for each in found]

        return by_pipeline
    from xpoll.student.inference.model import StudentModel

    model = StudentModel(student, runtime=way)
    return lambda texts: [model.labels[best] for best in model.probabilities(texts).argmax(1)]


def _export(student: Path, texts: Sequence[str], python: str) -> bool:
    from xpoll.student.intel.export import export_student

    try:
        export_student(student, texts, python=python)
    except UserError as error:
        say(f"OpenVINO is left out: {error}")
        return False
    return True


def _trained(student: Path, train: Sentences, parameters: Parameters) -> None:
    from xpoll.student.train import train_student

    config, recipe = settings(parameters, seeds=parameters["seeds"]), Recipe.model_validate(parameters["recipe"])
    train_student(voted_rows(train), LABELS, config=config, seed=0, output=student, recipe=recipe)


def _random_roberta(student: Path, tokenizer_of: str) -> None:
    """A model of RoBERTa-base's size with random weights, which are as fast as trained ones."""
    from transformers import AutoTokenizer, RobertaConfig, RobertaForSequenceClassification

    from xpoll.core.models import resolve_model
    from xpoll.student.training.encoder import quiet

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(
            resolve_model(tokenizer_of, key="parameters.encoder"), trust_remote_code=False
        )
        named = dict(enumerate(["negative", "neutral", "positive"]))
        config = RobertaConfig(
            vocab_size=50265,
            max_position_embeddings=514,
            type_vocab_size=1,
            id2label=named,
            label2id={label: i for i, label in named.items()},
        )
        RobertaForSequenceClassification(config).save_pretrained(student)
        tokenizer.model_max_length = 256
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
        tokenizer.save_pretrained(student)
