"""Dawid-Skene, MACE and GLAD, computed by crowd-kit; each knows a persona by all its answers.

crowd-kit loads pandas and scikit-learn, so it is imported when one of these methods is used. It takes
answers to be independent of each other: samples of one model are not, and where they agree these
methods are surer than they should be (see `posterior`). None of them is for millions of votes.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from xpoll.core.errors import ConfigError
from xpoll.votes.ballots import Ballots, Shares

ITERATIONS = 100


def dawid_skene(ballots: Ballots) -> Shares:
    """Learns how often each persona takes one label for another, and how frequent the labels are.

    Source: Dawid and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM
    Algorithm", Applied Statistics 28 (1979).
    """
    return _fitted(ballots, lambda: _crowd_kit().DawidSkene(n_iter=ITERATIONS))


def mace(ballots: Ballots) -> Shares:
    """Learns how often each persona knows the answer, and what it says when it does not.

    Source: Hovy et al., "Learning Whom to Trust with MACE", NAACL 2013.
    """
    return _fitted(ballots, lambda: _mace_from_an_even_start(_crowd_kit().MACE))


def glad(ballots: Ballots) -> Shares:
    """Learns how able each persona and how hard each document is.

    Source: Whitehill et al., "Whose Vote Should Count More", NIPS 2009.
    """
    return _fitted(ballots, lambda: _crowd_kit().GLAD(n_iter=ITERATIONS))


def _crowd_kit() -> Any:
    try:
        from crowdkit import aggregation
    except ImportError as error:
        raise ConfigError(
            f"dawid_skene, mace and glad need crowd-kit, which cannot be imported: {error}",
            mend="pip install --no-deps -r requirements/cpu.txt, or use vote.method = 'posterior'",
        ) from error
    return aggregation


def _mace_from_an_even_start(mace_class: Any) -> Any:
    """MACE that starts with no persona and no label ahead: a drawn start would decide ties by chance.

    One start is enough, as crowd-kit draws each of its restarts from the same seed.
    """

    class EvenMace(mace_class):  # type: ignore[misc]
        def _initialize(self, n_workers: int, n_labels: int) -> None:
            super()._initialize(n_workers, n_labels)
            self.spamming_ = np.full((n_workers, 2), 0.5)
            self.thetas_ = np.full((n_workers, n_labels), 1 / n_labels)

    return EvenMace(n_restarts=1)


def _fitted(ballots: Ballots, make: Callable[[], Any]) -> Shares:
    shares = np.full((ballots.num_documents, len(ballots.labels)), np.nan)
    voted = np.unique(ballots.document_of)
    named = np.unique(ballots.label_of)
    if len(named) < 2:  # crowd-kit divides by the number of other labels
        shares[voted] = 0.0
        shares[np.ix_(voted, named)] = 1.0
        return shares
    model = make()
    import pandas as pd

    order = np.lexsort((ballots.label_of, ballots.persona_of, ballots.document_of))
    columns = {"task": ballots.document_of, "worker": ballots.persona_of, "label": ballots.label_of}
    answers = pd.DataFrame({name: column[order] for name, column in columns.items()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # crowd-kit's calls of pandas, thousands of them
        fitted = model.fit_predict_proba(answers).reindex(index=voted, columns=named).to_numpy(float)
    shares[voted] = 0.0
    shares[np.ix_(voted, named)] = fitted / fitted.sum(1, keepdims=True)
    return shares
