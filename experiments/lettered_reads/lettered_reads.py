"""Two ways to read a label from one forward pass: its own tokens, or the letter of an option.

By name, the model is asked for the label and its probability is read to the last token. By letter, labels stand
behind letters (numbers beyond 26 of them), and the letter's probability is read; the labels are behind other letters
in each text, so that a preference for a letter can be told from one for a label, and taken out. Both are scored raw and
batch-calibrated, on train rows of two data sets that are not part of xpoll.
"""

import asyncio
from collections.abc import Iterator, Sequence
from string import ascii_uppercase

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.workloads.labelled_sets import labelled_set
from xpoll.core.progress import say
from xpoll.core.records import AnswerSchema, Prompt, Sampling
from xpoll.core.statistics import accuracy
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.vllm.in_process import VllmBackend
from xpoll.engine.devices.find import find_devices, pinning


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record a data set, way of reading and way of counting."""
    (device,) = find_devices("cpu", 1)
    for name in parameters["sets"]:
        say(name)
        yield from call_in_subprocess(measure_set, parameters, name, environment=pinning(device))["records"]


def measure_set(parameters: Parameters, name: str) -> Record:
    """The records of one data set, on an engine of its own."""
    texts, truth, labels, question = labelled_set(
        parameters["data"], name, "train", rows=parameters["texts"], seed=parameters["seed"]
    )
    options = list(ascii_uppercase) if len(labels) <= 26 else [str(number + 1) for number in range(len(labels))]
    options = options[: len(labels)]
    turns = [(place * 7919) % len(labels) for place in range(len(texts))]  # spread over the places
    by_name = [
        _prompt(i, f"{question} Answer with one of: {', '.join(labels)}.", text, labels) for i, text in enumerate(texts)
    ]
    by_letter = []
    for i, (text, turn) in enumerate(zip(texts, turns, strict=True)):
        turned = [*labels[turn:], *labels[:turn]]
        listed = "\n".join(f"{option}. {label}" for option, label in zip(options, turned, strict=True))
        what = "letter" if len(labels) <= 26 else "number"
        by_letter.append(_prompt(i, f"{question}\n{listed}\nAnswer with the {what} alone.", text, options))

    async def read() -> tuple[np.ndarray, np.ndarray, list[float]]:
        (device,) = find_devices("cpu", 1)
        engine = {"kv_cache_memory_bytes": 2**31, "dtype": "float32"}
        backend = VllmBackend(BackendSettings(parameters["model"], device, "experiment", engine))
        await backend.start()
        found, computed = [], []
        for prompts in (by_name, by_letter):
            completions = await asyncio.gather(*map(backend.answer, prompts))
            found.append(np.array([each.choice_logprobs for each in completions], dtype=float))
            tokens = sum(each.prompt_tokens - each.cached_prompt_tokens + each.output_tokens for each in completions)
            computed.append(tokens / len(prompts))
        backend.stop()
        return found[0], found[1], computed

    names, letters, computed = asyncio.run(read())
    places = (np.arange(len(labels)) - np.array(turns)[:, None]) % len(labels)  # of each label in each text

    def at_labels(logprobs: np.ndarray) -> np.ndarray:
        return np.take_along_axis(logprobs, places, 1)

    arms = {
        "by name, raw": (names, computed[0]),
        "by name, calibrated": (names - names.mean(0), computed[0]),
        "by letter, raw": (at_labels(letters), computed[1]),
        "by letter, without the letter's bias": (at_labels(letters - letters.mean(0)), computed[1]),
    }
    both = at_labels(letters - letters.mean(0))
    arms["by letter, without the letter's and the label's bias"] = (both - both.mean(0), computed[1])
    records = []
    for arm, (scores, tokens) in arms.items():
        named = [[labels[number] for number in numbers] for numbers in (scores.argmax(1), truth)]
        found = accuracy(*named)
        records.append(
            {
                "set": name,
                "arm": arm,
                "texts": len(texts),
                "labels": len(labels),
                "accuracy": round(found.value, 4),
                "accuracy_low": round(found.low, 4),
                "accuracy_high": round(found.high, 4),
                "computed_tokens_per_read": round(tokens, 1),
            }
        )
    return {"records": records}


def _prompt(number: int, system: str, text: str, choices: Sequence[str]) -> Prompt:
    messages = ({"role": "system", "content": system}, {"role": "user", "content": f"Text:\n{text}"})
    answer = AnswerSchema(tuple(choices), logprobs=True, read=True)
    return Prompt(str(number), "p", 0, messages, Sampling(0.0, 1.0, 16), answer)
