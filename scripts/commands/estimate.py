"""`xpoll estimate`: the share of each label in the pile, with 95 % intervals, from votes and audit together.

Reads labels.parquet, and review.json or the gold rows; with --by the input files, too. Writes nothing.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import InputError, RunFolderError
from xpoll.core.formatting import counted, number, percent, share_with_interval
from xpoll.core.records import Consensus, from_table
from xpoll.core.run_folder import RunFolder
from xpoll.core.statistics import Estimate
from xpoll.personas.documents import groups_of
from xpoll.pipeline.steps import require_one_label
from xpoll.report.wording import NO_BOUND
from xpoll.scripts.arguments import JOB
from xpoll.votes.review.estimate import LabelShare
from xpoll.votes.review.pile import Pile, pile_beside_gold, pile_of_review, shares_by_group
from xpoll.votes.review.sample import no_bound, read_review

Groups = dict[str | None, tuple[int, int, list[LabelShare]]]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The run, the groups, and whether the gold rows are the audit."""
    command.add_argument("job", type=Path, help=JOB)
    command.add_argument("--by", metavar="COLUMN", help="a column of the input file: shares of each of its values")
    gold = "take the gold rows in place of people's answers: they were drawn at random from the same texts"
    command.add_argument("--gold", action="store_true", help=gold)


def call(parsed: argparse.Namespace) -> int:
    """Prints the shares; returns the exit code."""
    folder = RunFolder(Path(load_config(parsed.job).job.run_folder))
    folder.require(folder.config, step="run")
    config = load_config(folder.path)  # as it was voted, whatever --set said then
    require_one_label(config, "estimate")
    rows = from_table(pq.read_table(folder.require(folder.labels, step="vote")), Consensus)
    pile = _with_gold(rows, config) if parsed.gold else _with_review(rows, config, folder)
    group_of = groups_of(config.texts, parsed.by) if parsed.by else None
    found = shares_by_group(pile, len(config.task.labels), group_of)
    if parsed.json:
        print(json.dumps(_as_json(pile, found, list(config.task.labels))))
    else:
        _show(pile, found, list(config.task.labels), parsed.by)
    return 0


def _with_review(rows: list[Consensus], config: Config, folder: RunFolder) -> Pile:
    review = read_review(folder.review)
    sample = f"xpoll review sample {folder.path} --size 200, or --gold if the gold rows are a random sample"
    if review is None:
        raise RunFolderError(f"nobody has labelled a sample of {folder.path}", mend=sample)
    if reason := no_bound(review, rows, learnt_from=config.vote.learn_from_review):
        raise RunFolderError(f"people's answers cannot be used: {NO_BOUND[reason]}", mend=sample)
    return pile_of_review(rows, list(config.task.labels), review)


def _with_gold(rows: list[Consensus], config: Config) -> Pile:
    pile = pile_beside_gold(rows, list(config.task.labels))
    if not pile.audited_ids or not pile.document_ids:
        raise InputError("the run has no gold rows, or nothing but them", mend="xpoll review sample, without --gold")
    return pile


def _as_json(pile: Pile, found: Groups, labels: list[str]) -> dict[str, Any]:
    groups = [
        {
            "group": name,
            "texts": texts,
            "audited": audited,
            "labels": {label: _figures(share) for label, share in zip(labels, shares, strict=True)},
        }
        for name, (texts, audited, shares) in found.items()
    ]
    about = {"audit": pile.audit.source, "without_label": pile.without_label}
    return about | {"unanswered": pile.unanswered, "skipped": pile.skipped, "groups": groups}


def _figures(share: LabelShare) -> dict[str, Any]:
    def ends(found: Estimate | None) -> dict[str, Any] | None:
        return None if found is None else {"value": found.value, "ci95": found.as_list()}

    return {"votes": share.voted, "audit": ends(share.audited), "estimate": ends(share.estimate)}


def _show(pile: Pile, found: Groups, labels: list[str], by: str | None) -> None:
    width = max(16, *map(len, labels))
    for name, (texts, audited, shares) in found.items():
        group = "" if name is None else f"{by} = {name or '(empty)'}: "
        print(f"{group}{counted(texts, 'text')}, {counted(audited, 'audited row')}")
        print(f"{'share of':{width}} {'votes':>8} {'audit alone (95 %)':>26} {'votes and audit (95 %)':>26}")
        for label, share in zip(labels, shares, strict=True):
            print(f"{label:{width}} {percent(share.voted):>8} {_cell(share.audited):>26} {_cell(share.estimate):>26}")
    for line in _assumed(pile):
        print(line)


def _cell(found: Estimate | None) -> str:
    return share_with_interval(found.value, (found.low, found.high)) if found else share_with_interval(None, None)


def _assumed(pile: Pile) -> list[str]:
    """What the intervals rest on."""
    if pile.audit.source == "gold":
        return ["intervals hold if the gold rows were drawn at random from the same texts as the others"]
    lines = ["audited rows are those that xpoll review sample drew at random from the texts with a label"]
    if pile.without_label:
        lines.append(f"{counted(pile.without_label, 'text')} without a label: not in these shares")
    if pile.unanswered:
        lines.append(
            f"{number(pile.unanswered)} drawn texts have no answer, {number(pile.skipped)} of them were passed over: "
            "intervals hold if that has nothing to do with their labels"
        )
    return lines
