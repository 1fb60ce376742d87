"""Every way to vote on the same answers, side by side; what each persona adds, and what asking it again would.

Reads votes.parquet and labels.parquet of a run. Writes nothing. A figure that needs gold labels is None
without them.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from xpoll.core import statistics
from xpoll.core.config.job import Config
from xpoll.core.config.teachers import Teacher, teachers_of
from xpoll.core.errors import UserError
from xpoll.core.record_files import stream_records
from xpoll.core.records import Vote, voter_of
from xpoll.core.run_folder import RunFolder
from xpoll.personas.label_order import position_bias, shown_in
from xpoll.votes.ballots import Ballots, Shares, ballots_of
from xpoll.votes.compare_teachers import compare_teachers
from xpoll.votes.consensus import Decide, winners
from xpoll.votes.methods.counting import majority
from xpoll.votes.methods.registry import METHODS, method_of

Figures = Callable[[Shares, np.ndarray], dict[str, Any]]
"""From shares, and the number of each document's gold label or -1, to figures by name."""


def _nothing(_shares: Shares, _truth: np.ndarray) -> dict[str, Any]:
    return {}


def compare_labels(
    folder: RunFolder, config: Config, *, decide: Decide = winners, further: Figures = _nothing
) -> dict[str, Any]:
    """The comparison of a run that was voted on, where each text gets one label, as plain JSON types.

    Args:
        folder: The run.
        config: Its config.
        decide: From shares to the number of each document's label.
        further: What the kind of task says of a method beside `scores`.

    Raises:
        RunFolderError: the run was not voted on.
    """
    table = pq.read_table(folder.require(folder.labels, step="vote"), columns=["document_id", "gold_label"])
    document_ids, gold = (table.column(name).to_pylist() for name in ("document_id", "gold_label"))
    labels = list(config.task.labels)
    votes, shown = folder.require(folder.votes, step="vote"), shown_in(folder)
    ballots = ballots_of(
        document_ids,
        stream_records(votes, Vote),
        labels,
        priors=config.task.label_priors,
        correlation=config.vote.correlation,
        shown=shown,
        probes=stream_records(folder.probes, Vote) if folder.probes.exists() else (),
    )
    truth = np.array([-1 if label is None else labels.index(label) for label in gold])
    teachers = teachers_of(config)
    order = _in_panel_order(ballots.persona_ids, teachers)
    panels = [teacher.config.panel for teacher in teachers]
    cut, drawn = any(panel.stop != "never" for panel in panels), any(panel.per_document for panel in panels)
    found = compare(
        ballots,
        truth,
        method=config.vote.method,
        order=order,
        cut=cut,
        drawn=drawn,
        decide=decide,
        further=further,
    )
    bias = position_bias(stream_records(votes, Vote), shown) if shown else None
    return {
        **found,
        "position_bias": bias.as_json() if bias else None,
        "teachers": compare_teachers(ballots, truth, config.vote.method, decide),
    }


def compare(
    ballots: Ballots,
    truth: np.ndarray,
    *,
    method: str,
    order: Sequence[str] = (),
    cut: bool = False,
    drawn: bool = False,
    decide: Decide = winners,
    further: Figures = _nothing,
) -> dict[str, Any]:
    """All methods on the same votes, as plain JSON types.

    Args:
        ballots: The votes.
        truth: (documents,) number of the gold label, -1 where there is none.
        method: The one that personas are taken away from.
        order: Personas in the order they were asked in; by name without it.
        cut: Whether a stop rule left votes out.
        drawn: Whether each document was put to a few personas of the panel.
        decide: From shares to the number of each document's label.
        further: What is said of each method beside `scores`.
    """
    personas = list(order) or ballots.persona_ids
    return {
        "documents": ballots.num_documents,
        "gold_rows": int((truth >= 0).sum()),
        "votes": len(ballots.label_of),
        "effective_votes": effective_votes(ballots, truth, personas, cut=cut),
        "methods": [_method(name, ballots, truth, decide, further) for name in METHODS],
        "persona_method": method,
        "personas": _without_each(ballots, truth, method, personas, decide),
        "equal_answers": None if cut or drawn else _equal_answers(ballots, truth, personas, decide),
    }


def _in_panel_order(persona_ids: Sequence[str], teachers: Sequence[Teacher]) -> list[str]:
    asked = [
        voter_of(teacher.name, name.rpartition("/")[2].removesuffix(".toml"))
        for teacher in teachers
        for name in teacher.config.panel.personas
    ]
    place = {name: i for i, name in enumerate(asked)}
    return sorted(persona_ids, key=lambda name: (place.get(name, len(place)), name))


def _method(name: str, ballots: Ballots, truth: np.ndarray, decide: Decide, further: Figures) -> dict[str, Any]:
    limit = METHODS[name].most_votes
    if limit is not None and len(ballots.label_of) > limit:
        return {"method": name, "left_out": f"too slow for more than {limit:,} votes"}
    started_s = time.monotonic()
    try:
        shares = METHODS[name].function(ballots)
    except UserError as error:
        return {"method": name, "left_out": str(error)}
    wall_s = time.monotonic() - started_s
    return {
        "method": name,
        "left_out": None,
        "wall_s": round(wall_s, 3),
        **scores(shares, truth, ballots.labels, decide),
        **further(shares, truth),
    }


def scores(shares: Shares, truth: np.ndarray, labels: Sequence[str], decide: Decide = winners) -> dict[str, Any]:
    """Abstentions over all documents; the rest over those with a gold label, where an abstention is not right.

    Args:
        shares: (documents, labels).
        truth: (documents,) number of the gold label, -1 where there is none.
        labels: The task's labels in their order.
        decide: From shares to the number of each document's label.
    """
    decided = decide(shares)
    found: dict[str, Any] = {"abstained": int((decided < 0).sum()), "coverage": float((decided >= 0).mean())}
    known = truth >= 0
    if not known.any():
        return found | dict.fromkeys(("accuracy", "accuracy_ci95", "f1_macro", "f1_macro_ci95", "ece"))
    predicted = [labels[i] if i >= 0 else None for i in decided[known]]
    gold = [labels[i] for i in truth[known]]
    accuracy, f1 = statistics.accuracy(predicted, gold), statistics.f1_macro(predicted, gold, labels)
    return found | {
        "right": int((decided[known] == truth[known]).sum()),
        "accuracy": accuracy.value,
        "accuracy_ci95": accuracy.as_list(),
        "f1_macro": f1.value,
        "f1_macro_ci95": f1.as_list(),
        "ece": calibration_error(shares, truth, decide),
    }


def calibration_error(shares: Shares, truth: np.ndarray, decide: Decide = winners) -> float | None:
    """Expected calibration error of the documents that are decided and have a gold label; None without one."""
    decided = decide(shares)
    kept = (decided >= 0) & (truth >= 0)
    if not kept.any():
        return None
    confidence = shares[kept, decided[kept]]
    return statistics.expected_calibration_error(confidence.tolist(), (decided == truth)[kept].tolist())


def effective_votes(
    ballots: Ballots, truth: np.ndarray, order: Sequence[str], *, cut: bool = False
) -> dict[str, float] | None:
    """How many independent votes the votes about a document are worth; None without gold labels or pairs.

    From the correlation of being right between two votes about the same document, beyond what their
    personas' accuracies explain. Where a stop rule left votes out, only the first two of a document are
    looked at: later ones were asked because these differed.
    """
    place = np.array([list(order).index(name) for name in ballots.persona_ids])
    kept = truth[ballots.document_of] >= 0
    if cut:
        sample = np.zeros(len(kept), int) if ballots.sample_of is None else ballots.sample_of
        by_document = np.lexsort((sample, place[ballots.persona_of], ballots.document_of))
        documents = ballots.document_of[by_document]
        first = np.searchsorted(documents, documents)
        kept[by_document[np.arange(len(documents)) - first >= 2]] = False
    document_of, persona_of = ballots.document_of[kept], ballots.persona_of[kept]
    right = (ballots.label_of[kept] == truth[document_of]).astype(float)
    size = len(ballots.persona_ids)
    accuracy = np.bincount(persona_of, right, minlength=size) / np.maximum(np.bincount(persona_of, minlength=size), 1)
    beyond = right - accuracy[persona_of]
    sums = np.bincount(document_of, beyond, minlength=ballots.num_documents)
    squares = np.bincount(document_of, beyond**2, minlength=ballots.num_documents)
    votes = np.bincount(document_of, minlength=ballots.num_documents)
    pairs = (votes * (votes - 1) / 2).sum()
    if not pairs or not squares.sum():
        return None
    together = ((sums**2 - squares) / 2).sum() / pairs
    correlation = float(np.clip(together / (squares.sum() / len(right)), 0, 1))
    asked = np.bincount(ballots.document_of, minlength=ballots.num_documents)
    mean = float(asked[asked > 0].mean())
    return {"votes": mean, "correlation": correlation, "effective": mean / (1 + (mean - 1) * correlation)}


def _without_each(
    ballots: Ballots,
    truth: np.ndarray,
    method: str,
    order: Sequence[str],
    decide: Decide,
) -> list[dict[str, Any]]:
    if len(order) < 2:
        return []
    shares_of = method_of(method).function
    full = decide(shares_of(ballots))
    known = truth >= 0
    found = []
    for name in order:
        kept = ballots.persona_of != ballots.persona_ids.index(name)
        less = decide(shares_of(ballots.only(kept)))
        gain = float((full == truth)[known].mean() - (less == truth)[known].mean()) if known.any() else None
        alone = ~kept & (truth[ballots.document_of] >= 0)
        right = (ballots.label_of == truth[ballots.document_of])[alone]
        found.append(
            {
                "persona": name,
                "accuracy": float(right.mean()) if len(right) else None,
                "marginal_accuracy": gain,
                "labels_changed": float((full != less).mean()),
            }
        )
    return found


def _equal_answers(ballots: Ballots, truth: np.ndarray, order: Sequence[str], decide: Decide) -> dict[str, Any] | None:
    """The majority of n answers of one persona beside that of n personas, one answer each.

    None where no persona was asked twice, there is one persona or several teachers, or there are no gold labels. Both
    sides are means in which every persona counts alike: over the personas, and over groups of n that
    follow each other in the panel.
    """
    if ballots.sample_of is None or ballots.teacher_of is not None or not (truth >= 0).any():
        return None
    sample_of = ballots.sample_of
    n = min(len(order), int(sample_of.max(initial=0)) + 1)
    if n < 2:
        return None
    numbers = [ballots.persona_ids.index(name) for name in order]

    def accuracy(votes: np.ndarray) -> float:
        decided = decide(majority(ballots.only(votes)))
        return float((decided == truth)[truth >= 0].mean())

    groups = [[numbers[(i + k) % len(numbers)] for k in range(n)] for i in range(len(numbers))]
    one = {
        name: accuracy((ballots.persona_of == number) & (sample_of < n))
        for name, number in zip(order, numbers, strict=True)
    }
    several = [accuracy(np.isin(ballots.persona_of, group) & (sample_of == 0)) for group in groups]
    return {
        "answers": n,
        "one_persona": float(np.mean(list(one.values()))),
        "by_persona": one,
        "different_personas": float(np.mean(several)),
    }
