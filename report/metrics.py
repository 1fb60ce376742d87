"""metrics.json: the stable, versioned summary of a run. Made from the run folder alone."""

from array import array
from collections import Counter
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from xpoll.core.config import ReportConfig
from xpoll.core.files import read_json
from xpoll.core.records import Consensus, Vote, from_table, stream_records
from xpoll.core.run_folder import RunFolder
from xpoll.energy.stages import read_stages
from xpoll.engine.journal.journal import read_completions
from xpoll.engine.planning.plan import read_plan
from xpoll.personas.label_order import position_bias, shown_in
from xpoll.report.cost import cost_of
from xpoll.report.energy import energy_of
from xpoll.votes.review.sample import answers_of, certificate_of, read_review

SCHEMA_VERSION = 1
PERCENTILES = (50, 95, 99)


def collect_metrics(folder: RunFolder, config: ReportConfig) -> dict[str, Any]:
    """All keys of the contract; a figure that was not measured is null, never left out or made up."""
    answers = _answers(folder)
    votes, labels = pq.read_table(folder.votes), pq.read_table(folder.labels)
    evaluation = read_json(folder.evaluation) if folder.evaluation.exists() else {}
    unparsable = votes.column("unparsable").drop_null().to_pylist()
    saved = sum(labels.column("votes_saved").to_pylist())
    abstained = labels.column("label").null_count
    engine = _engine(folder, answers, labels.num_rows)
    teacher = evaluation.get("teacher")
    energy = energy_of(
        read_stages(folder.stages),
        answers=answers["completions"],
        decided=labels.num_rows - abstained,
        right=teacher["accuracy"] * labels.num_rows if teacher else None,
        config=config,
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "documents": labels.num_rows,
        "prompts": votes.num_rows + saved,
        "completions": answers["completions"],
        "errors": dict(sorted(answers["errors"].items())),
        "votes": {
            "counted": votes.num_rows - len(unparsable),
            "saved": saved,
            # An error row has no answer to parse; it is counted under `errors`.
            "unparsable": sum(not reason.startswith("error: ") for reason in unparsable),
            "position_bias": _position_bias(folder),
        },
        "labels": {"decided": labels.num_rows - abstained, "abstained": abstained},
        "review": review_of(folder),
        "engine": engine,
        "teacher": teacher,
        "teacher_raw": evaluation.get("teacher_raw"),
        "student": evaluation.get("student"),
        "energy": energy,
        "cost": cost_of(
            energy,
            config,
            engine_s=engine["wall_s"] + engine["startup_s"],
            documents=labels.num_rows,
            texts_per_s=(evaluation.get("serving") or {}).get("texts_per_s"),
        ),
    }


def _position_bias(folder: RunFolder) -> dict[str, Any] | None:
    """How the voted labels depend on their places in the prompt; None where the labels stood in one order."""
    shown = shown_in(folder)
    bias = position_bias(stream_records(folder.votes, Vote), shown) if shown else None
    return bias.as_json() if bias else None


def review_of(folder: RunFolder) -> dict[str, Any] | None:
    """What people checked, and how accurate the labels are at least, with 95 % confidence; None without a sample.

    `voted_at_least` is of the labels as voted, `at_least` of the labels with the corrections. Both are
    None where `no_bound_because` says why. Documents of the sample that nobody answered count as wrong.
    """
    review = read_review(folder.review)
    if review is None:
        return None
    consensus = from_table(pq.read_table(folder.labels), Consensus)
    learnt_from = read_json(folder.config)["vote"]["learn_from_review"]
    certificate, reason = certificate_of(review, consensus, learnt_from=learnt_from)
    answers = answers_of(review)
    wrong = sum(row["label"] not in (None, row["voted_label"]) for row in review["rows"])
    return {
        "documents": review["documents"],
        "sampled": review["sampled"],
        "answered": len(answers),
        "corrected": wrong,
        "estimate": certificate.estimate if certificate else None,
        "voted_at_least": certificate.voted_at_least if certificate else None,
        "at_least": certificate.at_least if certificate else None,
        "no_bound_because": reason,
    }


def _answers(folder: RunFolder) -> dict[str, Any]:
    totals = {"completions": 0, "prompt_tokens": 0, "cached_prompt_tokens": 0, "output_tokens": 0}
    errors: Counter[str] = Counter()
    latencies = array("d")
    for completion in read_completions(folder.completions):
        if completion.error_kind is not None:
            errors[completion.error_kind] += 1
            continue
        totals["completions"] += 1
        for name in ("prompt_tokens", "cached_prompt_tokens", "output_tokens"):
            totals[name] += getattr(completion, name)
        latencies.append(completion.latency_s or 0.0)
    return {**totals, "errors": errors, **_latency(latencies)}


def _latency(latencies: "array[float]") -> dict[str, float | None]:
    """Seconds from being handed to the engine to the whole answer, its wait in the engine's queue included."""
    named = {percent: f"latency_p{percent}_s" for percent in PERCENTILES}
    if not latencies or not any(latencies):  # recorded answers have none
        return dict.fromkeys(named.values())
    values = np.percentile(np.frombuffer(latencies), PERCENTILES)
    return {name: round(float(value), 4) for name, value in zip(named.values(), values, strict=True)}


def _engine(folder: RunFolder, answers: dict[str, Any], documents: int) -> dict[str, Any]:
    """Rates are over the time in which the engine was up; its starts are counted apart."""
    state = read_json(folder.engine)
    sessions = state["sessions"]
    wall_s = sum(session["wall_s"] for session in sessions)
    plan = read_plan(folder.plan) if folder.plan.exists() else None
    prompt_tokens, cached_prompt_tokens = answers["prompt_tokens"], answers["cached_prompt_tokens"]
    return {
        "backend": state["backend"],
        "model": state["model"],
        "device": state["device"],
        "device_name": state["device_name"],
        "replicas": state["replicas"],
        "starts": len(sessions),
        "wall_s": round(wall_s, 3),
        "startup_s": round(sum(session["startup_s"] for session in sessions), 3),
        "prompt_tokens": prompt_tokens,
        "cached_prompt_tokens": cached_prompt_tokens,
        "cached_share": round(cached_prompt_tokens / prompt_tokens, 4) if prompt_tokens else None,
        "predicted_cached_share": plan.predicted_cached_share if plan else None,
        "prompt_order": plan.prompt_order if plan else None,
        "output_tokens": answers["output_tokens"],
        "output_tokens_per_s": round(answers["output_tokens"] / wall_s, 3) if wall_s else None,
        **{name: answers[name] for name in answers if name.startswith("latency_")},
        "documents_per_s": round(documents / wall_s, 3) if wall_s else None,
    }
