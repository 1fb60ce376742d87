"""How often the figures that rest on an audit hold: simulated audits of piles whose truth is known.

Estimates and their intervals, the error that `--max-error` keeps, the threshold of a cascade, the alarm of drift.
Reads nothing; benchmarks/workloads/audits.py draws.
"""

from collections.abc import Iterator

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads import audits
from xpoll.core.progress import say
from xpoll.votes.review.max_error import ErrorTarget


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record per figure and setting; of estimates one per label."""
    repeats, texts, shares = parameters["audits"], parameters["texts"], parameters["label_shares"]
    for spoiled in parameters["spoiled"]:
        for size in parameters["audit_sizes"]:
            say(f"{repeats} audits of {size} rows, {100 * spoiled:.0f} % of votes spoiled: estimate")
            yield from audits.estimates(repeats, size, texts, shares, spoiled)
        target = ErrorTarget(parameters["max_error"], 0.95)
        say(f"{repeats} audits of {parameters['max_error_size']} rows, {100 * spoiled:.0f} % spoiled: max error")
        yield audits.max_errors(repeats, parameters["max_error_size"], texts, shares, spoiled, target)
    for gold_rows in parameters["gold_rows"]:
        say(f"{repeats} sets of {gold_rows} gold rows: cascade and drift")
        yield from audits.cascades(repeats, gold_rows, parameters["cascade_target"])
        rows, batch = parameters["drift_rows"], parameters["drift_batch"]
        yield from audits.drifts(repeats, gold_rows, rows, batch, len(shares))
