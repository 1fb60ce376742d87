"""`xpoll personas`: `expand` makes more personas, `dedup` takes out duplicates, `sample` draws a stated mix."""

import argparse
import json
from pathlib import Path
from typing import Any

from xpoll.core.errors import ConfigError, InputError
from xpoll.scripts.arguments import add_address, add_set


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What is done, then its input and its output."""
    actions = command.add_subparsers(dest="action", required=True, metavar="expand|dedup|sample")
    _add_expand(_action(actions, "expand", "personas from texts or from other personas, by a model; resumes"))
    _add_dedup(_action(actions, "dedup", "take out duplicates and near-duplicates, of any number of personas"))
    _add_sample(_action(actions, "sample", "draw personas, with stated shares of age, region, occupation ..."))


def _action(actions: Any, name: str, about: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = actions.add_parser(name, help=about, description=about)
    made.add_argument("source", help="file of personas: JSONL, CSV or Parquet with a column `persona`")
    made.add_argument("output", type=Path, help="file to write, .jsonl")
    made.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print machine-readable results")
    return made


def _add_expand(action: argparse.ArgumentParser) -> None:
    action.add_argument("--count", type=int, required=True, help="how many personas to ask for")
    action.add_argument(
        "--texts", action="store_true", help="SOURCE holds texts, in a column `text`: who would write or read each?"
    )
    add_address(action)
    add_set(action, "SECTION.KEY=VALUE", "set a config key, e.g. engine.model=...")


def _add_dedup(action: argparse.ArgumentParser) -> None:
    action.add_argument("--text-column", default="persona", help="column that holds the persona (default: persona)")
    action.add_argument("--similarity", type=float, default=0.7, help="Jaccard similarity of shingles (default: 0.7)")
    action.add_argument("--embeddings", action="store_true", help="compare what is left by embeddings, too; slow")
    action.add_argument("--near", type=float, default=0.9, help="cosine similarity of embeddings (default: 0.9)")


def _add_sample(action: argparse.ArgumentParser) -> None:
    action.add_argument("--count", type=int, required=True, help="how many personas to draw")
    action.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    action.add_argument(
        "--marginal",
        action="append",
        default=[],
        metavar="COLUMN:VALUE=SHARE,...",
        help='wanted shares of a column, e.g. "age:18-39=0.4,40+=0.6"; may be given several times',
    )


def call(parsed: argparse.Namespace) -> int:
    """Does it, and prints what became of the personas."""
    found: dict[str, Any]
    found, lines = {"expand": _expand, "dedup": _dedup, "sample": _sample}[parsed.action](parsed)
    if parsed.json:
        print(json.dumps({"action": parsed.action, "output": str(parsed.output), **found}))
        return 0
    for line in (*lines, f"wrote {parsed.output}"):
        print(line)
    return 0


Result = tuple[dict[str, Any], list[str]]


def _dedup(parsed: argparse.Namespace) -> Result:
    from xpoll.personas.deduplication.deduplicate import deduplicate

    for name in ("similarity", "near"):
        if not 0.5 <= getattr(parsed, name) <= 1:
            raise ConfigError(f"--{name} must be from 0.5 to 1, got {getattr(parsed, name):g}")
    found = deduplicate(
        parsed.source,
        parsed.output,
        text_column=parsed.text_column,
        similar=parsed.similarity,
        embeddings=parsed.embeddings,
        near=parsed.near,
    )
    return found._asdict(), found.lines()


def _sample(parsed: argparse.Namespace) -> Result:
    from xpoll.core.config.synthesis import check_marginals
    from xpoll.personas.marginals import draw_by_marginals
    from xpoll.personas.persona_file import sample_personas, write_personas

    if parsed.count < 1:
        raise ConfigError(f"--count must be at least 1, got {parsed.count}")
    marginals = dict(map(_marginal, parsed.marginal))
    if not marginals:
        sample = sample_personas(parsed.source, most=parsed.count, seed=parsed.seed)
        write_personas(parsed.output, [each.persona for each in sample.personas])
        drawn = len(sample.personas)
        return {"drawn": drawn, "read": sample.read}, [f"{drawn} of {sample.read - sample.skipped} personas"]
    try:
        check_marginals(marginals, "--marginal")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    mix = draw_by_marginals(parsed.source, marginals, number=parsed.count, seed=parsed.seed)
    write_personas(parsed.output, [each.persona for each in mix.personas])
    figures = {"drawn": len(mix.personas), "read": mix.read, "wanted": mix.wanted, "reached": mix.reached}
    return figures, [f"{len(mix.personas)} of {mix.read} personas", *mix.lines()]


def _marginal(given: str) -> tuple[str, dict[str, float]]:
    column, _, shares = given.partition(":")
    try:
        pairs = [each.rpartition("=") for each in shares.split(",")]
        return column, {value.strip(): float(share) for value, _, share in pairs}
    except ValueError as error:
        raise ConfigError(
            f"--marginal {given!r} is not of the form COLUMN:VALUE=SHARE,...", mend='--marginal "age:18-39=0.4,40+=0.6"'
        ) from error


def _expand(parsed: argparse.Namespace) -> Result:
    from xpoll.core.config.file import apply_overrides, checked_config
    from xpoll.core.config.job import Config
    from xpoll.personas.persona_file import noun_phrase, write_personas
    from xpoll.pipeline.synthesize import synthesize
    from xpoll.synthesis.texts import read_texts
    from xpoll.synthesis.wording import synthesis_lines

    if parsed.output.suffix != ".jsonl":
        raise InputError(f"{parsed.output} is no .jsonl file", mend="name an output like personas.jsonl")
    key, template = ("texts", "text_to_persona") if parsed.texts else ("persona_file", "persona_to_persona")
    asked = {"count": parsed.count, "templates": [template], key: parsed.source}
    raw: dict[str, Any] = {"job": {"run_folder": f"{parsed.output}.run"}, "synthesis": asked}
    apply_overrides(raw, [*parsed.set, *([f"engine.address={parsed.address}"] if parsed.address else [])])
    found = synthesize(checked_config(Config, raw, mend="use --set"))
    write_personas(parsed.output, (noun_phrase(text.text) for text in read_texts(found.folder.synthesized, kept=True)))
    figures = {"asked": found.figures.asked, "kept": found.figures.kept, "run_folder": str(found.folder.path)}
    return figures, synthesis_lines(found.figures)
