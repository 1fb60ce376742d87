"""Collects metrics.json from the run folder alone."""

from array import array
from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.config.job import ReportConfig
from xpoll.core.files import read_json, read_object
from xpoll.core.record_files import stream_records
from xpoll.core.records import Consensus, Vote, from_table
from xpoll.core.run_folder import RunFolder
from xpoll.energy.stages import read_stages
from xpoll.engine.journal.answers import read_completions
from xpoll.engine.planning.plan import read_plan
from xpoll.personas.label_order import position_bias, shown_in
from xpoll.report.cost import cost_of
from xpoll.report.energy import energy_of
from xpoll.report.metrics import (
    EngineFigures,
    LabelCounts,
    Metrics,
    PositionFigures,
    ReviewFigures,
    VoteCounts,
)
from xpoll.student.evaluation import read_evaluation, verdict_in
from xpoll.votes.review.sample import certificate_of, read_review

PERCENTILES = (50, 95, 99)


class _Answers(NamedTuple):
    """Sums over the answers of a run; `latency_s` has their percentiles, None where they are not known.

    `bounded` counts those whose engine told of its likeliest labels only.
    """

    completions: int
    errors: dict[str, int]
    prompt_tokens: int
    cached_prompt_tokens: int
    output_tokens: int
    latency_s: dict[int, float | None]
    bounded: int


def collect_metrics(folder: RunFolder, config: ReportConfig) -> Metrics:
    """The figures of a run.

    Args:
        folder: The run folder; votes.parquet, labels.parquet and engine.json must be there.
        config: The report section, for prices and carbon intensity.

    Raises:
        RunFolderError: evaluation.json or review.json is of another version.
        ConfigError: `report.region` is not known.
    """
    answers = _answers(folder)
    votes, labels = pq.read_table(folder.votes), pq.read_table(folder.labels)
    evaluation = read_evaluation(folder)
    counts = _vote_counts(folder, votes, labels, answers.bounded)
    abstained = _abstained(labels)
    engine = _engine(folder, answers, labels.num_rows)
    teacher = evaluation.teacher if evaluation else None
    energy = energy_of(
        read_stages(folder.stages),
        answers=answers.completions,
        decided=labels.num_rows - abstained,
        right=teacher.accuracy * labels.num_rows if teacher else None,
        config=config,
    )
    serving = evaluation.serving if evaluation else None
    return Metrics(
        documents=labels.num_rows,
        prompts=votes.num_rows + counts.saved,
        completions=answers.completions,
        errors=answers.errors,
        votes=counts,
        labels=LabelCounts(decided=labels.num_rows - abstained, abstained=abstained),
        review=review_of(folder),
        engine=engine,
        verdict=verdict_in(evaluation).word,
        teacher=teacher,
        teacher_raw=evaluation.teacher_raw if evaluation else None,
        student=evaluation.student if evaluation else None,
        energy=energy,
        cost=cost_of(
            energy,
            config,
            engine_s=(engine.wall_s or 0.0) + (engine.startup_s or 0.0),
            documents=labels.num_rows,
            texts_per_s=serving.texts_per_s if serving else None,
        ),
    )


def engine_figures(folder: RunFolder, labels: int) -> EngineFigures:
    """What the engines of a poll did.

    Args:
        folder: The run folder; the poll is finished.
        labels: How many labels that was for: texts, or texts times labels where each label is read by itself.
    """
    return _engine(folder, _answers(folder), labels)


def _vote_counts(folder: RunFolder, votes: pa.Table, labels: pa.Table, bounded: int) -> VoteCounts:
    unparsable = votes.column("unparsable").drop_null().to_pylist()
    return VoteCounts(
        counted=votes.num_rows - len(unparsable),
        saved=sum(labels.column("votes_saved").to_pylist()) if "votes_saved" in labels.column_names else 0,
        unparsable=sum(not reason.startswith("error: ") for reason in unparsable),
        bounded=bounded,
        position_bias=_position_bias(folder),
    )


def _abstained(labels: pa.Table) -> int:
    """Documents without a label, or where a text can have several of them or none, without a vote that counts."""
    answer = next(name for name in ("label", "labels", "spans") if name in labels.column_names)
    return int(labels.column(answer).null_count)


def _position_bias(folder: RunFolder) -> PositionFigures | None:
    """How the voted labels depend on their places in the prompt; None where the labels stood in one order."""
    shown = shown_in(folder)
    bias = position_bias(stream_records(folder.votes, Vote), shown) if shown else None
    return PositionFigures.model_validate(bias.as_json()) if bias else None


def review_of(folder: RunFolder) -> ReviewFigures | None:
    """What people checked of the labels, and the bound that it allows; None without a sample.

    Raises:
        RunFolderError: review.json is of another version.
    """
    review = read_review(folder.review)
    if review is None:
        return None
    consensus = from_table(pq.read_table(folder.labels), Consensus)
    learnt_from = read_object(folder.config)["vote"]["learn_from_review"]
    certificate, reason = certificate_of(review, consensus, learnt_from=learnt_from)
    return ReviewFigures(
        documents=review["documents"],
        sampled=review["sampled"],
        answered=sum(row["label"] is not None for row in review["rows"]),
        corrected=sum(row["label"] not in (None, row["voted_label"]) for row in review["rows"]),
        estimate=certificate.estimate if certificate else None,
        voted_at_least=certificate.voted_at_least if certificate else None,
        at_least=certificate.at_least if certificate else None,
        no_bound_because=reason,
    )


def _answers(folder: RunFolder) -> _Answers:
    completions = prompt = cached = output = bounded = 0
    errors: Counter[str] = Counter()
    latencies = array("d")
    for completion in (each for poll in folder.polls().values() for each in read_completions(poll.completions)):
        if completion.error_kind is not None:
            errors[completion.error_kind] += 1
            continue
        completions += 1
        prompt += completion.prompt_tokens
        cached += completion.cached_prompt_tokens
        output += completion.output_tokens
        bounded += bool(completion.unread_choices)
        latencies.append(completion.latency_s or 0.0)
    latency_s = _percentiles(latencies)
    return _Answers(completions, dict(sorted(errors.items())), prompt, cached, output, latency_s, bounded)


def _percentiles(latencies: "array[float]") -> dict[int, float | None]:
    if not latencies or not any(latencies):  # recorded answers have none
        return dict.fromkeys(PERCENTILES)
    values = np.percentile(np.frombuffer(latencies), PERCENTILES)
    return {percentile: round(float(value), 4) for percentile, value in zip(PERCENTILES, values, strict=True)}


def _engine(folder: RunFolder, answers: _Answers, documents: int) -> EngineFigures:
    """Of several teachers the sums; their names are joined, and what cannot be summed is None."""
    polls = list(folder.polls().values())
    states = [read_json(poll.engine) for poll in polls]
    sessions = [session for state in states for session in state["sessions"]]
    wall_s = sum(session["wall_s"] for session in sessions)
    plans = [read_plan(poll.plan) for poll in polls if poll.plan.exists()]
    about = {
        name: " + ".join(dict.fromkeys(state[name] for state in states)) for name in ("backend", "model", "device")
    }
    prompt_tokens, cached_prompt_tokens = answers.prompt_tokens, answers.cached_prompt_tokens
    # Nothing from a cache, and nothing predicted: these backends do not tell of theirs.
    told = prompt_tokens > 0 and (cached_prompt_tokens > 0 or any(plan.predicted for plan in plans))
    return EngineFigures(
        **about,
        device_name=" + ".join(dict.fromkeys(filter(None, (state["device_name"] for state in states)))) or None,
        replicas=max((state["replicas"] or 0 for state in states), default=0) or None,
        starts=len(sessions),
        wall_s=round(wall_s, 3),
        startup_s=round(sum(session["startup_s"] for session in sessions), 3),
        prompt_tokens=prompt_tokens,
        cached_prompt_tokens=cached_prompt_tokens,
        cached_share=round(cached_prompt_tokens / prompt_tokens, 4) if told else None,
        predicted_cached_share=plans[0].predicted_cached_share if len(plans) == 1 else None,
        uncached_tokens_per_label=round((prompt_tokens - cached_prompt_tokens) / documents, 1) if told else None,
        predicted_uncached_tokens_per_label=plans[0].uncached_tokens_per_label if len(plans) == 1 else None,
        prompt_order=" + ".join(dict.fromkeys(plan.prompt_order for plan in plans)) or None,
        output_tokens=answers.output_tokens,
        output_tokens_per_s=round(answers.output_tokens / wall_s, 3) if wall_s else None,
        latency_p50_s=answers.latency_s[50],
        latency_p95_s=answers.latency_s[95],
        latency_p99_s=answers.latency_s[99],
        documents_per_s=round(documents / wall_s, 3) if wall_s else None,
    )
