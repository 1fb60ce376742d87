"""Which vote methods there are. To add one: a file with a function from `Ballots` to `Shares`, a line in METHODS."""

from xpoll.core.config.file import nearest
from xpoll.core.errors import ConfigError
from xpoll.votes.methods.calibration import calibrated, contextual, kept_bias, kept_probes
from xpoll.votes.methods.counting import confidence_weighted, majority
from xpoll.votes.methods.crowd import dawid_skene, glad, mace
from xpoll.votes.methods.label_probabilities import calibrated_probabilities, mean_probabilities
from xpoll.votes.methods.method import VoteMethod
from xpoll.votes.methods.pooled import kept_pool, pooled
from xpoll.votes.methods.posterior import posterior
from xpoll.votes.methods.reliability import reliability_weighted

METHODS: dict[str, VoteMethod] = {
    "majority": VoteMethod(majority, of_sets=mean_probabilities, counts_alone=True),
    "confidence_weighted": VoteMethod(confidence_weighted, needs_logprobs=True, counts_alone=True),
    "calibrated": VoteMethod(calibrated, needs_logprobs=True, of_sets=calibrated_probabilities, kept=kept_bias),
    "pooled": VoteMethod(pooled, needs_logprobs=True, learns_from_known=True, scales_by_known=True, kept=kept_pool),
    "contextual": VoteMethod(contextual, needs_logprobs=True, needs_content_free=True, kept=kept_probes),
    "reliability_weighted": VoteMethod(reliability_weighted, learns_from_known=True),
    "posterior": VoteMethod(posterior, learns_from_known=True),
    "dawid_skene": VoteMethod(dawid_skene, most_votes=1_000_000),
    "mace": VoteMethod(mace, most_votes=300_000),
    "glad": VoteMethod(glad, most_votes=10_000),
}
"""Name, as `vote.method` has it, to everything that is known of the method; in the order of a comparison."""


def method_of(name: str) -> VoteMethod:
    """The method of that name.

    Raises:
        ConfigError: there is none; the nearest one is named.
    """
    if name not in METHODS:
        mend = nearest(name, list(METHODS)).replace("known keys", "known methods")
        raise ConfigError(f"vote.method: unknown method {name!r}", mend=mend)
    return METHODS[name]
