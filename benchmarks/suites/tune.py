"""`xpoll bench tune`: the fastest [engine.vllm] options for a model on this device.

Coordinate search: each value of one option after the other is tried with the best options so far, in an engine
of its own, and the fastest is kept where it is faster by more than `least_gain`. The last record has the
options, which `finish` writes as TOML.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.suites.engine import measure as measure_engine
from xpoll.core.files import write_text
from xpoll.core.progress import say

FIGURE = "output_tokens_per_s"

Measure = Callable[[dict[str, Any]], Record]


def measure(parameters: Parameters) -> Iterator[Record]:
    """The rate with each option that is tried, then the best options."""

    def rate(options: dict[str, Any]) -> Record:
        *_, last = measure_engine(parameters | {"vllm": options, "concurrency": [parameters["in_flight"]]})
        return last

    yield from search(parameters["settings"], rate, least_gain=parameters["least_gain"])


def finish(document: Mapping[str, Any]) -> None:
    """Called with the document of a complete run: writes the best options beside it."""
    say(f"[engine.vllm]: {write_best(document)}")


def search(settings: dict[str, list[Any]], measure: Measure, *, least_gain: float) -> Iterator[Record]:
    """Coordinate search from vLLM's options as xpoll sets them; yields a record per value tried.

    Args:
        settings: Values to try by option, in the order in which they are tried.
        measure: From options to a record with output_tokens_per_s; an exception makes a failed record.
        least_gain: Share by which a value must be faster to be kept.
    """
    best: dict[str, Any] = {}
    first = measure(best)
    rate = first[FIGURE]
    yield {"arm": "as xpoll sets it", "options": "{}", "status": "ok", FIGURE: rate}
    for name, values in settings.items():
        tried: dict[str, float] = {}
        for value in values:
            options = {**best, name: value}
            say(f"trying {options}")
            record: Record = {"arm": f"{name} = {value}", "options": json.dumps(options)}
            try:
                found = measure(options)[FIGURE]
            except Exception as error:  # vLLM refuses some values on some devices
                yield record | {"status": "failed", "error": " ".join(str(error).split())[:200]}
                continue
            tried[json.dumps(value)] = found
            yield record | {"status": "ok", FIGURE: found}
        if tried and max(tried.values()) > rate * (1 + least_gain):
            value, rate = max(tried.items(), key=lambda pair: pair[1])
            best[name] = json.loads(value)
    gain = rate / first[FIGURE]
    yield {"arm": "best", "options": json.dumps(best), "status": "ok", f"best_{FIGURE}": rate, "gain": round(gain, 4)}


def write_best(document: Mapping[str, Any]) -> Path:
    """Writes the best options of a run of the suite beside its records, to be copied into a job; returns the path."""
    parameters, environment = document["parameters"], document["environment"]
    best = next(record for record in document["records"] if record["arm"] == "best")
    head = (
        f"# The fastest of those tried for {parameters['model']} on {environment['devices']}, "
        f"{document['started_utc']}:\n"
        f"# {100 * (best['gain'] - 1):.1f} % more output tokens/s than with the options that xpoll sets.\n"
    )
    path = Path(document["output"]).with_suffix(".toml")
    write_text(path, head + as_toml(json.loads(best["options"])))
    return path


def as_toml(options: dict[str, Any]) -> str:
    """The options as the [engine.vllm] table of a job, in TOML."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    return "\n".join(["[engine.vllm]", *lines]) + "\n"
