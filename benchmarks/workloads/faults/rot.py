"""Damage to the files of a run's answers, as disks and people do it, and what a reader then makes of it.

Each damage is drawn from a seed. The suite runs trials in other processes, so that a reader that ends its process
is counted and does not end the suite.
"""

import random
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from xpoll.core.errors import RunFolderError
from xpoll.core.files import write_json
from xpoll.core.records import COMPLETION_SCHEMA, Completion, Key, to_table
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import read_completions
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.ledger import Ledger
from xpoll.engine.journal.session import problems_of
from xpoll.engine.work import NeverStop

PAGE_BYTES = 4096
KINDS = ("cut", "zeroed tail", "lost page", "bit flip", "empty", "deleted")
PLACES = ("journal", "part", "seals")


class Trial(NamedTuple):
    """What came of one damaged folder.

    Attributes:
        garbage: Answers read that were never written, or twice.
        lost: Answers that are no longer there.
        unnamed: 1 if answers are lost, and no problem says so before the poll.
        not_asked_again: Lost answers that a poll would not ask.
        set_aside: Damaged files that were kept under another name.
    """

    garbage: int
    lost: int
    unnamed: int
    not_asked_again: int
    set_aside: int


def answers_of(documents: Iterable[int]) -> list[Completion]:
    """Answers of realistic size, two per document, each telling its own key."""
    return [
        Completion(
            f"doc-{i}",
            "persona",
            sample,
            text=f"good of doc-{i}/{sample} " + "because " * (i % 7),
            finish_reason="stop",
            prompt_tokens=300 + i,
            output_tokens=i,
            choice_logprobs=(-0.5 * i, -2.0),
            worker="worker-0",
            device="cpu:0",
        )
        for i in documents
        for sample in (0, 1)
    ]


def write_run(folder: Path, *, documents: int, rows_per_append: int, rows_per_part: int) -> list[Completion]:
    """Makes completions/ as a poll leaves it that was killed: parts, and a journal that is not sealed; its answers."""
    answers = answers_of(range(documents))
    try:
        with Journal(folder, rows_per_part=rows_per_part) as journal:
            for i in range(0, len(answers), rows_per_append):
                journal.append(to_table(answers[i : i + rows_per_append], COMPLETION_SCHEMA).to_batches())
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return answers


def damage(folder: Path, draw: random.Random, *, kind: str, place: str) -> str:
    """Damages a file in completions/; returns what was done.

    Args:
        folder: completions/.
        draw: Source of the place within the file.
        kind: One of KINDS.
        place: One of PLACES.
    """
    patterns = {"journal": "journal-*.arrows", "part": "part-*.parquet", "seals": "sealed.jsonl"}
    path = draw.choice(sorted(folder.glob(patterns[place])))
    content = bytearray(path.read_bytes())
    size = len(content)
    at = draw.randrange(size)
    match kind:
        case "cut":
            del content[at:]
        case "empty":
            content.clear()
        case "zeroed tail":
            content[at:] = bytes(len(content) - at)
        case "lost page":
            begin = at // PAGE_BYTES * PAGE_BYTES
            end = min(len(content), begin + PAGE_BYTES)
            content[begin:end] = bytes(end - begin)
        case "bit flip":
            content[at] ^= 1 << draw.randrange(8)
        case "deleted":
            path.unlink()
            return f"{path.name} deleted"
    path.write_bytes(content)
    return f"{path.name}: {kind} at byte {at} of {size}"


def trial(source: Path, folder: Path, answers: list[Completion], *, seed: int, kind: str, place: str) -> Trial:
    """Copies a run, damages the copy, reads it, opens it for a poll, and holds what is left against what was written.

    Args:
        source: completions/ that `write_run` made.
        folder: Where the copy goes; a run folder.
        answers: What was written.
        seed: Of the damage.
        kind: One of KINDS.
        place: One of PLACES.
    """
    run = RunFolder(folder)
    shutil.copytree(source, run.completions)
    damage(run.completions, random.Random(seed), kind=kind, place=place)
    write_json(run.engine, {"answers": len(answers), "sessions": []})
    named = bool(problems_of(run))
    try:
        read = list(read_completions(run.completions))
    except RunFolderError:
        read = []
    written = Counter(answers)
    garbage = (Counter(read) - written).total()
    with Journal(run.completions):
        kept = list(read_completions(run.completions))
        ledger = Ledger(run.completions, asked_each=2, stop=NeverStop())
    garbage += (Counter(kept) - written).total()
    lost: set[Key] = {answer.key for answer in (written - Counter(kept)).elements()}
    settled = {key for key in lost if ledger.is_settled(key.document_id)}
    set_aside = len(list(run.completions.glob("*.damaged*")))
    return Trial(garbage, len(lost), int(bool(lost) and not named), len(settled), set_aside)
