"""Recorded answers as the suites `votes` and `student` read them, made up."""

import csv
from pathlib import Path

import numpy as np

from tests.support.toy import FILLERS
from xpoll.benchmarks.workloads.recording import LABELS, SAMPLES

WORDS = {"negative": "loss", "neutral": "flat", "positive": "gain"}


def recorded_answers(folder: Path, *, train_truth: str | None = None) -> Path:
    """A data folder whose answers are mostly right; with `train_truth` the experts call every train sentence that."""
    draw = np.random.default_rng(5)
    (folder / "phrasebank").mkdir(parents=True)
    for split, count in (("train", 120), ("test", 45)):
        columns = ["document_id", "text", "label_experts", "label_simple", "label_cot", *SAMPLES]
        with (folder / f"phrasebank/mixtral_{split}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow([*columns, "label_majority_published"])
            for i in range(count):
                truth = i % 3
                answers = [LABELS[truth if draw.random() < 0.9 else draw.integers(3)] for _ in range(5)]
                experts = train_truth if train_truth and split == "train" else LABELS[truth]
                number = i if split == "train" else 500 + i
                own = " ".join(FILLERS[int(digit)] for digit in f"{number:03}")  # no two sentences are the same text
                text = f"the firm said {WORDS[LABELS[truth]]} today {own}"
                table.writerow([f"{split}-{i}", text, experts, *answers, answers[2]])
    return folder
