"""A run folder as the steps leave it, of the 240 example texts, six personas and three labels; no model is asked."""

import csv
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config, ReportConfig
from xpoll.core.files import write_json, write_table
from xpoll.core.records import CONSENSUS_SCHEMA, VOTE_SCHEMA, Consensus, Document, Vote, to_table, with_labels
from xpoll.core.run_folder import RunFolder
from xpoll.report.cost import cost_of
from xpoll.report.energy import energy_of
from xpoll.report.metrics import EngineFigures, LabelCounts, Metrics, VoteCounts
from xpoll.student.evaluate import evaluate
from xpoll.student.evaluation import Evaluation, verdict_in
from xpoll.votes.consensus import consensus_of

ROOT = Path(__file__).parents[2]
LABELS = ["negative", "neutral", "positive"]
# The bias is what calibration removes: this panel's plain majority says too often "positive".
BIAS = {
    "retail_investor": (0.0, -1.2, 1.6),
    "equity_analyst": (0.2, -0.8, 0.9),
    "risk_officer": (1.7, -1.1, 0.0),
    "business_journalist": (0.1, 0.0, 0.7),
    "credit_analyst": (0.9, -0.9, 0.4),
    "fund_manager": (-0.3, -0.7, 1.4),
}
# So that the figures the tests know do not move with the example's own settings.
FIXED = [
    f"panel.personas={[*BIAS]}",
    "panel.answer=label",
    "panel.samples=1",
    "vote.method=calibrated",
    "engine.model=smollm2-135m-instruct",
    "report.sample_rows=20",
]
REASONS = {
    "negative": "Earnings or outlook fall.",
    "neutral": "It states a fact, no change.",
    "positive": "Income grows, debt falls.",
}


def make_run(
    path: Path,
    *overrides: str,
    gold: bool = True,
    texts: Mapping[str, str] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Writes the inputs of the report.

    Args:
        path: The run folder.
        overrides: Config overrides, as behind --set.
        gold: Whether there are gold labels, and so an evaluation.json.
        texts: Document id to a text in place of the example's.
        metrics: Keys of metrics.json to replace.
    """
    folder = RunFolder(path)
    config = load_config(ROOT / "examples/investor_sentiment/job.toml", [*FIXED, *overrides])
    truth, documents = _documents(texts or {}, gold=gold)
    votes = list(_votes(documents, truth, config))
    consensus = consensus_of(documents, votes, config)
    resolved = config.resolved()
    if not gold:
        resolved["documents"]["gold_path"] = None
    write_json(folder.config, resolved)
    write_json(folder.environment, ENVIRONMENT)
    write_table(folder.votes, to_table(votes, with_labels(VOTE_SCHEMA, LABELS)))
    write_table(folder.labels, to_table(consensus, with_labels(CONSENSUS_SCHEMA, LABELS)))
    evaluation: Evaluation | None = None
    if gold:
        evaluation = evaluate(consensus, LABELS, _Student(truth))  # type: ignore[arg-type]
        write_json(folder.evaluation, evaluation.as_json())
    write_json(folder.metrics, _metrics(votes, consensus, evaluation).as_json() | dict(metrics or {}))
    return folder


ENVIRONMENT = {
    "python": "3.11.7",
    "platform": "Linux-6.12-x86_64-with-glibc2.36",
    "processor": "Intel(R) Xeon(R) Platinum 8480+",
    "cores": 56,
    "memory_gib": 503.4,
    "packages": {"vllm": "0.32.0", "ray": "2.60.0", "torch": "2.13.0", "transformers": "5.19.0"},
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": True,
}


class _Student:
    """Stands in for a trained student: right as often as a weak teacher makes it."""

    labels = LABELS

    def __init__(self, truth: Mapping[str, str]) -> None:
        self._truth = truth

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        draw = random.Random(3)
        rows = []
        for text in texts:
            scores = np.array([draw.gauss(0, 1) for _ in LABELS])
            scores[LABELS.index(self._truth[text])] += 1.6
            rows.append(np.exp(scores) / np.exp(scores).sum())
        return np.array(rows)


def _documents(texts: Mapping[str, str], *, gold: bool) -> tuple[dict[str, str], list[Document]]:
    truth: dict[str, str] = {}
    documents = []
    for name, split in (("documents", "train"), ("gold", "gold" if gold else "train")):
        with (ROOT / f"examples/investor_sentiment/{name}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                text = texts.get(row["id"], row["text"])
                truth[text] = row["label"]
                label = row["label"] if split == "gold" else None
                documents.append(Document(row["id"], text, split, label))  # type: ignore[arg-type]
    return truth, documents


def _votes(documents: Sequence[Document], truth: Mapping[str, str], config: Config) -> Iterable[Vote]:
    draw = random.Random(0)
    for document in documents:
        # One model answers for all personas, so what misleads one misleads the others too.
        shared = [draw.gauss(0, 0.9) for _ in LABELS]
        silent = document.document_id == "doc-017"
        for persona in config.panel.personas:
            for sample in range(config.panel.samples):
                key, chance = (document.document_id, persona, sample), draw.random()
                if chance < 0.004 or silent:
                    yield Vote(*key, None, "error: context_length" if silent else "error: engine_died")
                    continue
                if chance < 0.02:
                    yield Vote(*key, None, "no label alone" if chance < 0.014 else "truncated")
                    continue
                scores = np.array([draw.gauss(0, 0.4) for _ in LABELS]) + shared + BIAS[persona]
                scores[LABELS.index(truth[document.text])] += 1.8
                shares = np.exp(scores) / np.exp(scores).sum()
                label = LABELS[int(shares.argmax())]
                reason = REASONS[label] if config.panel.answer == "chain_of_thought" else None
                yield Vote(*key, label, None, float(shares.max()), tuple(shares.tolist()), reason)


def _metrics(votes: Sequence[Vote], consensus: Sequence[Consensus], evaluation: Evaluation | None) -> Metrics:
    reasons = [vote.unparsable for vote in votes if vote.unparsable is not None]
    errors = [reason.removeprefix("error: ") for reason in reasons if reason.startswith("error: ")]
    decided = sum(row.label is not None for row in consensus)
    config = ReportConfig(usd_per_hour=0.72, carbon_g_per_kwh=350.0)
    teacher = evaluation.teacher if evaluation else None
    right = teacher.accuracy * len(consensus) if teacher else None
    energy = energy_of(_stages(), answers=len(votes) - len(errors), decided=decided, right=right, config=config)
    return Metrics(
        documents=len(consensus),
        prompts=len(votes),
        completions=len(votes) - len(errors),
        errors={kind: errors.count(kind) for kind in sorted(set(errors))},
        votes=VoteCounts(counted=len(votes) - len(reasons), saved=0, unparsable=len(reasons) - len(errors)),
        labels=LabelCounts(decided=decided, abstained=len(consensus) - decided),
        engine=EngineFigures(
            backend="vllm",
            model="smollm2-135m-instruct",
            device="cpu",
            replicas=2,
            wall_s=187.028,
            startup_s=44.274,
            prompt_tokens=352_617,
            cached_prompt_tokens=301_264,
            cached_share=0.8544,
            predicted_cached_share=0.8459,
            prompt_order="persona_first",
            output_tokens=2_913,
            output_tokens_per_s=15.575,
            latency_p50_s=8.112,
            latency_p95_s=14.903,
            latency_p99_s=17.255,
            documents_per_s=1.283,
        ),
        verdict=verdict_in(evaluation).word,
        teacher=teacher,
        student=evaluation.student if evaluation else None,
        energy=energy,
        cost=cost_of(energy, config, engine_s=231.3, documents=len(consensus), texts_per_s=48.0),
    )


def _stages() -> list[dict[str, Any]]:
    measured = {"poll": (231.302, 20_110.25), "vote": (1.4, 90.5), "train": (22.75, 1_274.25)}
    return [
        {
            "stage": stage,
            "begun_utc": "2026-11-21T12:00:00Z",
            "complete": True,
            "wall_s": wall_s,
            "energy": {"source": "rapl", "energy_j": energy_j, "by_counter": {}, "why": ""},
            "idle": {"idle_w": 61.2, "spread": 0.031},
        }
        for stage, (wall_s, energy_j) in measured.items()
    ]
