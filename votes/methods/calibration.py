"""Removes the label bias of each persona, from the logprobs of the labels alone."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from xpoll.core.errors import InputError
from xpoll.votes.ballots import Ballots, Probes, Shares
from xpoll.votes.methods.counting import with_logprobs

ENOUGH = 30  # answers of a persona to prompts of one label order, from which their own mean is taken
FLOOR = 1e-9


def calibrated(ballots: Ballots) -> Shares:
    """Removes the label bias that a persona's answers have over the whole batch, without gold labels.

    From each answer's log-distribution the persona's mean over all documents is subtracted, as if
    every label were equally frequent; the result is averaged over the answers of a document. With
    `task.label_priors` their logarithm is added. Where labels were named in several orders, the mean is
    that of the persona's answers to prompts of the same order, if there are enough of them. Each teacher is one voice,
    the mean of its answers; one that gives no logprobs counts by the labels that it names.

    Source: Zhou et al., "Batch Calibration", ICLR 2024 (arXiv 2309.17249).

    Raises:
        InputError: no vote has a distribution.
    """
    return _averaged(ballots, unbiased(ballots, "calibrated"))


def calibrated_answers(ballots: Ballots) -> Ballots:
    """The votes with the label that each names once its persona's bias is taken out; where there are logprobs.

    What `calibrated` averages, made fit for methods that read labels alone.

    Raises:
        InputError: no vote has a distribution.
    """
    logs = unbiased(ballots, "calibrated")
    read = ~np.isnan(logs[:, 0])
    return replace(ballots, label_of=np.where(read, np.where(read[:, None], logs, 0).argmax(1), ballots.label_of))


def unbiased(ballots: Ballots, method: str) -> np.ndarray:
    """(votes, labels): log-distributions without what the persona's answers share; NaN where a vote has none.

    Args:
        ballots: The votes.
        method: Which method asks, for the error.

    Raises:
        InputError: no vote has a distribution.
    """
    logs = log_distributions(ballots, method)
    bias = np.full(logs.shape, np.nan)
    read = ~np.isnan(logs[:, 0])
    for alike in _groups(ballots):
        alike = alike & read
        if alike.sum() >= ENOUGH or np.isnan(bias[alike]).any():
            bias[alike] = logs[alike].mean(0)
    without: np.ndarray = logs - bias
    return without


def log_distributions(ballots: Ballots, method: str) -> np.ndarray:
    """(votes, labels): logarithms of the distributions; NaN where a vote has none.

    Of a teacher without any, beside others, a vote is worth the label that it names, as certain as one observation
    makes it under a prior of one observation spread over the labels (Perks).

    Raises:
        InputError: no vote has a distribution.
    """
    logs: np.ndarray = np.log(np.maximum(with_logprobs(ballots, method), FLOOR))
    if ballots.teacher_of is not None:
        teacher = ballots.teacher_of[ballots.persona_of]
        lacking = np.isin(teacher, np.setdiff1d(teacher, teacher[~np.isnan(logs[:, 0])]))
        num_labels = len(ballots.labels)
        logs[lacking] = np.log((np.eye(num_labels)[ballots.label_of[lacking]] + 1 / num_labels) / 2)
    return logs


def contextual(ballots: Ballots) -> Shares:
    """Removes the label bias that a persona shows where a text has no content.

    From each answer's log-distribution is subtracted the logarithm of the persona's mean distribution
    over the texts of `panel.content_free`; else as `calibrated`. A persona of which no such answer can
    be read has the mean of all.

    Source: Zhao et al., "Calibrate Before Use", ICML 2021 (arXiv 2102.09690).

    Raises:
        InputError: no vote has a distribution, or no text without content was asked about.
    """
    logs = log_distributions(ballots, "contextual")
    probes = ballots.probes
    if probes is None:
        raise InputError(
            "vote.method = 'contextual' needs answers to texts without content and none is there",
            mend="set panel.content_free = ['N/A', '[MASK]', ''] and poll into another run folder",
        )
    bias = _bias_of_teachers(ballots, probes)
    of_probes = _groups(ballots, probes.persona_of, probes.rotation_of)
    for alike, probed in zip(_groups(ballots), of_probes, strict=True):
        if probed.any():
            bias[alike] = np.log(np.maximum(probes.distributions[probed].mean(0), FLOOR))
    return _averaged(ballots, logs - bias)


def _bias_of_teachers(ballots: Ballots, probes: Probes) -> np.ndarray:
    """(votes, labels): what the probes of a vote's teacher say together; nothing of a teacher without any."""
    if ballots.teacher_of is None:
        return np.tile(np.log(np.maximum(probes.distributions.mean(0), FLOOR)), (len(ballots.label_of), 1))
    bias = np.zeros((len(ballots.label_of), len(ballots.labels)))
    asked, probed = ballots.teacher_of[ballots.persona_of], ballots.teacher_of[probes.persona_of]
    for number in np.unique(probed):
        bias[asked == number] = np.log(np.maximum(probes.distributions[probed == number].mean(0), FLOOR))
    return bias


def kept_bias(run: Ballots) -> Callable[[Ballots], Shares]:
    """`calibrated` for documents that were not in the run, by the label bias that its votes show.

    Raises:
        InputError: no vote of the run has a distribution.
    """
    logs_of = unbiased_by(run, "calibrated")
    return lambda ballots: _averaged(ballots, logs_of(ballots))


def unbiased_by(run: Ballots, method: str) -> Callable[[Ballots], np.ndarray]:
    """`unbiased` for votes about documents that were not in the run, by the label bias that its votes show.

    A persona without answers in the run has the bias of all.

    Raises:
        InputError: no vote of the run has a distribution.
    """
    logs = log_distributions(run, method)
    read = ~np.isnan(logs[:, 0])
    means: dict[tuple[str | None, int | None], np.ndarray] = {(None, None): logs[read].mean(0)}
    for number, persona_id in enumerate(run.persona_ids):
        mine = read & (run.persona_of == number)
        if mine.any():
            means[persona_id, None] = logs[mine].mean(0)
        for rotation in [] if run.rotation_of is None else range(len(run.labels)):
            alike = mine & (run.rotation_of == rotation)
            if alike.sum() >= ENOUGH:
                means[persona_id, rotation] = logs[alike].mean(0)

    def without(ballots: Ballots) -> np.ndarray:
        rotations = [None] * len(ballots.persona_of) if ballots.rotation_of is None else ballots.rotation_of.tolist()
        bias = []
        for number, rotation in zip(ballots.persona_of.tolist(), rotations, strict=True):
            persona_id = ballots.persona_ids[number]
            finest = [(persona_id, rotation), (persona_id, None), (None, None)]
            bias.append(next(means[place] for place in finest if place in means))
        found: np.ndarray = log_distributions(ballots, method) - np.array(bias)
        return found

    return without


def kept_probes(run: Ballots) -> Callable[[Ballots], Shares]:
    """`contextual` for documents that were not in the run, by its answers to the texts without content."""

    def count(ballots: Ballots) -> Shares:
        number = {persona_id: i for i, persona_id in enumerate(ballots.persona_ids)}
        probes = run.probes and run.probes._replace(
            persona_of=np.array([number.get(run.persona_ids[i], -1) for i in run.probes.persona_of.tolist()], np.int64)
        )
        return contextual(replace(ballots, probes=probes))

    return count


def _groups(
    ballots: Ballots, persona_of: np.ndarray | None = None, rotation_of: np.ndarray | None = None
) -> list[np.ndarray]:
    """Masks of each persona's rows, then of those in each label order, where there are several: the finer ones last."""
    personas = ballots.persona_of if persona_of is None else persona_of
    rotations = ballots.rotation_of if rotation_of is None else rotation_of
    groups = []
    for persona in range(len(ballots.persona_ids)):
        groups.append(personas == persona)
        if ballots.rotation_of is not None and rotations is not None:
            groups += [groups[-1] & (rotations == rotation) for rotation in range(len(ballots.labels))]
    return groups


def _averaged(ballots: Ballots, logs: np.ndarray) -> Shares:
    """The mean of each document's answers, of each teacher's first, as shares; NaN where none has a distribution."""
    read = ~np.isnan(logs[:, 0])
    kept = ballots.only(read)
    weights = kept.voices(np.ones(int(read.sum())))
    summed = np.zeros((ballots.num_documents, len(ballots.labels)))
    np.add.at(summed, kept.document_of, weights[:, None] * logs[read])
    answers = np.bincount(kept.document_of, weights, minlength=ballots.num_documents)[:, None]
    scores = np.divide(summed, answers, out=np.full(summed.shape, np.nan), where=answers > 0)
    if ballots.priors is not None:
        scores += np.log([ballots.priors[label] for label in ballots.labels])
    shares: Shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return shares
