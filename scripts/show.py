"""What the command line prints: plans, states, figures, findings; as a table, or as JSON where asked."""

import json
from pathlib import Path
from typing import Any

from core.files import read_json
from core.run_folder import RunFolder
from engine.journal import count_answers
from engine.meters import latest_loads
from scripts import pipeline
from scripts.doctor import exit_code, findings
from scripts.doctor_probe import probe_findings


def show_plan(plan: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(plan))
        return 0
    for name, value in plan.items():
        if name in ("fit", "rate_at_most"):
            print(f"{name:24} {_fit_line(value) if name == 'fit' else _rate_line(value)}")
        elif name == "predicted":
            for order, figures in value.items():
                print(f"{f'predicted, {order}':24} {_predicted(figures)}")
        else:
            print(f"{name:24} {'unknown' if value is None else value}")
    return 0


def _fit_line(fit: dict[str, Any] | None) -> str:
    if fit is None or fit["fits"] is None:
        return f"unknown: {fit['why']}" if fit else "unknown"
    weights = "" if fit["weights_gib"] is None else f"{fit['weights_gib']:g} GiB of weights, "
    room = f"{weights}{fit['kv_cache_gib']:g} GiB of KV cache"
    if fit["fits"]:
        return f"yes: {room}: {fit['sequences']:g} sequences of {fit['context_tokens']} tokens (without activations)"
    return f"NO: {fit['why']}"


def _rate_line(rate: dict[str, Any] | None) -> str:
    if rate is None or rate["prompts_per_s"] is None:
        return f"unknown: {rate['why']}" if rate else "unknown"
    running = " and ".join(map(str, rate["running"]))
    peaks = "; ".join(
        f"roofline of {name}: {source}" for name, source in zip(rate["roofline"], rate["source"], strict=True)
    )
    return f"{rate['prompts_per_s']:g} prompts/s, {rate['wall_s']:g} s in all, with {running} running; {peaks}"


def _predicted(figures: dict[str, Any]) -> str:
    tokens = f"{figures['computed_tokens_each']:g} of {figures['prompt_tokens_each']:g} tokens of a prompt computed"
    unfit = " (prefixes do not all fit into it)" if figures["prefixes_fit"] is False else ""
    return f"{tokens}, {100 * figures['cached_share']:.1f} % from the prefix cache{unfit}"


def show_status(folder: RunFolder, *, as_json: bool) -> int:
    plan = read_json(folder.require(folder.plan, step="poll"))
    wanted = plan["prompts"]
    answered = count_answers(folder.completions)
    steps = ["poll"] if "input_digest" in plan else list(pipeline.STEPS)  # a batch is a poll and nothing else
    done = [name for name in steps if pipeline.is_done(name, folder)]
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
    print(evaluation["comparison"]["sentence"])
    if seeds := evaluation.get("student_seeds"):
        mean, spread = 100 * seeds["accuracy_mean"], 100 * seeds["accuracy_sd"]
        print(f"{len(seeds['accuracy'])} seeds: mean accuracy {mean:.1f} %, standard deviation {spread:.1f} points")
    if step := evaluation.get("next_step"):
        print(f"next step: {step['decision']}. {step['why']}")
    print()


def _with_interval(score: dict[str, Any], name: str) -> str:
    low, high = score[f"{name}_ci95"]
    return f"{100 * score[name]:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def show_doctor(*, as_json: bool, probe: bool = False) -> int:
    found = [*findings(), *(probe_findings() if probe else [])]
    code = exit_code(found)
    if as_json:
        rows = [{name: getattr(finding, name) for name in finding.__slots__} for finding in found]
        print(json.dumps({"findings": rows, "exit_code": code}))
        return code
    for finding in found:
        print(f"{finding.level:8} {finding.subject:22} {finding.found}")
        if finding.why:
            print(f"{'':8} {'':22} why: {finding.why}")
        if finding.mend:
            print(f"{'':8} {'':22} mend: {finding.mend}")
    return code


def show_suites(suites: dict[str, dict[str, Any]], *, as_json: bool) -> int:
    """What suites there are, with their bounds and parameters."""
    if as_json:
        print(json.dumps(suites))
        return 0
    for name, suite in suites.items():
        print(f"{name}: {suite['about']}")
        for bound in suite["checks"]:
            print(f"    {bound['name']}: {_bound(bound)} {bound['unit']}")
        print("    parameters: " + ", ".join(f"{key} = {value}" for key, value in suite["parameters"].items()))
    return 0


def show_suite(result: dict[str, Any], *, as_json: bool) -> int:
    """Prints records and checks, or one JSON document; 1 where a check does not hold."""
    code = 0 if all(check["holds"] for check in result["checks"]) else 1
    if as_json:
        print(json.dumps(result))
        return code
    print(result["about"])
    if result["changed"]:
        print("changed: " + ", ".join(f"{name} = {value}" for name, value in result["changed"].items()))
    for record in result["records"]:
        print("  " + ", ".join(f"{name} {_figure(value)}" for name, value in record.items()))
    for check in result["checks"]:
        verdict = "holds" if check["holds"] else "DOES NOT HOLD"
        found = "not measured"
        if check["value"] is not None:
            spread = f"({_figure(check['lowest'])} to {_figure(check['highest'])})"
            found = f"{check.get('over', 'median')} {_figure(check['value'])} {check['unit']} {spread}"
        print(f"{check['name']}: {found}, {_bound(check)}: {verdict}")
    if not result["environment"]["commit"]:
        print("no commit is known, so that these figures cannot be compared with others")
    print(f"records: {result['output']}")
    print(f"page: {Path(result['output']).with_suffix('.html')}")
    return code


def _bound(check: dict[str, Any]) -> str:
    words = (word for word in ("at_least", "at_most") if word in check)
    return ", ".join(f"{word.replace('_', ' ')} {check[word]:g}" for word in words)


def _figure(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
