"""A language model of random weights, and rows that it can learn in seconds."""

import json
from pathlib import Path

import pytest

from tests.support.tiny import make_tiny_llama
from xpoll.core.config.job import DocumentsConfig, StudentConfig
from xpoll.student.causal_lm.examples import TrainingExample, read_examples


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))


def section(model: Path, **changes: object) -> StudentConfig:
    """A [student] section that learns the rows."""
    values: dict[str, object] = {
        "kind": "causal-lm",
        "model": str(model),
        "epochs": 1,
        "min_steps": 16,
        "batch_size": 8,
        "max_length": 64,
        "learning_rate": 1e-2,
        "held_out": 0.2,
        "precision": "fp32",
    }
    return StudentConfig.model_validate(values | changes)


def rows(folder: Path, count: int = 40) -> list[TrainingExample]:
    """Prompts that all have one completion."""
    return written(folder, *({"prompt": f"say {i}", "completion": "aye"} for i in range(count)))


def written(folder: Path, *values: dict[str, object], held_out: float = 0.2) -> list[TrainingExample]:
    """Rows of a JSONL file, as a job reads them."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in values), encoding="utf-8")
    return read_examples(DocumentsConfig(path=str(path)), held_out=held_out)
