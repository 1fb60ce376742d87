"""Who writes, and what templates that begin with a text are given: drawn once, and kept beside a run's answers.

A run that resumes asks the same of the same, whatever has become of the files that it began with.
"""

import heapq
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.config import Config
from xpoll.core.errors import ConfigError
from xpoll.core.files import read_json, write_json, write_table
from xpoll.core.progress import say
from xpoll.core.synthesis import SynthesisConfig
from xpoll.core.tables.readers import stream_rows
from xpoll.personas.marginals import draw_by_marginals
from xpoll.personas.persona import Persona, library_names, load_panel
from xpoll.personas.persona_file import sample_personas
from xpoll.synthesis.drawing import Draw
from xpoll.synthesis.template import Template, load_templates, template_of

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


def find_draw(config: Config, folder: Path) -> Draw:
    """What the rows of a run are drawn from: what its folder holds, else drawn now and written there.

    Args:
        config: The job.
        folder: `synthesis` of its run folder.

    Raises:
        UserError: a template, a persona or a file cannot be used.
    """
    kept = folder / "draw.json"
    if not kept.exists():
        _write(config, check_templates(config), folder, kept)
    held = read_json(kept)
    templates = [template_of(name, content) for name, content in held["templates"].items()]
    rows = pq.read_table(folder / "personas.parquet").to_pylist()
    personas = [Persona(row["persona_id"], row["persona"], source=row["source"]) for row in rows]
    texts = pq.read_table(folder / "texts.parquet").column("text").to_pylist()
    return Draw(templates, personas, texts, list(config.task.labels), config.job.seed)


def _write(config: Config, templates: list[Template], folder: Path, kept: Path) -> None:
    personas = draw_personas(config.synthesis, seed=config.job.seed)
    texts = draw_texts(config.synthesis, seed=config.job.seed) if config.synthesis.texts else []
    columns = {name: [getattr(each, name) for each in personas] for name in ("persona_id", "persona", "source")}
    write_table(folder / "personas.parquet", pa.table(columns))
    write_table(folder / "texts.parquet", pa.table({"text": pa.array(texts, pa.string())}))
    write_json(kept, {"schema_version": 1, "templates": {each.name: each.content for each in templates}})


def draw_personas(synthesis: SynthesisConfig, *, seed: int) -> list[Persona]:
    """Who writes, in the order in which they do; of a file as many as there can be texts.

    Raises:
        InputError: a persona or the file cannot be used.
    """
    named = load_panel(synthesis.personas)
    if synthesis.persona_file is None:
        return named or load_panel(library_names())
    most = synthesis.count * synthesis.rounds
    if synthesis.marginals:
        mix = draw_by_marginals(synthesis.persona_file, synthesis.marginals, number=most, seed=seed)
        for line in mix.lines():
            say(line)
        return [*named, *mix.personas]
    sample = sample_personas(synthesis.persona_file, most=most, seed=seed)
    if sample.skipped:
        lines = f"{sample.skipped} of {sample.read} lines of {synthesis.persona_file}"
        say(f"synthesis.persona_file: {lines} hold no persona and are skipped; {sample.first_problem}")
    return [*named, *sample.personas]


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
