"""`xpoll review`: people check a sample of the labels.

    review sample JOB --size N        draws the sample, writes review.json and the form that people fill in
    review sample JOB --max-error E   the same, large enough for that error; once people have answered, a form of the
                                      texts that they must label so that so few of all labels are wrong
    review import JOB FILE            reads the filled form, corrects the labels, states the bound on the others
    review errors JOB                 lists labels that are likely wrong

`sample` reads labels.parquet; `import` writes labels.parquet anew and removes what was made from the old one.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import InputError, RunFolderError
from xpoll.core.formatting import percent
from xpoll.core.outputs.label_studio import labelling_interface
from xpoll.core.records import Consensus, from_table
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline.state import remove_after
from xpoll.pipeline.steps import require_one_label, vote
from xpoll.report.collect import review_of
from xpoll.report.wording import NO_BOUND
from xpoll.scripts.arguments import JOB, add_common
from xpoll.votes.review.forms import SUFFIXES, read_answers, write_form
from xpoll.votes.review.label_errors import likely_errors, skill_of, text_probabilities
from xpoll.votes.review.max_error import ErrorGuarantee, ErrorTarget, audit_size, doubtful_texts, guarantee_of
from xpoll.votes.review.sample import answers_of, draw_sample, labelled, no_bound, read_review, write_review

FORMS = ["csv", "labelstudio", "argilla"]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The three commands below `xpoll review`."""
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=type(command))
    sample = actions.add_parser("sample", help="draw a sample of the labels for people to check")
    sample.add_argument("job", type=Path, help=JOB)
    sample.add_argument("--size", type=int, metavar="N", help="documents to draw (with --max-error: chosen by it)")
    wanted = "share of all labels that may be wrong, 0 to 1; people label the texts that this needs"
    sample.add_argument("--max-error", type=float, metavar="E", help=wanted)
    sure = "with --max-error: how sure that must be, 0 to 1 (default: 0.95)"
    sample.add_argument("--confidence", type=float, default=0.95, metavar="C", help=sure)
    sample.add_argument("--format", choices=FORMS, default="csv", help="form to write (default: csv)")
    sample.add_argument("--output", type=Path, help="file to write (default: in the run folder)")
    read = actions.add_parser("import", help="read the filled form back")
    read.add_argument("job", type=Path, help=JOB)
    read.add_argument("file", type=Path, help="CSV, or the JSON export of Label Studio or Argilla")
    errors = actions.add_parser("errors", help="list labels that are likely wrong")
    errors.add_argument("job", type=Path, help=JOB)
    errors.add_argument("--limit", type=int, default=20, metavar="N", help="most rows to list (default: 20)")
    for action in (sample, read, errors):
        add_common(action)


def call(parsed: argparse.Namespace) -> int:
    """Runs one of them; returns the exit code."""
    folder = RunFolder(Path(load_config(parsed.job).job.run_folder))
    folder.require(folder.config, step="run")
    config = load_config(folder.path)  # as it was voted, whatever --set said then
    require_one_label(config, "review")
    rows = from_table(pq.read_table(folder.require(folder.labels, step="vote")), Consensus)
    match parsed.action:
        case "sample":
            return _sample(parsed, config, folder, rows)
        case "import":
            return _import(parsed, config, folder)
        case _:
            return _errors(parsed, config, rows)


def _sample(parsed: argparse.Namespace, config: Config, folder: RunFolder, rows: list[Consensus]) -> int:
    found = read_review(folder.review)
    target = None if parsed.max_error is None else ErrorTarget(parsed.max_error, parsed.confidence).checked()
    if found is not None and answers_of(found):
        if target is None or parsed.size is not None:
            raise RunFolderError(
                f"{folder.review} holds answers of people, which a new sample would replace",
                mend=f"move it away first: mv {folder.review} {folder.review}.old",
            )
        return _doubtful(parsed, config, folder, rows, found, target)
    size = parsed.size
    if target is not None:
        size = audit_size(len(labelled(rows)), target, size)
    elif size is None:
        raise InputError("the following arguments are required: --size, or --max-error", mend="e.g. --size 200")
    drawn = draw_sample(rows, size=size, seed=config.job.seed)
    output = _write_form(parsed, folder, "review", drawn["rows"], rows)
    write_review(folder.review, drawn)
    result = {"documents": drawn["documents"], "sampled": drawn["sampled"], "output": str(output)}
    then = ""
    if target is not None:
        wanted = f"--max-error {target.max_error:g} --confidence {target.confidence:g}"
        then = f", and again: xpoll review sample {parsed.job} {wanted}"
    _tell(
        parsed,
        config,
        result,
        f"review: {drawn['sampled']} of {drawn['documents']} labelled documents are in {output}",
        f"fill in the labels, then: xpoll review import {parsed.job} {output}{then}",
    )
    return 0


def _doubtful(
    parsed: argparse.Namespace,
    config: Config,
    folder: RunFolder,
    rows: list[Consensus],
    found: dict[str, Any],
    target: ErrorTarget,
) -> int:
    """Gives people the texts that the votes are too unsure of; none where the audit shows that none is needed."""
    if reason := no_bound(found, rows, learnt_from=config.vote.learn_from_review):
        raise RunFolderError(
            f"the answers say nothing of the labels: {NO_BOUND[reason]}",
            mend=f"move them away, then sample anew: mv {folder.review} {folder.review}.old",
        )
    given = {row["document_id"]: row for row in found.get("doubtful", {}).get("rows", ())}
    texts = doubtful_texts(found, rows, target, seed=config.job.seed)
    new = [
        {"document_id": row.document_id, "weight": 1.0, "confidence": row.confidence, "label": None} for row in texts
    ]
    doubtful = [given.pop(row["document_id"], row) for row in new]
    doubtful += [row for row in given.values() if row["label"] is not None]  # for another target; it stays labelled
    found["doubtful"] = {**target._asdict(), "rows": doubtful}
    to_label = [row for row in doubtful if row["label"] is None]
    write_review(folder.review, found)
    result: dict[str, Any] = {"documents": found["documents"], "doubtful": len(doubtful), "to_label": len(to_label)}
    shown = f"at most {percent(target.max_error)} of the {found['documents']} labels are wrong"
    if not to_label:
        text = f"review: with {percent(target.confidence, digits=0)} confidence {shown}: no more need be labelled"
        _tell(parsed, config, result | {"output": None}, text)
        return 0
    output = _write_form(parsed, folder, "doubtful", to_label, rows)
    _tell(
        parsed,
        config,
        result | {"output": str(output)},
        f"review: {len(to_label)} of {found['documents']} labelled documents are in {output}: once people have "
        f"labelled them, {shown}, with {percent(target.confidence, digits=0)} confidence",
        f"fill in the labels, then: xpoll review import {parsed.job} {output}",
    )
    return 0


def _write_form(
    parsed: argparse.Namespace, folder: RunFolder, name: str, asked: list[dict[str, Any]], rows: list[Consensus]
) -> Path:
    output: Path = parsed.output or folder.path / f"{name}{SUFFIXES[parsed.format]}"
    write_form(output, parsed.format, asked, {row.document_id: row.text for row in rows})
    return output


def _tell(parsed: argparse.Namespace, config: Config, result: dict[str, Any], *lines: str) -> None:
    if parsed.format == "labelstudio":
        result["labeling_config"] = labelling_interface(list(config.task.labels))
    if parsed.json:
        print(json.dumps(result))
        return
    print(lines[0])
    if parsed.format == "labelstudio":
        print(f"labelling interface: {result['labeling_config']}")
    print(*lines[1:], sep="\n", end="\n" if lines[1:] else "")


def _import(parsed: argparse.Namespace, config: Config, folder: RunFolder) -> int:
    found = read_review(folder.require(folder.review, step="review sample"))
    assert found is not None
    asked = [*found["rows"], *found.get("doubtful", {}).get("rows", ())]
    answers = read_answers(parsed.file, {row["document_id"] for row in asked}, list(config.task.labels))
    for reason in answers.skipped:
        print(f"xpoll: left out: {parsed.file}, {reason}", file=sys.stderr)
    for row in asked:
        row["label"] = answers.labels.get(row["document_id"], row["label"])
    write_review(folder.review, found)
    vote(config, folder)
    remove_after(folder, "vote")
    checked = review_of(folder)
    assert checked is not None
    result = {"imported": len(answers.labels), "skipped": answers.skipped, **checked.model_dump(mode="json")}
    guarantee = guarantee_of(found)
    result["max_error"] = (
        None if guarantee is None else {**guarantee.target._asdict(), "to_label": guarantee.unanswered}
    )
    if parsed.json:
        print(json.dumps(result))
        return 0
    print(f"review: {len(answers.labels)} labels read, {len(answers.skipped)} rows left out")
    print(f"{result['corrected']} of {result['answered']} checked labels were wrong and are corrected")
    if checked.no_bound_because is not None:
        print(f"no bound: {NO_BOUND[checked.no_bound_because]}")
    else:
        print(
            f"with 95 % confidence at least {percent(checked.at_least)} of the {checked.documents} labels are "
            f"right now; as voted at least {percent(checked.voted_at_least)}"
        )
    if guarantee is not None and checked.no_bound_because is None:
        print(_guaranteed(guarantee, checked.documents))
    print(f"what was made from the old labels is removed -> xpoll run {parsed.job}")
    return 0


def _guaranteed(guarantee: ErrorGuarantee, documents: int) -> str:
    target, left = guarantee.target, guarantee.unanswered
    shown = f"at most {percent(target.max_error)} of the {documents} labels are wrong"
    if left:
        return f"{left} of {guarantee.doubtful} doubtful texts have no label of a person yet; not shown before: {shown}"
    return f"with {percent(target.confidence, digits=0)} confidence {shown} now"


def _errors(parsed: argparse.Namespace, config: Config, rows: list[Consensus]) -> int:
    labels = list(config.task.labels)
    voted = [row for row in rows if row.split == "train" and row.label is not None]
    numbers = np.array([labels.index(str(row.label)) for row in voted], int)
    texts = [row.text for row in voted]
    probabilities = text_probabilities(texts, numbers, len(labels), seed=config.job.seed)
    skill = skill_of(numbers, probabilities) if voted else None
    found = likely_errors(numbers, probabilities) if skill and skill.knows else []
    listed = [
        {
            "document_id": voted[error.row].document_id,
            "label": voted[error.row].label,
            "suggested": labels[error.suggested],
            "margin": round(error.margin, 4),
            "text": voted[error.row].text,
        }
        for error in found[: parsed.limit]
    ]
    if parsed.json:
        knows = skill.knows if skill else False
        print(json.dumps({"documents": len(voted), "likely_errors": len(found) if knows else None, "rows": listed}))
        return 0
    if skill and not skill.knows:
        print(
            f"no list: a classifier of the {len(voted)} texts meets {percent(skill.right)} of their labels, no more "
            f"than always saying {labels[skill.most_frequent]!r} does ({percent(skill.share)}), and knows no errors"
        )
        return 0
    print(f"{len(found)} of {len(voted)} labels are likely wrong; the likeliest first:")
    for row in listed:
        print(f"{row['document_id']:16} {row['label']} -> {row['suggested']}? {str(row['text'])[:90]!r}")
    return 0
