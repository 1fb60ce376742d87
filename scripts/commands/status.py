"""`xpoll status`, and what `xpoll run` ends with: how far a run is and what came of it."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from xpoll.core.config.file import load_config
from xpoll.core.errors import UserError
from xpoll.core.files import read_json
from xpoll.core.formatting import (
    NOT_MEASURED,
    counted,
    duration,
    number,
    percent,
    with_unit,
)
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import count_answers
from xpoll.engine.journal.load_metrics import latest_loads
from xpoll.engine.journal.session import problems_of
from xpoll.engine.planning.plan import BatchPlan, read_plan
from xpoll.pipeline.state import is_done
from xpoll.pipeline.steps import STEPS
from xpoll.pipeline.synthesize import texts_so_far
from xpoll.report.figures import RATERS, scores_of
from xpoll.report.metrics import CostFigures, EnergyFigures, read_metrics
from xpoll.report.wording import assumption_sentences, bounded_sentence, estimate_sentence, prefix_sentences
from xpoll.scripts.arguments import JOB
from xpoll.scripts.causal_lm import show_causal_metrics, show_causal_status
from xpoll.scripts.tables import show_table
from xpoll.student.evaluation import Evaluation, read_evaluation, verdict_in
from xpoll.student.score_columns import score_columns
from xpoll.student.wording import comparison_sentence, seeds_sentence, verdict_sentence, votes_sentence


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the job and --metrics-port."""
    command.add_argument("job", type=Path, help=JOB)
    port = "serve the run's load as Prometheus metrics on this port until Ctrl-C (board: docs/grafana.json)"
    command.add_argument("--metrics-port", type=int, help=port)


def call(parsed: argparse.Namespace) -> int:
    """Shows how far a run is, or serves it as metrics until Ctrl-C."""
    is_folder = (parsed.job / "config.resolved.json").exists()
    folder = RunFolder(parsed.job if is_folder else Path(load_config(parsed.job).job.run_folder))
    if parsed.metrics_port is not None:
        from xpoll.pipeline.prometheus import serve_metrics

        return serve_metrics(
            folder, parsed.metrics_port, lambda address: print(f"metrics of {folder.path}: {address}", flush=True)
        )
    return show_status(folder, as_json=parsed.json)


def show_status(folder: RunFolder, *, as_json: bool) -> int:
    """Prints how far a run is: answers, rate, the engines' load, the steps that are done, and what is damaged.

    Returns:
        0, or 2 where answers are lost.

    Raises:
        RunFolderError: the poll has not begun.
    """
    if folder.is_generative:
        return show_causal_status(folder, as_json=as_json)
    polls = folder.polls()
    writing = texts_so_far(folder)
    if writing and not any(poll.plan.exists() for poll in polls.values()):
        print(json.dumps({"run_folder": str(folder.path), "synthesis": writing._asdict()}) if as_json else writing.line)
        return 0
    plans = [read_plan(poll.plan) for poll in polls.values()]
    # A batch is a poll and nothing else.
    steps = ["poll"] if isinstance(plans[0], BatchPlan) else list(STEPS)
    done = [name for name in steps if is_done(name, folder)]
    states: dict[str | None, dict[str, Any]] = {
        teacher: {
            "answered": count_answers(poll.completions),
            "prompts": plan.prompts,
            **_last_rate(poll),
            "workers": latest_loads(poll.load),
        }
        for (teacher, poll), plan in zip(polls.items(), plans, strict=True)
    }
    problems = [str(problem) for poll in polls.values() for problem in problems_of(poll)]
    if as_json:
        whole = states[None] if None in states else _summed(states)
        print(json.dumps({"run_folder": str(folder.path), **whole, "steps_done": done, "problems": problems}))
        return UserError.exit_code if problems else 0
    for teacher, state in states.items():
        speed = f", {number(state['answers_per_s'])} answers/s in the last session" if state["answers_per_s"] else ""
        name = f"{folder.path}, {teacher}" if teacher else f"{folder.path}"
        print(f"{name}: {state['answered']} of at most {state['prompts']} answers{speed}")
        for load in state["workers"] if "poll" not in done else []:
            print(_load_line(load))
    left = [name for name in steps if name not in done]
    print(f"steps done: {', '.join(done) or 'none'}; still to do: {', '.join(left) or 'none'}")
    for problem in problems:
        print(f"xpoll: {problem}", file=sys.stderr)
    return UserError.exit_code if problems else 0


def _summed(states: dict[str | None, dict[str, Any]]) -> dict[str, Any]:
    """Answers and prompts of all teachers, and each one's state under its name."""
    return {
        **{name: sum(state[name] for state in states.values()) for name in ("answered", "prompts")},
        "teachers": states,
    }


def _load_line(load: dict[str, Any]) -> str:
    queue = f"{load['running']} running, {load['waiting']} waiting" if load["running"] is not None else "no queue known"
    cache = "" if load["kv_cache_usage"] is None else f", KV cache {percent(load['kv_cache_usage'], digits=0)} full"
    share = load["cached_prompt_tokens"] / load["prompt_tokens"] if load["prompt_tokens"] else 0.0
    reused = f"{percent(share, digits=0)} of prompt tokens from the cache"
    return f"  {load['worker']} on {load['device']}: {load['answers']} answers, {queue}{cache}, {reused}"


def _last_rate(folder: RunFolder) -> dict[str, float | None]:
    sessions = read_json(folder.engine)["sessions"] if folder.engine.exists() else []
    if not sessions or not sessions[-1]["wall_s"]:
        return {"answers_per_s": None}
    return {"answers_per_s": round(sessions[-1]["answers"] / sessions[-1]["wall_s"], 2)}


def show_metrics(folder: RunFolder, *, as_json: bool) -> int:
    """Prints what came of a run, in words or as metrics.json has it; 0.

    Raises:
        RunFolderError: the report step has not run, or metrics.json or evaluation.json is of another version.
    """
    if folder.is_generative:
        return show_causal_metrics(folder, as_json=as_json)
    metrics = read_metrics(folder)
    if as_json:
        print(json.dumps(metrics.as_json()))
        return 0
    engine, labels = metrics.engine, metrics.labels
    errors = sum(metrics.errors.values())
    print(f"\n{metrics.documents} documents, {metrics.completions} answers, {errors} errors")
    print(f"labels: {labels.decided} decided, {labels.abstained} abstained")
    rates = f"{number(engine.documents_per_s)} documents/s, {number(engine.output_tokens_per_s)} output tokens/s"
    print(f"engine: {engine.model} on {engine.device}, start {duration(engine.startup_s)}, {rates}")
    for line in (*prefix_sentences(engine), *filter(None, [bounded_sentence(metrics)])):
        print(line)
    _show_energy_and_cost(metrics.energy, metrics.cost)
    _show_quality(read_evaluation(folder))
    print(f"report: {folder.report}")
    return 0


def _show_energy_and_cost(energy: EnergyFigures, cost: CostFigures) -> None:
    if energy.energy_j is not None:
        each = "" if energy.per_label_j is None else f", {with_unit(energy.per_label_j, 'J')} per label"
        print(f"energy: {with_unit(energy.energy_j, 'J')} ({energy.source}){each}")
    elif energy.estimate:
        estimate = with_unit(energy.estimate.energy_j, "J")
        print(f"energy: {NOT_MEASURED}; {estimate} is {estimate_sentence(energy.estimate)}")
    if cost.usd is not None or cost.co2_kg is not None:
        shown = {"USD": cost.usd, "kg CO2": cost.co2_kg}
        figures = ", ".join(with_unit(value, unit) for unit, value in shown.items() if value is not None)
        print(f"cost: {figures}; assumptions: {'; '.join(assumption_sentences(cost.assumptions))}")


def _show_quality(evaluation: Evaluation | None) -> None:
    if evaluation and evaluation.gold_rows:
        rows = counted(evaluation.gold_rows, "gold row")
        columns = [column for column in score_columns(evaluation) if column.title != "calibration error"]
        print()
        show_table(
            (f"on {rows}", *(column.title for column in columns), "abstained"),
            [
                (RATERS[rater], *(column.shown(score) for column in columns), percent(score.abstention_rate))
                for rater, score in scores_of(evaluation).items()
            ],
            (16, *(28 for _ in columns), 13),
        )
        seeds = evaluation.student_seeds
        said = [
            comparison_sentence(evaluation),
            votes_sentence(evaluation.comparison, evaluation.measure),
            seeds_sentence(seeds, evaluation.measure) if seeds else None,
        ]
        print(*filter(None, said), sep="\n")
        if left_out := evaluation.gold_rows_not_scored:
            of_all = evaluation.gold_rows + left_out
            print(f"{left_out} of {of_all} gold rows are not scored; documents.parquet says why, in the column problem")
    print(f"verdict: {verdict_in(evaluation).word}. {verdict_sentence(evaluation)}\n")
