"""Removes the label bias of each persona, from the logprobs of the labels alone."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from xpoll.core.errors import InputError
from xpoll.votes.ballots import Ballots, Shares
from xpoll.votes.methods.counting import with_logprobs

ENOUGH = 30  # answers of a persona to prompts of one label order, from which their own mean is taken
FLOOR = 1e-9


def calibrated(ballots: Ballots) -> Shares:
    """Removes the label bias that a persona's answers have over the whole batch, without gold labels.

    From each answer's log-distribution the persona's mean over all documents is subtracted, as if
    every label were equally frequent; the result is averaged over the answers of a document. With
    `task.label_priors` their logarithm is added. Where labels were named in several orders, the mean is
    that of the persona's answers to prompts of the same order, if there are enough of them.

    Source: Zhou et al., "Batch Calibration", ICLR 2024 (arXiv 2309.17249).

    Raises:
        InputError: no vote has a distribution.
    """
    return _averaged(ballots, _unbiased(ballots))


def calibrated_answers(ballots: Ballots) -> Ballots:
    """The votes with the label that each names once its persona's bias is taken out; where there are logprobs.

    What `calibrated` averages, made fit for methods that read labels alone.

    Raises:
        InputError: no vote has a distribution.
    """
    logs = _unbiased(ballots)
    read = ~np.isnan(logs[:, 0])
    return replace(ballots, label_of=np.where(read, np.where(read[:, None], logs, 0).argmax(1), ballots.label_of))


def _unbiased(ballots: Ballots) -> np.ndarray:
    """(votes, labels): log-distributions without what the persona's answers share."""
    logs = np.log(np.maximum(with_logprobs(ballots, "calibrated"), FLOOR))
    bias = np.full(logs.shape, np.nan)
    read = ~np.isnan(logs[:, 0])
    for alike in _groups(ballots):
        alike = alike & read
        if alike.sum() >= ENOUGH or np.isnan(bias[alike]).any():
            bias[alike] = logs[alike].mean(0)
    unbiased: np.ndarray = logs - bias
    return unbiased


def contextual(ballots: Ballots) -> Shares:
    """Removes the label bias that a persona shows where a text has no content.

    From each answer's log-distribution is subtracted the logarithm of the persona's mean distribution
    over the texts of `panel.content_free`; else as `calibrated`. A persona of which no such answer can
    be read has the mean of all.

    Source: Zhao et al., "Calibrate Before Use", ICML 2021 (arXiv 2102.09690).

    Raises:
        InputError: no vote has a distribution, or no text without content was asked about.
    """
    logs = np.log(np.maximum(with_logprobs(ballots, "contextual"), FLOOR))
    probes = ballots.probes
    if probes is None:
        raise InputError(
            "vote.method = 'contextual' needs answers to texts without content and none is there",
            mend="set panel.content_free = ['N/A', '[MASK]', ''] and poll into another run folder",
        )
    bias = np.tile(np.log(np.maximum(probes.distributions.mean(0), FLOOR)), (len(logs), 1))
    of_probes = _groups(ballots, probes.persona_of, probes.rotation_of)
    for alike, probed in zip(_groups(ballots), of_probes, strict=True):
        if probed.any():
            bias[alike] = np.log(np.maximum(probes.distributions[probed].mean(0), FLOOR))
    return _averaged(ballots, logs - bias)


def kept_bias(run: Ballots) -> Callable[[Ballots], Shares]:
    """`calibrated` for documents that were not in the run, by the label bias that its votes show.

    A persona without answers in the run has the bias of all.

    Raises:
        InputError: no vote of the run has a distribution.
    """
    logs = np.log(np.maximum(with_logprobs(run, "calibrated"), FLOOR))
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

    def count(ballots: Ballots) -> Shares:
        rotations = [None] * len(ballots.persona_of) if ballots.rotation_of is None else ballots.rotation_of.tolist()
        bias = []
        for number, rotation in zip(ballots.persona_of.tolist(), rotations, strict=True):
            persona_id = ballots.persona_ids[number]
            finest = [(persona_id, rotation), (persona_id, None), (None, None)]
            bias.append(next(means[place] for place in finest if place in means))
        return _averaged(ballots, np.log(np.maximum(with_logprobs(ballots, "calibrated"), FLOOR)) - np.array(bias))

    return count


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
    """The mean of each document's answers, as shares; NaN where none has a distribution."""
    read = ~np.isnan(logs[:, 0])
    document_of = ballots.document_of[read]
    summed = np.zeros((ballots.num_documents, len(ballots.labels)))
    np.add.at(summed, document_of, logs[read])
    answers = np.bincount(document_of, minlength=ballots.num_documents)[:, None]
    scores = np.divide(summed, answers, out=np.full(summed.shape, np.nan), where=answers > 0)
    if ballots.priors is not None:
        scores += np.log([ballots.priors[label] for label in ballots.labels])
    shares: Shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return shares
