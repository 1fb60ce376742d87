"""A labelling task that a BERT of random weights learns in seconds: one word of a text tells its label."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xpoll.core.config.job import StudentConfig
from xpoll.core.records import Consensus, Split
from xpoll.student.training_record import Training

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


def a_training(**changes: Any) -> Training:
    """What a training of 100 texts could say of itself."""
    values: dict[str, Any] = {
        "encoder": "an-encoder",
        "recipe": "plain",
        "soft_labels": True,
        "learning_rate": 1e-4,
        "batch_size": 16,
        "max_length": 256,
        "seed": 0,
        "backend": "native",
        "rows": 100,
        "held_out_rows": 0,
        "abstained": 0,
        "label_counts": {"bad": 50, "fair": 0, "good": 50},
        "pruned": 0,
        "members": 0,
        "variants": 0,
        "epochs": 3.0,
        "precision": "fp32",
        "device": "cpu",
        "wall_s": 10.0,
        "rows_per_s": 30.0,
        "resumed_at_step": 0,
        "final_loss": 0.2,
        "held_out_loss": None,
        "held_out_accuracy": None,
        "temperature": 1.0,
    }
    return Training.model_validate(values | changes)


def text_of(label: str, draw: random.Random) -> str:
    words = draw.choices(FILLERS, k=draw.randint(2, 12))
    words.insert(draw.randint(0, len(words)), TELLING[label])
    return " ".join(words)


def row(
    number: int,
    label: str | None,
    *,
    text: str | None = None,
    split: Split = "train",
    gold: str | None = None,
    raw: str | None = None,
    confidence: float = 1.0,
    distribution: Sequence[float] | None = None,
) -> Consensus:
    """A voted document; one-hot unless told, and of a text of its own."""
    return Consensus(
        document_id=str(number),
        split=split,
        text=text or f"the firm {number}",
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
    """Rows of all labels in turn, rightly voted, no text twice."""
    draw = random.Random(seed)
    chosen = [LABELS[i % len(LABELS)] for i in range(num_rows)]
    texts: dict[str, None] = {}
    for label in chosen:
        while (text := text_of(label, draw)) in texts:
            pass
        texts[text] = None
    return [
        row(i, label, text=text, split=split, gold=label if split == "gold" else None)
        for i, (label, text) in enumerate(zip(chosen, texts, strict=True))
    ]
