"""What examples are worth to an encoder that holds labels against a text.

A label lies at its embedding, or at the mean of that and of the embeddings of n texts that have it, which is what xpoll
takes. Texts are drawn anew `draws` times; accuracy is raw, and with each label's mean log-probability taken out, as
`vote.method = "calibrated"` does.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.labelled_sets import labelled_set
from xpoll.core.records import AnswerSchema
from xpoll.engine.backends.encoder.model import load_text_encoder
from xpoll.engine.backends.encoder.options import EncoderOptions
from xpoll.engine.backends.encoder.scores import LabelScorer
from xpoll.engine.devices.find import Device

DESCRIPTIONS = {
    "negative": "bad news for the value of the company",
    "neutral": "routine news, facts or dates that change nothing for its value",
    "positive": "good news for the value of the company",
}
TRAIN_ROWS = 4000


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record a data set and number of examples per label; accuracies are means over draws."""
    options = EncoderOptions()
    scorer = LabelScorer(load_text_encoder(parameters["model"], options, Device("cpu", 0, "cpu")), options)
    for name in parameters["sets"]:
        texts, truth, labels, _ = labelled_set(
            parameters["data"], name, "test", rows=parameters["texts"], seed=parameters["seed"]
        )
        known = labelled_set(parameters["data"], name, "train", rows=TRAIN_ROWS, seed=parameters["seed"])
        of_label = [
            [text for text, label in zip(known[0], known[1], strict=True) if label == i] for i in range(len(labels))
        ]
        for number in parameters["examples"]:
            raw, calibrated = [], []
            for draw in range(parameters["draws"] if number else 1):
                logprobs = scorer(texts, with_examples(labels, of_label, number, seed=draw)).logprobs
                raw.append((logprobs.argmax(1) == truth).mean())
                calibrated.append(((logprobs - logprobs.mean(0)).argmax(1) == truth).mean())
            yield {
                "set": name,
                "texts": len(texts),
                "labels": len(labels),
                "examples_per_label": number,
                "draws": len(raw),
                "accuracy_raw": round(float(np.mean(raw)), 4),
                "accuracy_calibrated": round(float(np.mean(calibrated)), 4),
                "accuracy_calibrated_sd": round(float(np.std(calibrated)), 4),
            }


def with_examples(labels: Sequence[str], of_label: Sequence[Sequence[str]], number: int, *, seed: int) -> AnswerSchema:
    """The labels, each with `number` of its texts, or as many as there are."""
    rng = np.random.default_rng(seed)
    drawn = [
        tuple(texts[i] for i in rng.choice(len(texts), min(number, len(texts)), replace=False).tolist())
        for texts in of_label
    ]
    descriptions = tuple(DESCRIPTIONS.get(label, "") for label in labels)
    return AnswerSchema(tuple(labels), logprobs=True, descriptions=descriptions, examples=tuple(drawn))
