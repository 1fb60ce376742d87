"""`xpoll panel`: the panel of a job, as it is in the run folder or as it would be chosen, and its diversity."""

import argparse
import json
from typing import Any

from xpoll.core.config.job import Config
from xpoll.core.config.teachers import teachers_of
from xpoll.core.errors import ModelError
from xpoll.core.progress import Waiting, say
from xpoll.personas.diversity import Diversity, diversity_of
from xpoll.personas.embedding import embed, find_encoder
from xpoll.personas.panel import ChosenPanel, find_panel
from xpoll.scripts.arguments import add_job, load_job
from xpoll.scripts.tables import show_list
from xpoll.votes.check import require_panel


def add_arguments(command: argparse.ArgumentParser) -> None:
    """A job."""
    add_job(command)


def call(parsed: argparse.Namespace) -> int:
    """Prints the panel of a job, or of each of its teachers."""
    return show_panel(load_job(parsed), as_json=parsed.json)


def show_panel(config: Config, *, as_json: bool) -> int:
    """Prints who is asked and how far they are from each other, by teacher; writes nothing."""
    require_panel(config)
    found: dict[str | None, dict[str, Any]] = {}
    for name, one, folder in ((teacher.name, teacher.config, teacher.folder) for teacher in teachers_of(config)):
        panel = find_panel(one.panel, seed=one.job.seed, kept=folder.panel)
        diversity = panel.diversity or _measured(panel)
        if as_json:
            found[name] = _as_json(one, panel, diversity)
            continue
        if name:
            print(f"teacher {name}:")
        _print(one, panel, diversity)
    if as_json:
        print(json.dumps(found.get(None, {"teachers": found})))
    return 0


def _as_json(config: Config, panel: ChosenPanel, diversity: Diversity | None) -> dict[str, Any]:
    return {
        "personas": [
            {"persona_id": each.persona_id, "persona": each.persona, "source": each.source} for each in panel.personas
        ],
        "personas_each": config.panel.per_document or config.panel.size,
        "prompts_each": config.panel.asked_each,
        "selection": panel.selection._asdict() if panel.selection else None,
        "diversity": diversity._asdict() if diversity else None,
    }


def _print(config: Config, panel: ChosenPanel, diversity: Diversity | None) -> None:
    show_list([(persona.persona_id, persona.persona) for persona in panel.personas])
    each = config.panel.per_document or config.panel.size
    print(f"\n{len(panel.personas)} personas, each text is put to {each} of them", end=", ")
    print(f"{config.panel.asked_each} prompts per text")
    if panel.selection:
        made = panel.selection
        print(
            f"{config.panel.persona_file}: {made.read} lines read, {made.skipped} skipped, "
            f"{made.near_duplicates} near-duplicates left out, {made.candidates} candidates compared"
        )
    if diversity and diversity.mean_distance is not None:
        print(
            f"cosine distance: mean {diversity.mean_distance:.3f}, closest two {diversity.closest_distance:.3f} "
            f"(0 alike, about 1 unrelated); near-duplicates: {100 * (diversity.near_duplicate_share or 0):.0f} %"
        )


def _measured(panel: ChosenPanel) -> Diversity | None:
    """None with a line that says why where the encoder is not installed: the list is of use without it."""
    try:
        find_encoder()
    except ModelError as error:
        say(f"diversity is not measured: {error}")
        return None
    with Waiting(f"comparing {len(panel.personas)} personas", usual_s=15):
        return diversity_of(embed([persona.persona for persona in panel.personas]))
