"""A labelling task that a BERT of random weights learns in seconds: one word of a text tells its label."""

import random
from collections.abc import Sequence
from pathlib import Path

from xpoll.core.config import StudentConfig
from xpoll.core.records import Consensus, Split

LABELS = ["bad", "fair", "good"]
TELLING = {"bad": "loss", "fair": "flat", "good": "gain"}
FILLERS = ["the", "firm", "said", "today", "that", "its", "year", "ended", "with", "a"]


def make_encoder(folder: Path, *, positions: int = 64) -> Path:
    """A BertModel folder of 2 layers whose vocabulary is the toy's words."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TELLING.values(), *FILLERS]
    BertTokenizerFast(vocab={token: i for i, token in enumerate(tokens)}).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
        initializer_range=0.1,  # at the usual 0.02 so small a model may stay on a plateau
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def settings(encoder: Path, **changes: object) -> StudentConfig:
    """A [student] section that learns the toy."""
    values = {
        "encoder": str(encoder),
        "epochs": 8,
        "learning_rate": 1e-2,
        "max_length": 32,
        "min_steps": 0,
        "precision": "fp32",
    }
    return StudentConfig.model_validate(values | changes)


def text_of(label: str, draw: random.Random) -> str:
    words = draw.choices(FILLERS, k=draw.randint(2, 12))
    words.insert(draw.randint(0, len(words)), TELLING[label])
    return " ".join(words)


def row(
    number: int,
    label: str | None,
    *,
    text: str = "the firm",
    split: Split = "train",
    gold: str | None = None,
    raw: str | None = None,
    confidence: float = 1.0,
    distribution: Sequence[float] | None = None,
) -> Consensus:
    """A voted document; one-hot unless told."""
    return Consensus(
        document_id=str(number),
        split=split,
        text=text,
        label=label,
        distribution=tuple(distribution or (float(name == label) for name in LABELS)),
        confidence=confidence,
        votes_counted=1,
        votes_saved=0,
        agreement=1.0,
        abstained=None if label else "tie",
        raw_label=raw,
        gold_label=gold,
    )


def documents(num_rows: int, *, seed: int = 0, split: Split = "train") -> list[Consensus]:
    """Rows of all labels in turn, rightly voted."""
    draw = random.Random(seed)
    chosen = [LABELS[i % len(LABELS)] for i in range(num_rows)]
    return [
        row(i, label, text=text_of(label, draw), split=split, gold=label if split == "gold" else None)
        for i, label in enumerate(chosen)
    ]
