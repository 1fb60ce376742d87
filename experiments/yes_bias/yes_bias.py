"""Ways to calibrate labels that are each read by themselves, yes or no, without gold labels.

Drawn models: a log-odds is the label's own bias (mean 2, standard deviation 1.5), plus or minus the strength as the
label fits or not, plus noise that the text's labels share (0.5) and noise of its own (1, or the strength / 2.5 where
that is more). A label fits a text with a probability drawn for it, about two labels a text; of three labels about one.
The real model is read on train rows of NLU++.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.workloads.label_questions import question_config
from xpoll.benchmarks.workloads.nlu_plus_plus import IntentRows, nlu_plus_plus
from xpoll.core.config.task import Example
from xpoll.core.errors import ConfigError
from xpoll.core.progress import say
from xpoll.core.records import Document
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.vllm.in_process import VllmBackend
from xpoll.engine.devices.find import find_devices, pinning
from xpoll.personas.persona import load_panel
from xpoll.personas.prompts import build_prompts
from xpoll.votes.compare_sets import set_scores
from xpoll.votes.tasks.registry import kind_of

EXAMPLES = [
    Example(text="Why was my card declined at the shop?", labels=["card", "wrong notworking notshowing", "why"]),
    Example(text="Thanks, that is all I wanted to know.", labels=["thank", "end call", "acknowledge"]),
    Example(text="Can you tell me how long a loan takes?", labels=["loan", "how long", "request info"]),
]
"""Made up for this, from no row of the data."""


def share_of(log_odds: np.ndarray) -> np.ndarray:
    """Probabilities."""
    found: np.ndarray = 1 / (1 + np.exp(-np.clip(log_odds, -50, 50)))
    return found


def raw(log_odds: np.ndarray) -> np.ndarray:
    """As they come."""
    return share_of(log_odds)


def to_zero(log_odds: np.ndarray) -> np.ndarray:
    """Each label's mean moved to zero, as where there is one label per text: about half of the texts have each."""
    return share_of(log_odds - log_odds.mean(0))


def to_common_mean(log_odds: np.ndarray) -> np.ndarray:
    """Each label's mean moved to that of all labels."""
    return share_of(log_odds - log_odds.mean(0) + log_odds.mean())


def to_one_label(log_odds: np.ndarray) -> np.ndarray:
    """Each label's mean moved to the log-odds of one label per text; what `calibrated` does."""
    return share_of(log_odds - log_odds.mean(0) - np.log(log_odds.shape[1] - 1))


def matched(log_odds: np.ndarray) -> np.ndarray:
    """Each label moved so that its mean probability is that of one label per text."""
    low, high = np.full(log_odds.shape[1], -50.0), np.full(log_odds.shape[1], 50.0)
    for _ in range(60):
        middle = (low + high) / 2
        too_many = share_of(log_odds - middle).mean(0) > 1 / log_odds.shape[1]
        low, high = np.where(too_many, middle, low), np.where(too_many, high, middle)
    return share_of(log_odds - middle)


def mixture(log_odds: np.ndarray) -> np.ndarray:
    """Two normal distributions of one width, fitted to all log-odds less their label's mean."""
    values = log_odds - log_odds.mean(0)
    low, high, width, share = np.quantile(values, 0.5), np.quantile(values, 0.98), values.std(), 0.1
    for _ in range(200):
        upper = share_of(np.log(share / (1 - share)) + ((values - low) ** 2 - (values - high) ** 2) / (2 * width**2))
        share = min(max(float(upper.mean()), 1e-4), 1 - 1e-4)
        high, low = (upper * values).sum() / upper.sum(), ((1 - upper) * values).sum() / (1 - upper).sum()
        width = np.sqrt((upper * (values - high) ** 2 + (1 - upper) * (values - low) ** 2).mean())
    return upper


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "raw": raw,
    "mean to zero": to_zero,
    "mean to all labels' mean": to_common_mean,
    "mean to one label per text": to_one_label,
    "mean probability to one label per text": matched,
    "mixture": mixture,
}


def measure(parameters: Parameters) -> Iterator[Record]:
    """A record a set of labels, strength and way; then those of the real model where the data is there."""
    for labels in parameters["labels"]:
        for strength in parameters["strengths"]:
            draws = [_drawn(parameters, labels, strength, number) for number in range(parameters["draws"])]
            for way, calibrate in WAYS.items():
                scores = [set_scores(calibrate(log_odds), truth) for log_odds, truth in draws]
                arm = {"model": f"drawn, strength {strength:g}", "labels": labels, "arm": way}
                yield arm | _means(scores)
    try:
        rows = nlu_plus_plus(parameters["data"], "train", rows=parameters["texts"], seed=parameters["seed"])
    except ConfigError as error:
        say(f"NLU++ is left out: {error}")
        return
    (device,) = find_devices("cpu", 1)
    yield from call_in_subprocess(measure_model, parameters, rows, environment=pinning(device))["records"]


def _drawn(parameters: Parameters, labels: int, strength: float, number: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng([parameters["seed"], labels, number])
    shares = draw.uniform(0.1, 0.6, labels) if labels <= 3 else draw.beta(0.7, 0.35 * labels, labels)
    truth = (draw.random((parameters["drawn_texts"], labels)) < shares).astype(int)
    noise = draw.normal(size=truth.shape) * max(1, strength / 2.5) + 0.5 * draw.normal(size=(len(truth), 1))
    return 2 + 1.5 * draw.normal(size=labels) + strength * (2 * truth - 1) + noise, truth


def _means(scores: Sequence[Record]) -> Record:
    keys = ("f1_micro", "f1_macro", "labels_each")
    found = {key: np.array([each[key] for each in scores], float) for key in keys}
    spread = {f"{key}_sd": round(float(values.std(ddof=1)), 4) for key, values in found.items() if len(values) > 1}
    return {key: round(float(values.mean()), 4) for key, values in found.items()} | spread


def measure_model(parameters: Parameters, rows: IntentRows) -> Record:
    """The records of the real model, zero-shot and with examples."""
    config = question_config(rows, model=parameters["model"], personas=["annotator"])
    shown = config.model_copy(update={"task": config.task.model_copy(update={"examples": EXAMPLES})})
    documents = [Document(str(number), text, "train") for number, text in enumerate(rows.texts)]
    panel, form = load_panel(config.panel.personas), kind_of("multi").form

    async def read() -> list[np.ndarray]:
        (device,) = find_devices("cpu", 1)
        backend = VllmBackend(
            BackendSettings(parameters["model"], device, "experiment", {"kv_cache_memory_bytes": 2**31})
        )
        await backend.start()
        found = []
        for each in (config, shown):
            completions = await asyncio.gather(*map(backend.answer, build_prompts(documents, panel, each, form=form)))
            yes = np.exp(np.array([completion.choice_logprobs for completion in completions], float))
            found.append(np.log(yes) - np.log1p(-yes))
        backend.stop()
        return found

    records = []
    for name, log_odds in zip(("zero-shot", "three examples"), asyncio.run(read()), strict=True):
        about = {"model": f"{parameters['model']}, {name}", "labels": len(rows.labels), "texts": len(rows.texts)}
        ranked = {"ranked_right": round(ranked_right(log_odds, rows.truth), 4)}
        for way, calibrate in WAYS.items():
            records.append(
                about | {"arm": way} | ranked | _means([set_scores(calibrate(log_odds), rows.truth.astype(int))])
            )
    return {"records": records}


def ranked_right(log_odds: np.ndarray, truth: np.ndarray) -> float:
    """How often a text that a label fits has larger log-odds of it than one that it does not fit; a half is chance."""
    found = []
    for column, fits in zip(log_odds.T, truth.T.astype(bool), strict=True):
        if fits.any() and not fits.all():
            found.append(float((column[fits][:, None] > column[~fits][None]).mean()))
    return float(np.mean(found))
