"""What the runs of a race say together: rates and memory against the best peer, labels against the full majority."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from xpoll.benchmarks.runner.records import Record
from xpoll.benchmarks.workloads.peers.outcome import agreement_of

AGREES = 0.99
"""Share of texts with the full majority's label from which on a result is the same."""
OURS = "xpoll_"
RAY_DATA = "ray_data_"
PUBLISHED = "vllm_llm/published"

Labels = Mapping[tuple[str, int], Mapping[str, str | None]]
"""Label of each row, by arm and repeat."""


def label_records(records: Sequence[Record], labels: Labels, references: Sequence[str]) -> Iterator[Record]:
    """One record per arm: how its labels agree with the full majority, and whether its result is the same.

    The reference is held against its own next repeat: answers are drawn, so two full majorities differ, too.

    Args:
        records: Of the runs.
        labels: Of the runs.
        references: Arms whose labels are the full majority; the first that was run counts.
    """
    accuracies = medians(records, "accuracy")
    reference = next((name for name in references if name in accuracies), None)
    if reference is None:
        return
    repeats = sorted(repeat for arm, repeat in labels if arm == reference)
    for arm, accuracy in accuracies.items():
        shift = 1 if arm == reference else 0
        pairs = [(labels.get((arm, each + shift), {}), labels[reference, each]) for each in repeats]
        found = [value for pair in pairs if (value := agreement_of(*pair)) is not None]
        agreement = round(median(found), 4) if found else None
        agrees = arm == reference or (agreement is not None and agreement >= AGREES)
        record: Record = {"arm": arm, "role": "labels", "reference": reference}
        if agreement is not None:
            record["agreement"] = agreement
        yield {**record, "same_result": agrees or accuracy >= accuracies[reference]}


def ratio_records(records: Sequence[Record], said: Sequence[Record], part: str) -> Iterator[Record]:
    """Rates and memory of xpoll against the best peer at the same work, and at the same result by any means.

    Figures have the part before their name, so that each can have a bound of its own.

    Args:
        records: Of the runs.
        said: As `label_records` yields them; without them only the same work is compared.
        part: Of the suite.
    """
    same = [record for record in records if record["same_work"] and not record.get("missing")]
    rates, memory, first_s = (medians(same, name) for name in ("documents_per_s", "memory_mib", "first_answer_s"))
    ours = best_of(rates, lambda arm: arm.startswith(OURS))
    best = best_of(rates, lambda arm: not arm.startswith(OURS))
    if ours is not None and best is not None:
        record = {
            "arm": f"{ours} against {best}",
            "role": "same work",
            f"{part}_share_of_best_peer": round(rates[ours] / rates[best], 4),
            f"{part}_memory_of_best_peer": round(memory[ours] / memory[best], 4),
        }
        if ours in first_s and best in first_s:
            record[f"{part}_first_answer_of_best_peer"] = round(first_s[ours] / first_s[best], 4)
        yield record
    ray_data = best_of(rates, lambda arm: arm.startswith(RAY_DATA))
    if ours is not None and ray_data is not None:
        share = round(rates[ours] / rates[ray_data], 4)
        yield {"arm": f"{ours} against {ray_data}", "role": "same work", f"{part}_share_of_ray_data": share}
    yield from _any_means(medians(records, "documents_per_s"), best, said, part)


def _any_means(rates: Mapping[str, float], best: str | None, said: Sequence[Record], part: str) -> Iterator[Record]:
    same = {record["arm"] for record in said if record["same_result"]}
    ours = best_of(rates, lambda arm: arm.startswith(OURS) and arm in same)
    if ours is None:
        return
    for other, name in ((best, "same_result_of_best_peer"), (PUBLISHED, "same_result_of_published")):
        if other in rates:
            yield {
                "arm": f"{ours} against {other}",
                "role": "same result",
                f"{part}_{name}": round(rates[ours] / rates[str(other)], 4),
            }


def trouble_record(records: Sequence[Record], killed: str) -> Record | None:
    """What faults cost xpoll, over all of its arms; None where none met one.

    Args:
        records: As `fault_records` yields them.
        killed: Name of the fault whose time counts.
    """
    ours = [record for record in records if record["arm"].startswith(OURS) and record["status"] == "ok"]
    if not ours:
        return None
    record: Record = {
        "arm": "xpoll",
        "role": "in trouble",
        "xpoll_rows_lost": sum(each["rows_lost"] for each in ours),
        "xpoll_asked_twice": sum(each["asked_twice"] for each in ours),
    }
    if times := [each["times_undisturbed"] for each in ours if each["role"] == killed]:
        record["xpoll_times_undisturbed"] = max(times)
    return record


def medians(records: Sequence[Mapping[str, Any]], figure: str) -> dict[str, float]:
    """Median of a figure by arm, of the runs that have it, in their order."""
    values: dict[str, list[float]] = {}
    for record in records:
        if record.get("status") == "ok" and record.get(figure) is not None:
            values.setdefault(record["arm"], []).append(float(record[figure]))
    return {arm: median(found) for arm, found in values.items()}


def best_of(rates: Mapping[str, float], counts: Callable[[str], bool]) -> str | None:
    """The arm with the highest rate of those that count; None where none does."""
    able = [arm for arm in rates if counts(arm)]
    return max(able, key=lambda arm: rates[arm]) if able else None
