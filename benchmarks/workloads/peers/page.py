"""docs/peers.md from the records of the suite `peers`: tables, where a peer wins, what did not run, exact commands."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from xpoll.benchmarks.workloads.peers.arms import Arm, find_arms
from xpoll.benchmarks.workloads.peers.faults import FAULTS
from xpoll.benchmarks.workloads.peers.tables import OURS, best_of, medians
from xpoll.core.formatting import number, percent

PARTS = {
    "in_process": "Peers that compute themselves, from the command to the last answer, start included.",
    "endpoint": "Peers in front of one vLLM server with the engine arguments that xpoll sets; the server's start and a "
    "warm-up are left out, its prefix cache is emptied before each run.",
    "mock": "The same in front of an endpoint that answers after a set time whatever is asked: what the client costs.",
}
SHAPES = {
    "reasons": "three answers with a reason, 3 labels",
    "label3": "one label of 3",
    "label77": "one label of 77",
}
LESS_IS_BETTER = {"first_answer_s": "first answer on disk", "memory_mib": "memory"}
Records = Sequence[Mapping[str, Any]]


def peers_page(documents: Sequence[Mapping[str, Any]]) -> str:
    """The page of documents of the suite, as Markdown; a whole race takes hours, so its parts may be run apart.

    Args:
        documents: As `xpoll bench peers` writes them, one or more.
    """
    records: Records = [record for document in documents for record in document["records"]]
    parts = [*_head(documents)]
    for part, what in PARTS.items():
        of_part = [record for record in records if record["part"] == part]
        for shape in dict.fromkeys(record["shape"] for record in of_part):
            parts += _race(part, what, shape, [record for record in of_part if record["shape"] == shape])
    parts += _faults([record for record in records if record["part"] == "faults"])
    parts += _did_not_run(records)
    parts += _commands(documents, records)
    return "\n".join(parts).rstrip() + "\n"


def _head(documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from (
        "# xpoll beside its peers",
        "",
        "Made by `python -m xpoll.scripts.dev.pages` from `benchmarks/baselines/peers*.json`, the records of",
        "`xpoll bench peers` ([measuring](howto/benchmarks.md)). Each figure is the median, with the range behind it",
        "where there is more than one run. Times count from the command; memory is the most that all processes of a",
        "peer held at a time, shared pages divided among them.",
        *([""] if documents else []),
    )
    for document in documents:
        environment, parameters = document["environment"], document["parameters"]
        packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
        note = f" **{parameters['note']}**" if parameters.get("note") else ""
        yield (
            f"* {', '.join(parameters['parts']).replace('_', ' ')}: {document['started_utc']}, {environment['cores']} "
            f"cores of {environment['processor']}, {environment['memory_gib']} GiB; commit {environment['commit']}"
            f"{', changed since' if environment['dirty'] else ''}; {parameters['sentences']} sentences, "
            f"{parameters['repeats']} repeats in turn, {parameters['model']}, at most {parameters['in_flight']} "
            f"requests at a time; xpoll's own environment has {packages}.{note}"
        )
    yield ""


def _race(part: str, what: str, shape: str, records: Records) -> Iterator[str]:
    runs = [record for record in records if record.get("repeat") is not None and record["status"] == "ok"]
    labels = {record["arm"]: record for record in records if record.get("role") == "labels"}
    if not runs:
        return
    yield from (f"## {part.replace('_', ' ').capitalize()}: {SHAPES[shape]}", "", what, "")
    whole = [arm for arm in _arms_in(runs) if _is_same_work(runs, arm)]
    yield from _table(
        "Same work: the same prompts and sampling, all answers.",
        ["", "documents/s", "all, s", "first answer, s", "memory, MiB", "unreadable", "missing", "doubled"],
        [[_code(arm), *(_figure(runs, arm, name) for name in SAME_WORK_FIGURES)] for arm in _by_rate(runs, whole)],
    )
    if labels:
        yield from _table(
            f"Same result, by any means: labels as the full majority of `{next(iter(labels.values()))['reference']}` "
            "(its own row: as its next repeat), or no less accurate.",
            ["", "documents/s", "sentences", "agreement", "accuracy", "same result"],
            [
                [
                    _code(arm),
                    *(_figure(runs, arm, name) for name in ("documents_per_s", "sentences")),
                    percent(labels.get(arm, {}).get("agreement"), none=""),
                    percent(medians(runs, "accuracy").get(arm), none=""),
                    "yes" if labels.get(arm, {}).get("same_result") else "no",
                ]
                for arm in _by_rate(runs, _arms_in(runs))
            ],
        )
    yield from _wins(runs, whole)


SAME_WORK_FIGURES = ("documents_per_s", "wall_s", "first_answer_s", "memory_mib", "unparsable", "missing", "doubled")


def _wins(runs: Records, whole: Sequence[str]) -> Iterator[str]:
    """Where a peer is ahead of xpoll at the same work, and where none is."""
    of_whole = [record for record in runs if record["arm"] in whole]
    lines = []
    for name, what in {"documents_per_s": "documents per second", **LESS_IS_BETTER}.items():
        found = medians(of_whole, name)
        sign = -1.0 if name in LESS_IS_BETTER else 1.0
        ranked = {arm: sign * value for arm, value in found.items()}
        ours = best_of(ranked, lambda arm: arm.startswith(OURS))
        theirs = best_of(ranked, lambda arm: not arm.startswith(OURS))
        if ours is None or theirs is None:
            continue
        ahead = "a peer wins" if ranked[theirs] > ranked[ours] else "xpoll is ahead"
        lines.append(f"* {what}: {ahead}, `{theirs}` {number(found[theirs])} against {number(found[ours])} of `{ours}`")
    if lines:
        yield from ("Where a peer wins:", "", *lines, "")


def _faults(records: Records) -> Iterator[str]:
    done = [record for record in records if record.get("status") == "ok"]
    if not done:
        return
    yield from (
        "## In trouble",
        "",
        "A peer that ends with an error is given the same command again, at most three times in all. Rows asked twice",
        "are counted at the endpoint, by the answers that it delivered; for peers that compute themselves by the",
        "answers that were on disk and came again.",
        "",
    )
    for fault, what in FAULTS.items():
        rows = [record for record in done if record["role"] == fault]
        yield from _table(
            f"{fault.capitalize()}: {what}",
            ["", "rows lost", "asked twice", "all, s", "times undisturbed", "memory, MiB", "commands", "gave up"],
            [
                [
                    _code(record["arm"]),
                    *(
                        number(record.get(name), none="")
                        for name in (
                            "rows_lost",
                            "asked_twice",
                            "wall_s",
                            "times_undisturbed",
                            "memory_mib",
                            "sessions",
                        )
                    ),
                    "yes" if record["gave_up"] else "no",
                ]
                for record in rows
            ],
        )


def _did_not_run(records: Records) -> Iterator[str]:
    failed = [record for record in records if record.get("status") == "failed"]
    if not failed:
        return
    yield from ("## What did not run", "", "| part | | why |", "|---|---|---|")
    for record in failed:
        part = ", ".join(filter(None, [record["part"].replace("_", " "), record["shape"], record.get("role", "")]))
        why = record["error"].replace("|", "\\|").replace("<", "\\<")
        yield f"| {part} | {_code(record['arm'])} | {why} |"
    yield ""


def _commands(documents: Sequence[Mapping[str, Any]], records: Records) -> Iterator[str]:
    versions = {record["arm"]: record["version"] for record in records if record.get("version")}
    yield from (
        "## Commands",
        "",
        *(
            ["```bash", *map(_command, documents), "```"]
            if documents
            else ["`xpoll bench peers`; nothing is measured yet."]
        ),
        "",
        "Each peer is `PYTHON benchmarks/peers/NAME/run.py FOLDER`, with the Python of an environment that holds",
        "`benchmarks/peers/NAME/requirements.txt`; where there is no such file, xpoll's own. The folder has the job:",
        "`job.json`, `prompts.jsonl` and, for xpoll, `job.toml`.",
        "",
    )
    yield from _table("", ["", "version", "what"], [_described(arm, versions) for arm in find_arms()])


def _command(document: Mapping[str, Any]) -> str:
    changed = {name: value for name, value in document["changed"].items() if name != "note"}
    return "xpoll bench peers" + "".join(f" --set 'parameters.{key}={_toml(value)}'" for key, value in changed.items())


def _described(arm: Arm, versions: Mapping[str, str]) -> list[str]:
    return [_code(arm.name), versions.get(arm.name, "not run"), f"{arm.peer.about}; {arm.about}".replace("|", "\\|")]


def _table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    if caption:
        yield from (caption, "")
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _arms_in(runs: Records) -> list[str]:
    return list(dict.fromkeys(record["arm"] for record in runs))


def _is_same_work(runs: Records, arm: str) -> bool:
    return all(record["same_work"] for record in runs if record["arm"] == arm)


def _by_rate(runs: Records, arms: Iterable[str]) -> list[str]:
    rates = medians(runs, "documents_per_s")
    return sorted(arms, key=lambda arm: -rates[arm])


def _figure(runs: Records, arm: str, name: str) -> str:
    values = [float(record[name]) for record in runs if record["arm"] == arm and record.get(name) is not None]
    if not values:
        return ""
    spread = f" ({number(min(values))} to {number(max(values))})" if min(values) != max(values) else ""
    return number(median(values)) + spread


def _code(name: str) -> str:
    return f"`{name}`"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)
