"""`xpoll vote`: counts the answers into labels; with --compare, every method side by side."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.config.job import Config
from xpoll.core.formatting import p_value, percent, points, share_with_interval
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline.teaching import took
from xpoll.scripts.arguments import add_job, load_job
from xpoll.scripts.commands.run import run_step
from xpoll.scripts.tables import show_table
from xpoll.votes.check import check_votes
from xpoll.votes.tasks.registry import kind_of


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
    check_votes(config)
    found = kind_of(config.task.kind).compare(RunFolder(Path(config.job.run_folder)), config)
    if found.get("teachers"):
        prices = took(config)
        found["teachers"] = [{**row, **prices[row["teacher"]]} for row in found["teachers"]]
    return show_comparison(found, as_json=as_json)


def show_comparison(found: dict[str, Any], *, as_json: bool) -> int:
    """Prints what `TaskKind.compare` found, as JSON or as a table of the figures that it has; returns the exit code."""
    if as_json:
        print(json.dumps(found))
        return 0
    print(f"{found['documents']} documents, {found['votes']} readable votes, {found['gold_rows']} gold rows")
    if "effective_votes" in found:
        print(_effective_line(found["effective_votes"]))
        print(position_line(found["position_bias"]))
    _show_methods(found["methods"])
    if found.get("teachers"):
        _show_teachers(found)
    if "personas" in found:
        _show_personas(found)
    return 0


def _effective_line(worth: dict[str, float] | None) -> str:
    if worth is None:
        return "effective votes: not measured, because there are no gold labels or no two votes about one text"
    return (
        f"effective votes: {worth['votes']:.2f} votes per text are worth {worth['effective']:.2f} independent ones "
        f"(their errors correlate by {worth['correlation']:.2f})"
    )


def _show_methods(rows: list[dict[str, Any]]) -> None:
    """A line per method; of the figures in COLUMNS those that a row has, then what else the kind of task says."""
    counted = [row for row in rows if not row["left_out"]]
    columns = [column for column in COLUMNS if any(column.key in row for row in counted)]
    print()
    show_table(
        ("method", *(column.title for column in columns)),
        [
            (row["method"], f"left out: {row['left_out']}")
            if row["left_out"]
            else (row["method"], *(column.shown(row) for column in columns))
            for row in rows
        ],
        (22, *(column.width for column in columns)),
    )
    if any("accuracy" in row for row in counted):
        print("Accuracy and F1 count an abstention as wrong. ECE is over the texts that got a label.")
    for row in counted:
        if row.get("mean_absolute_error") is not None:
            print(f"{row['method']:22}{row['mean_absolute_error']:.3f} steps of the scale off on average")


def position_line(bias: dict[str, Any] | None) -> str:
    """How the votes follow the places of the labels in the prompt, in one line."""
    if bias is None:
        return "position bias: not measured, because all prompts name the labels in one order (panel.label_order)"
    shares = ", ".join(map(percent, bias["shares"]))
    return (
        f"position bias: {shares} of the votes name the label in place 1 to {len(bias['shares'])} of the prompt, "
        f"{percent(1 / len(bias['shares']))} each without one ({p_value(bias['p_value'])})"
    )


def _show_personas(found: dict[str, Any]) -> None:
    if found["personas"]:
        print()
        rows = [
            (
                row["persona"],
                _share(row["accuracy"]),
                points(row["marginal_accuracy"], signed=True, none="-"),
                _share(row["labels_changed"]),
            )
            for row in found["personas"]
        ]
        heads = (f"without it ({found['persona_method']})", "alone right", "it adds", "labels changed")
        show_table(heads, rows, (32, 12, 16, 15))
    equal = found["equal_answers"]
    if equal is not None:
        print(
            f"\nmajority of {equal['answers']} answers: one persona asked {equal['answers']} times "
            f"{_share(equal['one_persona'])}, different personas asked once {_share(equal['different_personas'])}"
        )


def _show_teachers(found: dict[str, Any]) -> None:
    """A line per teacher: how it does alone, what it adds to the others, and what that takes."""
    heads = ("alone right", "without it", "it adds", "agrees", "labels changed", "s/text", "USD/million")
    rows = [
        (
            row["teacher"],
            _share(row["accuracy"]),
            _share(row["accuracy_without"]),
            points(row["adds"], signed=True, none="-"),
            _share(row["agreement"]),
            _share(row["labels_changed"]),
            "-" if row["s_per_document"] is None else f"{row['s_per_document']:.3f}",
            "-" if row["usd_per_million"] is None else f"{row['usd_per_million']:.2f}",
        )
        for row in found["teachers"]
    ]
    print()
    show_table((f"teacher ({found['persona_method']})", *heads), rows, (32, *(15 for _ in heads)))


def _accuracy(row: dict[str, Any]) -> str:
    return share_with_interval(row["accuracy"], row.get("accuracy_ci95"))


def _share(share: float | None) -> str:
    return percent(share, none="-")


class _Column(NamedTuple):
    """A figure of a method: its key, the title over it, how wide it is, and how a row's is written."""

    key: str
    title: str
    width: int
    shown: Callable[[dict[str, Any]], str]


COLUMNS = (
    _Column("set_accuracy", "whole set right", 17, lambda row: _share(row["set_accuracy"])),
    _Column("accuracy", "accuracy (95 % interval)", 28, lambda row: _accuracy(row)),
    _Column("f1_micro", "micro F1", 10, lambda row: _share(row["f1_micro"])),
    _Column("f1_macro", "macro F1", 10, lambda row: _share(row["f1_macro"])),
    _Column("f1_overlap", "overlap F1", 12, lambda row: _share(row["f1_overlap"])),
    _Column("f1_token_macro", "token macro F1", 16, lambda row: _share(row["f1_token_macro"])),
    _Column("ece", "ECE", 8, lambda row: _share(row["ece"])),
    _Column("labels_each", "labels/text", 13, lambda row: f"{row['labels_each']:.2f}"),
    _Column("undecided", "undecided", 11, lambda row: str(row["undecided"])),
    _Column("abstained", "abstained", 11, lambda row: str(row["abstained"])),
    _Column("wall_s", "s", 8, lambda row: f"{row['wall_s']:.2f}"),
)
"""Figures that a comparison may have, in order; a kind of task has some of them."""
