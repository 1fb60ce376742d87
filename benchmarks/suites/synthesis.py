"""Texts that personas write: gates, personas at scale, what personas add in diversity, and the circle to a student."""

import csv
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess, peak_memory_mib
from xpoll.benchmarks.workloads.example_job import EXAMPLE
from xpoll.benchmarks.workloads.labelled_sets import labelled_set
from xpoll.benchmarks.workloads.planted_personas import write_planted
from xpoll.benchmarks.workloads.planted_texts import FLAWS, plant_texts
from xpoll.benchmarks.workloads.synthesis_circle import measure_circle, measure_diversity
from xpoll.core.errors import ConfigError
from xpoll.core.progress import say
from xpoll.synthesis.gates.gate import Candidate
from xpoll.synthesis.gates.registry import checks_of, problem_of
from xpoll.synthesis.template import load_templates

LABELS = ("card_arrival", "cash_withdrawal", "lost_or_stolen_phone")
"""Labels of the planted leaks, whose names stand in none of the example's texts."""
MAY_STOP_PEOPLE = ("duplicates", "near_duplicates", "leakage")
"""Gates that rightly take out texts of people: some wrote the same, and some named what they asked about."""


def measure(parameters: Parameters) -> Iterator[Record]:
    """The parts that are wanted."""
    parts = {
        "gates": measure_gates,
        "personas": measure_personas,
        "diversity": measure_diversity,
        "circle": measure_circle,
    }
    for name in parameters["parts"]:
        for record in parts[name](parameters):
            yield {"part": name, **record}


def example_texts() -> list[str]:
    """The texts of the example, which are written by people's hand and differ from each other."""
    found = []
    for name in ("documents.csv", "gold.csv"):
        with (EXAMPLE / name).open(encoding="utf-8", newline="") as file:
            found += [row["text"] for row in csv.DictReader(file)]
    return found


def measure_gates(parameters: Parameters) -> Iterator[Record]:
    """Of each gate how many planted texts it or another one found; then what gates take out of texts of people."""
    (template,) = load_templates(["labelled_text"])
    checks = checks_of({"language": True}, list(LABELS))
    planted, found, by_own, passed = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    clean = example_texts()
    for text in plant_texts(clean, LABELS, template, each=parameters["planted_each"], seed=parameters["seed"]):
        problem = problem_of(text.candidate, checks)
        gate = problem and problem.partition(":")[0]
        if text.gate is None:
            passed[gate or ""] += 1
            continue
        planted[text.gate] += 1
        found[text.gate] += gate is not None
        by_own[text.gate] += gate == text.gate
    for name in FLAWS:
        yield {"arm": name, "planted": planted[name], "found": found[name], "found_by_this_gate": by_own[name]}
    yield {"arm": "all gates", "least_found_share": min(found[name] / planted[name] for name in FLAWS)}
    yield {"arm": "the example's texts", **_taken_out(passed, len(clean))}
    try:
        people = labelled_set(parameters["data"], "banking77", "train", rows=parameters["people_rows"], seed=0)
    except ConfigError as error:
        say(f"texts of BANKING77 are left out: {error}")
        return
    checks, passed = checks_of({"language": True}, people.labels), Counter()
    for number, (text_of_person, label) in enumerate(zip(people.texts, people.named(people.truth), strict=True)):
        candidate = Candidate(f"{number}", text_of_person, label, template, "", "stop", 0)
        passed[(problem_of(candidate, checks) or "").partition(":")[0]] += 1
    yield {"arm": "BANKING77", **_taken_out(passed, len(people.texts))}


def _taken_out(passed: Counter[str], texts: int) -> Record:
    wrong = sum(n for gate, n in passed.items() if gate and gate not in MAY_STOP_PEOPLE)
    return {
        "texts": texts,
        "false_alarm_share": wrong / texts,
        **{f"stopped_by_{g}": n for g, n in passed.items() if g},
    }


def measure_personas(parameters: Parameters) -> Iterator[Record]:
    """Time, memory, recall and precision of a de-duplication by shingles, and of a smaller one by embeddings, too."""
    for number, embeddings in ((parameters["personas"], False), (parameters["embedded_personas"], True)):
        if not number:
            continue
        with TemporaryDirectory() as folder:
            source, output = Path(folder) / "personas.jsonl", Path(folder) / "kept.jsonl"
            planted = write_planted(source, number, seed=parameters["seed"])
            say(f"{number} personas are written; they are de-duplicated now")
            record = call_in_subprocess(deduplicate_once, str(source), str(output), embeddings)
            found = planted.found(output, by_meaning=embeddings)
            yield {"arm": "and embeddings" if embeddings else "shingles", **record, **found._asdict()}


def deduplicate_once(source: str, output: str, embeddings: bool) -> Record:
    """Figures of one de-duplication, in the process that calls it."""
    from xpoll.personas.deduplication.deduplicate import deduplicate

    begun_s, begun_cpu_s = time.monotonic(), time.process_time()
    found = deduplicate(source, Path(output), embeddings=embeddings)
    return {
        "personas": found.read,
        "kept": found.kept,
        "compared_pairs": found.compared,
        "wall_s": round(time.monotonic() - begun_s, 1),
        "cpu_s": round(time.process_time() - begun_cpu_s, 1),
        "peak_memory_mib": peak_memory_mib(),
    }
