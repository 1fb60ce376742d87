"""`xpoll status`, and what `xpoll run` ends with: how far a run is and what came of it."""

import argparse
import json
from pathlib import Path
from typing import Any

from xpoll.core.config_file import load_config
from xpoll.core.files import read_json
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.journal import count_answers
from xpoll.engine.journal.load_metrics import latest_loads
from xpoll.pipeline.state import STEPS, is_done
from xpoll.scripts.arguments import JOB


def add_arguments(command: argparse.ArgumentParser) -> None:
    """A job, and whether to serve its load."""
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
    plan = read_json(folder.require(folder.plan, step="poll"))
    wanted = plan["prompts"]
    answered = count_answers(folder.completions)
    steps = ["poll"] if "input_digest" in plan else list(STEPS)  # a batch is a poll and nothing else
    done = [name for name in steps if is_done(name, folder)]
    rate = _last_rate(folder)
    loads = latest_loads(folder.load)
    state = {
        "run_folder": str(folder.path),
        "answered": answered,
        "prompts": wanted,
        "steps_done": done,
        **rate,
        "workers": loads,
    }
    if as_json:
        print(json.dumps(state))
        return 0
    speed = f", {rate['answers_per_s']:.1f} answers/s in the last session" if rate["answers_per_s"] else ""
    print(f"{folder.path}: {answered} of at most {wanted} answers{speed}")
    for load in loads if "poll" not in done else []:
        print(_load_line(load))
    left = [name for name in steps if name not in done]
    print(f"steps done: {', '.join(done) or 'none'}; still to do: {', '.join(left) or 'none'}")
    return 0


def _load_line(load: dict[str, Any]) -> str:
    queue = f"{load['running']} running, {load['waiting']} waiting" if load["running"] is not None else "no queue known"
    cache = "" if load["kv_cache_usage"] is None else f", KV cache {100 * load['kv_cache_usage']:.0f} % full"
    share = 100 * load["cached_prompt_tokens"] / load["prompt_tokens"] if load["prompt_tokens"] else 0
    reused = f"{share:.0f} % of prompt tokens from the cache"
    return f"  {load['worker']} on {load['device']}: {load['answers']} answers, {queue}{cache}, {reused}"


def _last_rate(folder: RunFolder) -> dict[str, float | None]:
    sessions = read_json(folder.engine)["sessions"] if folder.engine.exists() else []
    if not sessions or not sessions[-1]["wall_s"]:
        return {"answers_per_s": None}
    return {"answers_per_s": round(sessions[-1]["answers"] / sessions[-1]["wall_s"], 2)}


def show_metrics(folder: RunFolder, *, as_json: bool) -> int:
    metrics = read_json(folder.require(folder.metrics, step="report"))
    if as_json:
        print(json.dumps(metrics))
        return 0
    engine, labels = metrics["engine"], metrics["labels"]
    errors = sum(metrics["errors"].values())
    print(f"\n{metrics['documents']} documents, {metrics['completions']} answers, {errors} errors")
    print(f"labels: {labels['decided']} decided, {labels['abstained']} abstained")
    rates = f"{engine['documents_per_s']:.2f} documents/s, {engine['output_tokens_per_s']:.1f} output tokens/s"
    print(f"engine: {engine['model']} on {engine['device']}, start {engine['startup_s']:.0f} s, {rates}")
    if engine["cached_share"] is not None:
        predicted = engine["predicted_cached_share"]
        expected = "not predicted" if predicted is None else f"predicted {100 * predicted:.1f} %"
        print(f"prefix cache: {expected}, measured {100 * engine['cached_share']:.1f} % ({engine['prompt_order']})")
    _show_energy_and_cost(metrics)
    if metrics["teacher"] is None:
        print("quality: not measured, because there are no gold labels (documents.gold_path)")
    else:
        _show_scores(metrics, read_json(folder.evaluation))
    print(f"report: {folder.report}")
    return 0


def _show_energy_and_cost(metrics: dict[str, Any]) -> None:
    energy, cost = metrics["energy"], metrics["cost"]
    if energy["energy_j"] is not None:
        each = "" if energy["per_label_j"] is None else f", {energy['per_label_j']:.3g} J a label"
        print(f"energy: {energy['energy_j']:.6g} J ({energy['source']}){each}")
    elif energy["estimate"]:
        print(f"energy: not measured; {energy['estimate']['energy_j']:.6g} J is {energy['estimate']['how']}")
    if cost["usd"] is not None or cost["co2_kg"] is not None:
        shown = {"USD": cost["usd"], "kg CO2": cost["co2_kg"]}
        figures = ", ".join(f"{value:.4g} {unit}" for unit, value in shown.items() if value is not None)
        print(f"cost: {figures}; assumptions: {'; '.join(cost['assumptions'])}")


def _show_scores(metrics: dict[str, Any], evaluation: dict[str, Any]) -> None:
    print(
        f"\non {evaluation['gold_rows']} gold rows    accuracy (95 % interval)    macro F1 (95 % interval)    abstained"
    )
    for name, key in (("raw majority", "teacher_raw"), ("voted teacher", "teacher"), ("student", "student")):
        score = metrics[key]
        accuracy, f1 = _with_interval(score, "accuracy"), _with_interval(score, "f1_macro")
        print(f"{name:16} {accuracy:>27} {f1:>27} {100 * score['abstention_rate']:>10.1f} %")
    comparison = evaluation["comparison"]
    print(*filter(None, (comparison["sentence"], comparison.get("votes_sentence"))), sep="\n")
    if seeds := evaluation.get("student_seeds"):
        mean, spread = 100 * seeds["accuracy_mean"], 100 * seeds["accuracy_sd"]
        print(f"{len(seeds['accuracy'])} seeds: mean accuracy {mean:.1f} %, standard deviation {spread:.1f} points")
    if step := evaluation.get("next_step"):
        print(f"next step: {step['decision']}. {step['why']}")
    print()


def _with_interval(score: dict[str, Any], name: str) -> str:
    low, high = score[f"{name}_ci95"]
    return f"{100 * score[name]:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
