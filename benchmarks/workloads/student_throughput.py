"""Training rate of `xpoll train` beside a plain loop: same machine, same texts, in turn.

The plain loop is what a tutorial has: fp32, random batches padded to their longest text, AdamW, dropout
as the encoder's config has it.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xpoll.benchmarks.runner.records import Parameters, Record, alternating
from xpoll.core.config.job import StudentConfig
from xpoll.core.errors import ConfigError
from xpoll.core.records import Consensus
from xpoll.student.recipe import Recipe
from xpoll.student.training.encoder import Encoder

PLAIN, BUCKETED, UPPER = "plain loop", "xpoll", "xpoll, lower layers frozen"


def measure_throughput(texts: Sequence[str], labels: Sequence[str], parameters: Parameters) -> Iterator[Record]:
    """The arms in turn; then the rate of each against the plain loop's in the same repeat."""
    rows = parameters["throughput_rows"]
    rates: dict[str, list[float]] = {}

    def measure(arm: str, repeat: int) -> Record:
        rate = RATES[arm](texts[:rows], labels[:rows], parameters, repeat)
        rates.setdefault(arm, []).append(rate)
        return {"train_texts_per_s": rate, "rows": rows, "epochs": parameters["throughput_epochs"]}

    arms = [PLAIN, BUCKETED, UPPER]
    yield from alternating({"arms": arms, "repeats": parameters["repeats"]}, measure)
    for arm, name in ((BUCKETED, "train_speedup"), (UPPER, "train_speedup_frozen")):
        for repeat, (ours, plain) in enumerate(zip(rates[arm], rates[PLAIN], strict=True)):
            yield {"arm": arm, "repeat": repeat, name: ours / plain}


def _plain(texts: Sequence[str], labels: Sequence[str], parameters: Parameters, seed: int) -> float:
    epochs = parameters["throughput_epochs"]
    started_s = time.monotonic()
    _, loading_s = plain_student(texts, labels, parameters["encoder"], epochs=epochs, seed=seed)
    return float(epochs * len(texts) / (time.monotonic() - started_s - loading_s))


def plain_student(
    texts: Sequence[str], labels: Sequence[str], encoder: str, *, epochs: float, seed: int
) -> tuple[Encoder, float]:
    """What the plain loop makes of the texts, in eval mode, and the seconds that loading took before it."""
    import torch

    from xpoll.student.training.encoder import load_for_training

    names = sorted(set(labels))
    config = StudentConfig.model_validate({"encoder": encoder})
    begun_s = time.monotonic()
    tokenizer, model = load_for_training(config, names, seed=seed)
    loading_s = time.monotonic() - begun_s
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    numbers = torch.tensor([names.index(label) for label in labels])
    size = config.batch_size
    for epoch in range(round(epochs)):
        order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        for start in range(0, len(texts), size):
            chosen = order[start : start + size]
            batch = tokenizer([texts[i] for i in chosen], padding=True, truncation=True, return_tensors="pt")
            loss = torch.nn.functional.cross_entropy(model(**batch).logits, numbers[chosen])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.eval()
    return Encoder(tokenizer, model), loading_s


def _xpoll(frozen: int | None, texts: Sequence[str], labels: Sequence[str], parameters: Parameters, seed: int) -> float:
    from xpoll.student.train import train_student

    names = sorted(set(labels))
    if len(names) < 2:
        raise ConfigError("parameters.throughput_rows takes in one label only", mend="raise it")
    config = StudentConfig.model_validate(
        parameters["student"]
        | {"encoder": parameters["encoder"], "epochs": parameters["throughput_epochs"], "min_steps": 0}
        | {"frozen": parameters["throughput_frozen"] if frozen is None else frozen}
    )
    rows = [
        Consensus(str(i), "train", text, label, tuple(float(label == name) for name in names), 1.0, 1, 0, 1.0)
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    with tempfile.TemporaryDirectory() as folder:
        output, recipe = Path(folder) / "student", Recipe.model_validate(parameters["recipe"])
        return train_student(rows, names, config=config, seed=seed, output=output, recipe=recipe).rows_per_s


RATES: dict[str, Any] = {
    PLAIN: _plain,
    BUCKETED: lambda *arguments: _xpoll(0, *arguments),
    UPPER: lambda *arguments: _xpoll(None, *arguments),
}
