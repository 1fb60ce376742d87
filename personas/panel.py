"""The panel of a run: personas named in the config, and a diverse selection from a persona file.

Writes panel.json into the run folder and reads it back, so that every later step and every resumed
session uses the same personas, even if the file that they are from has changed.
"""

from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.config.job import PanelConfig
from xpoll.core.errors import InputError
from xpoll.core.files import read_json, read_object, write_json
from xpoll.core.progress import Waiting, say
from xpoll.personas.diversity import Diversity, diversity_of, farthest_first, without_outliers
from xpoll.personas.embedding import embed
from xpoll.personas.near_duplicates import without_near_duplicates
from xpoll.personas.persona import Persona, load_panel
from xpoll.personas.persona_file import KEY, sample_personas

CANDIDATES = 512
"""Fewest personas of a file that are compared with each other; 8 per selected persona, if that is more.

Embedding them takes most of the time, and twice as many gave panels of 8 that were 1 % farther apart.
"""


class Selection(NamedTuple):
    """How the personas of a file were chosen.

    Attributes:
        read: Lines of the file that are not empty.
        skipped: Of these, lines without a usable persona.
        candidates: Sampled personas that were compared, without near-duplicates.
        near_duplicates: Sampled personas that were left out as near-duplicates of a candidate.
    """

    read: int
    skipped: int
    candidates: int
    near_duplicates: int


class ChosenPanel(NamedTuple):
    """The personas of a run.

    Attributes:
        personas: In the order in which they are asked.
        made_from: The config values that the choice depends on.
        selection: Of a persona file; None where all personas are named.
        diversity: Of the whole panel; None where all personas are named.
    """

    personas: list[Persona]
    made_from: dict[str, Any]
    selection: Selection | None = None
    diversity: Diversity | None = None


def find_panel(panel: PanelConfig, *, seed: int, kept: Path) -> ChosenPanel:
    """The panel in the file `kept` if it was made from this config, else one chosen now; writes nothing.

    Args:
        panel: The panel section.
        seed: `job.seed`, of the sample of a persona file.
        kept: Path of panel.json; it need not exist.

    Raises:
        InputError: a persona or the file of personas cannot be used.
        ModelError: the encoder that compares personas is not installed.
    """
    return _read_panel(kept, _made_from(panel, seed)) or choose_panel(panel, seed=seed)


def choose_panel(panel: PanelConfig, *, seed: int) -> ChosenPanel:
    """The named personas, then those of the file that are farthest from them and from each other.

    A million lines take seconds to sample; only the candidates are embedded.

    Args:
        panel: The panel section.
        seed: `job.seed`, of the sample of a persona file.

    Raises:
        InputError: a persona or the file of personas cannot be used.
        ModelError: the encoder that compares personas is not installed.
    """
    named = load_panel(panel.personas)
    if panel.persona_file is None:
        return ChosenPanel(named, _made_from(panel, seed))
    candidates, selection, first_problem = _candidates(panel, seed)
    if selection.skipped:
        lines = f"{selection.skipped} of {selection.read} lines of {panel.persona_file}"
        say(f"{KEY}: {lines} hold no persona and are skipped; {first_problem}")
    with Waiting(f"choosing {panel.select} of {len(candidates)} personas", usual_s=20):
        vectors = embed([persona.persona for persona in (*named, *candidates)])
    given, others = vectors[: len(named)], vectors[len(named) :]
    usual = without_outliers(others)
    if len(usual) < panel.select:
        usual = list(range(len(others)))
    chosen = [usual[i] for i in farthest_first(others[usual], panel.select, given=given)]
    whole = [*named, *(candidates[i] for i in chosen)]
    rows = [*range(len(named)), *(len(named) + i for i in chosen)]
    return ChosenPanel(whole, _made_from(panel, seed), selection, diversity_of(vectors[rows]))


def planned_panel(panel: PanelConfig, *, seed: int, kept: Path) -> list[Persona]:
    """Personas to estimate prompts with: the real panel where that takes no time, else a sample of the file.

    Args:
        panel: The panel section.
        seed: `job.seed`, of the sample of a persona file.
        kept: Path of panel.json; it need not exist.

    Raises:
        InputError: a persona or the file of personas cannot be used.
    """
    found = _read_panel(kept, _made_from(panel, seed))
    if found or panel.persona_file is None:
        return (found or choose_panel(panel, seed=seed)).personas
    return [*load_panel(panel.personas), *sample_personas(panel.persona_file, most=panel.select, seed=seed).personas]


def read_panel(path: Path) -> ChosenPanel:
    """The panel that `write_panel` wrote."""
    return _from_json(read_object(path, "personas"))


def write_panel(path: Path, panel: ChosenPanel) -> None:
    """Writes panel.json atomically.

    Raises:
        RunFolderError: it cannot be written.
    """
    rows = [{name: getattr(persona, name) for name in Persona.__slots__} for persona in panel.personas]
    notes = {
        name: part._asdict() if part else None
        for name, part in (("selection", panel.selection), ("diversity", panel.diversity))
    }
    write_json(path, {"schema_version": 1, "made_from": panel.made_from, "personas": rows, **notes})


def _read_panel(path: Path, made_from: dict[str, Any]) -> ChosenPanel | None:
    held = read_json(path) if path.exists() else None
    if not isinstance(held, dict) or held.get("made_from") != made_from or "personas" not in held:
        return None
    return _from_json(held)


def _from_json(held: dict[str, Any]) -> ChosenPanel:
    return ChosenPanel(
        [Persona(**row) for row in held["personas"]],
        held["made_from"],
        Selection(**held["selection"]) if held["selection"] else None,
        Diversity(**held["diversity"]) if held["diversity"] else None,
    )


def _made_from(panel: PanelConfig, seed: int) -> dict[str, Any]:
    if panel.persona_file is None:
        return {"personas": panel.personas}
    return {"personas": panel.personas, "persona_file": panel.persona_file, "select": panel.select, "seed": seed}


def _candidates(panel: PanelConfig, seed: int) -> tuple[list[Persona], Selection, str]:
    path = str(panel.persona_file)
    sample = sample_personas(path, most=max(CANDIDATES, 8 * panel.select), seed=seed)
    kept = without_near_duplicates([persona.persona for persona in sample.personas])
    if len(kept) < panel.select:
        raise InputError(
            f"{KEY}: {path} holds {len(kept)} personas that differ, and panel.select is {panel.select}",
            mend=f"--set panel.select={len(kept)}",
        )
    selection = Selection(sample.read, sample.skipped, len(kept), len(sample.personas) - len(kept))
    return [sample.personas[i] for i in kept], selection, sample.first_problem
