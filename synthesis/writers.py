"""Who writes, and what templates that begin with a text are given: drawn once, and kept beside a run's answers.

A run that resumes asks the same of the same, whatever has become of the files that it began with.
"""

import heapq
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.config.job import Config
from xpoll.core.config.synthesis import SynthesisConfig
from xpoll.core.errors import ConfigError
from xpoll.core.files import read_json, write_json, write_table
from xpoll.core.progress import say
from xpoll.core.tables.readers import stream_rows
from xpoll.personas.marginals import draw_by_marginals
from xpoll.personas.persona import Persona, library_names, load_panel
from xpoll.personas.persona_file import sample_personas
from xpoll.synthesis.drawing import Draw
from xpoll.synthesis.figures import ValueShare
from xpoll.synthesis.template import Template, load_templates, template_of

Shares = dict[str, dict[str, ValueShare]]
"""Column of a persona file to its values."""
LONGEST_TEXT = 4000
"""Characters of a text that a template shows at most."""


def check_templates(config: Config) -> list[Template]:
    """The templates of a job, which fit what it gives them.

    Raises:
        UserError: a template cannot be used, or the job lacks labels or texts that one needs.
    """
    templates = load_templates(config.synthesis.templates)
    for template in templates:
        if template.header.labelled and not config.task.labels:
            raise ConfigError(
                f"task.labels is missing: {template.name} writes texts for labels", mend="add [task] with labels"
            )
        if template.header.source == "text" and not config.synthesis.texts:
            raise ConfigError(f"synthesis.texts is missing: {template.name} begins with a text")
    return templates


class Drawn(NamedTuple):
    """What is drawn at the beginning of a run: templates, who writes, and what templates that begin with a text get.

    `marginals` are those of a persona file's personas, empty without `synthesis.marginals`.
    """

    templates: list[Template]
    personas: list[Persona]
    texts: list[str]
    marginals: Shares


def draw_now(config: Config) -> Drawn:
    """What a run that begins is drawn from; writes nothing.

    Raises:
        UserError: a template, a persona or a file cannot be used.
    """
    templates = check_templates(config)
    personas, marginals = draw_personas(config.synthesis, seed=config.job.seed)
    texts = draw_texts(config.synthesis, seed=config.job.seed) if config.synthesis.texts else []
    return Drawn(templates, personas, texts, marginals)


def is_drawn(folder: Path) -> bool:
    """Whether `synthesis` of a run folder holds what the run was drawn from."""
    return (folder / "draw.json").exists()


def write_drawn(drawn: Drawn, folder: Path) -> None:
    """Writes it into `synthesis` of a run folder, where `read_draw` finds it.

    Raises:
        RunFolderError: it cannot be written.
    """
    columns = {name: [getattr(each, name) for each in drawn.personas] for name in ("persona_id", "persona", "source")}
    write_table(folder / "personas.parquet", pa.table(columns))
    write_table(folder / "texts.parquet", pa.table({"text": pa.array(drawn.texts, pa.string())}))
    held = {
        "schema_version": 1,
        "templates": {template.name: template.content for template in drawn.templates},
        "marginals": {
            column: {value: share.model_dump() for value, share in values.items()}
            for column, values in drawn.marginals.items()
        },
    }
    write_json(folder / "draw.json", held)


def read_draw(config: Config, folder: Path) -> Draw:
    """What the rows of a run are drawn from.

    Args:
        config: The job.
        folder: `synthesis` of its run folder, where `write_drawn` wrote.
    """
    held = read_json(folder / "draw.json")
    templates = [template_of(name, content) for name, content in held["templates"].items()]
    rows = pq.read_table(folder / "personas.parquet").to_pylist()
    personas = [Persona(row["persona_id"], row["persona"], source=row["source"]) for row in rows]
    texts = pq.read_table(folder / "texts.parquet").column("text").to_pylist()
    return Draw(templates, personas, texts, list(config.task.labels), config.job.seed)


def read_marginals(folder: Path) -> Shares:
    """The marginals of the personas that write, from where `write_drawn` wrote them."""
    held = read_json(folder / "draw.json").get("marginals", {})
    return {c: {v: ValueShare.model_validate(share) for v, share in values.items()} for c, values in held.items()}


def draw_personas(synthesis: SynthesisConfig, *, seed: int) -> tuple[list[Persona], Shares]:
    """Who writes, in the order in which they do, and their marginals; of a file as many as there can be texts.

    Raises:
        InputError: a persona or the file cannot be used.
    """
    named = load_panel(synthesis.personas)
    if synthesis.persona_file is None:
        return named or load_panel(library_names()), {}
    most = synthesis.count * synthesis.rounds
    if synthesis.marginals:
        mix = draw_by_marginals(synthesis.persona_file, synthesis.marginals, number=most, seed=seed)
        for line in mix.lines():
            say(line)
        shares = {
            column: {v: ValueShare(wanted=share, reached=mix.reached[column][v]) for v, share in values.items()}
            for column, values in mix.wanted.items()
        }
        return [*named, *mix.personas], shares
    sample = sample_personas(synthesis.persona_file, most=most, seed=seed)
    if sample.skipped:
        lines = f"{sample.skipped} of {sample.read} lines of {synthesis.persona_file}"
        say(f"synthesis.persona_file: {lines} hold no persona and are skipped; {sample.first_problem}")
    return [*named, *sample.personas], {}


def draw_texts(synthesis: SynthesisConfig, *, seed: int) -> list[str]:
    """As many texts of `synthesis.texts` as can be needed: a uniform draw that the order of the rows does not change.

    Raises:
        InputError: the file cannot be read, or holds no text.
    """
    rows = stream_rows(str(synthesis.texts), key="synthesis.texts", needs=("text",))
    found = (row.values["text"] for row in rows if row.problem is None)
    texts = (text.strip()[:LONGEST_TEXT] for text in found if isinstance(text, str) and text.strip())
    key = str(seed).encode()[:64]
    ranked = ((blake2b(text.encode(), digest_size=8, key=key).digest(), text) for text in texts)
    drawn = [text for _, text in heapq.nsmallest(synthesis.count * synthesis.rounds, ranked)]
    if not drawn:
        raise ConfigError(f"synthesis.texts: {synthesis.texts} holds no text")
    return drawn
