"""`xpoll vote`: counts the answers into labels; with --compare, every method side by side."""

import argparse
import json
from pathlib import Path
from typing import Any

from xpoll.core.config import Config
from xpoll.core.formatting import p_value, percent, points, share_with_interval
from xpoll.core.run_folder import RunFolder
from xpoll.scripts.arguments import add_job, load_job
from xpoll.scripts.commands.run import run_step
from xpoll.votes.compare import compare_run


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the job and --compare."""
    add_job(command)
    compare = "print every method on the votes there are; writes nothing"
    command.add_argument("--compare", action="store_true", help=compare)


def call(parsed: argparse.Namespace) -> int:
    """Runs the step, or prints the comparison."""
    if parsed.compare:
        return compare_votes(load_job(parsed), as_json=parsed.json)
    return run_step("vote", parsed)


def compare_votes(config: Config, *, as_json: bool) -> int:
    """Counts a run's votes by every method and prints them side by side; writes nothing."""
    return show_comparison(compare_run(RunFolder(Path(config.job.run_folder)), config), as_json=as_json)


def show_comparison(found: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(found))
        return 0
    if found.get("kind") == "multi":
        return _show_sets(found)
    print(f"{found['documents']} documents, {found['votes']} readable votes, {found['gold_rows']} gold rows")
    worth = found["effective_votes"]
    if worth is None:
        print("effective votes: not measured, because there are no gold labels or no two votes about one text")
    else:
        print(
            f"effective votes: {worth['votes']:.2f} votes a text are worth {worth['effective']:.2f} independent ones "
            f"(their errors correlate by {worth['correlation']:.2f})"
        )
    print(position_line(found["position_bias"]))
    print(f"\n{'method':22}{'accuracy (95 % interval)':>28}{'macro F1':>10}{'ECE':>8}{'abstained':>11}{'s':>8}")
    for row in found["methods"]:
        if row["left_out"]:
            print(f"{row['method']:22}left out: {row['left_out']}")
            continue
        print(
            f"{row['method']:22}{_accuracy(row):>28}{_share(row['f1_macro']):>10}{_share(row['ece']):>8}"
            f"{row['abstained']:>11}{row['wall_s']:>8.2f}"
        )
    print("Accuracy and F1 count an abstention as wrong. ECE is over the texts that got a label.")
    for row in found["methods"]:
        if row.get("mean_absolute_error") is not None:
            print(f"{row['method']:22}{row['mean_absolute_error']:.3f} steps of the scale off on average")
    _show_personas(found)
    return 0


def position_line(bias: dict[str, Any] | None) -> str:
    if bias is None:
        return "position bias: not measured, because all prompts name the labels in one order (panel.label_order)"
    shares = ", ".join(map(percent, bias["shares"]))
    return (
        f"position bias: {shares} of the votes name the label in place 1 to {len(bias['shares'])} of the prompt, "
        f"{percent(1 / len(bias['shares']))} each without one ({p_value(bias['p_value'])})"
    )


def _show_personas(found: dict[str, Any]) -> None:
    if found["personas"]:
        print(f"\nwithout it ({found['persona_method']}){'alone right':>24}{'it adds':>14}{'labels changed':>17}")
        for row in found["personas"]:
            adds = row["marginal_accuracy"]
            gain = points(adds, signed=True, none="-")
            print(f"{row['persona']:32}{_share(row['accuracy']):>12}{gain:>16}{_share(row['labels_changed']):>15}")
    equal = found["equal_answers"]
    if equal is not None:
        print(
            f"\nmajority of {equal['answers']} answers: one persona asked {equal['answers']} times "
            f"{_share(equal['one_persona'])}, different personas asked once {_share(equal['different_personas'])}"
        )


def _show_sets(found: dict[str, Any]) -> int:
    print(f"{found['documents']} documents, {found['votes']} readable votes, {found['gold_rows']} gold rows")
    print(f"\n{'method':22}{'whole set right':>17}{'micro F1':>10}{'macro F1':>10}{'labels/text':>13}{'undecided':>11}")
    for row in found["methods"]:
        if row["left_out"]:
            print(f"{row['method']:22}left out: {row['left_out']}")
            continue
        print(
            f"{row['method']:22}{_share(row['set_accuracy']):>17}{_share(row['f1_micro']):>10}"
            f"{_share(row['f1_macro']):>10}{row['labels_each']:>13.2f}{row['undecided']:>11}"
        )
    return 0


def _accuracy(row: dict[str, Any]) -> str:
    return share_with_interval(row["accuracy"], row.get("accuracy_ci95"))


def _share(share: float | None) -> str:
    return percent(share, none="-")
