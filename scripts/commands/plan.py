"""`xpoll plan`: what a poll would do, of one job or several."""

import argparse
import json
from pathlib import Path
from typing import Any

from xpoll.core.config.file import load_config
from xpoll.core.errors import UserError
from xpoll.core.formatting import percent
from xpoll.pipeline.prepare import outline
from xpoll.scripts.arguments import JOB, add_set


def add_arguments(command: argparse.ArgumentParser) -> None:
    """One job or several."""
    command.add_argument("job", type=Path, nargs="+", help=JOB)
    add_set(command, "SECTION.KEY=VALUE", "override a config key")


def call(parsed: argparse.Namespace) -> int:
    """The plan of one job, or of several under their names; one that cannot run here does not hide the others."""
    if len(parsed.job) == 1:
        return show_plan(_planned(parsed.job[0], parsed.set), as_json=parsed.json)
    found: dict[str, Any] = {}
    code = 0
    for job in parsed.job:
        try:
            found[str(job)] = _planned(job, parsed.set)
        except UserError as error:
            found[str(job)] = {"error": str(error)}
            code = error.exit_code
    if parsed.json:
        print(json.dumps(found))
        return code
    for name, made in found.items():
        print(f"{name}:")
        show_plan(made, as_json=False)
    return code


def _planned(job: Path, overrides: list[str]) -> dict[str, Any]:
    """The plan of a job, or {"teachers": the plan of each} where it names several."""
    plans = {name: plan.as_json() for name, plan in outline(load_config(job, overrides)).items()}
    return plans.get(None, {"teachers": plans})


def show_plan(made: dict[str, Any], *, as_json: bool) -> int:
    """Prints a plan, a figure per line or as JSON; returns the exit code."""
    if as_json:
        print(json.dumps(made))
        return 0
    for teacher, plan in made.get("teachers", {}).items():
        print(f"teacher {teacher}:")
        show_plan(plan, as_json=False)
    for name, value in made.items():
        if name == "teachers":
            continue
        if name in ("fit", "rate_at_most"):
            print(f"{name:24} {_fit_line(value) if name == 'fit' else _rate_line(value)}")
        elif name == "notes":
            for note in value:
                print(f"{'note':24} {note}")
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
    return f"{tokens}, {percent(figures['cached_share'])} from the prefix cache{unfit}"
