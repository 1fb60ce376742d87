"""What a poll would ask, of what and on what: every check that can be made before anything starts."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from xpoll.core.config import Config, EngineConfig, PromptOrder
from xpoll.core.files import read_json
from xpoll.core.models import needs_preparation, resolve_model
from xpoll.core.progress import Waiting
from xpoll.core.records import Document, Prompt
from xpoll.core.run_folder import RunFolder, check_can_be_made
from xpoll.engine.backends.registry import LOADS_MODEL, check_backend, devices_for
from xpoll.engine.devices.find import Device
from xpoll.engine.planning.fit import require_fit
from xpoll.engine.planning.plan import NAMED, Chosen, make_plan
from xpoll.personas.documents import Inputs, check_documents, stream_documents
from xpoll.personas.draw import drawn_prompts
from xpoll.personas.panel import check_panel, planned_panel
from xpoll.personas.persona import Persona
from xpoll.personas.probes import asked_of_probe, probe_documents
from xpoll.personas.prompts import build_prompts, orders_of
from xpoll.student.train import check_student


def check_inputs(config: Config) -> Inputs:
    """Finds every mistake that can be found before a run folder is made; prepares a packaged model."""
    check_backend(config.engine)
    check_panel(config.panel, seed=config.job.seed, kept=_kept_panel(config))
    devices = _devices(config)
    if devices and config.engine.backend in LOADS_MODEL:
        require_fit(config.engine, devices)
    inputs = checked_documents(config)
    resolve_model(config.student.encoder, key="student.encoder")
    check_student(config.student)
    check_can_be_made(Path(config.job.run_folder))
    prepare_model(config.engine)  # last: the first time it takes half a minute
    return inputs


def prepare_model(config: EngineConfig) -> None:
    """Has the files of `engine.model` on this machine if the backend needs them."""
    if config.backend not in LOADS_MODEL:
        return
    if needs_preparation(config.model):
        with Waiting(f"preparing {config.model} (once)", usual_s=30):
            resolve_model(config.model, key="engine.model")
    else:
        resolve_model(config.model, key="engine.model")


def plan(config: Config) -> dict[str, Any]:
    """What `poll` will do, as plain JSON types; writes nothing. A run that was begun keeps its prompts' order."""
    check_backend(config.engine)
    panel = planned_panel(config.panel, seed=config.job.seed, kept=_kept_panel(config))
    return plan_of(config, panel, checked_documents(config))


def plan_of(config: Config, panel: list[Persona], inputs: Inputs) -> dict[str, Any]:
    devices, probes = _devices(config), len(probe_documents(config))
    plan = make_plan(
        {order: prompts_of(config, panel, order) for order in orders_of(config)},
        documents=inputs.documents,
        asked_each=config.panel.asked_each,
        config=config.engine,
        devices=devices,
        chosen=_chosen_order(config),
    )
    return {**plan, "probes": probes, "prompts": plan["prompts"] + probes * asked_of_probe(config)}


def _chosen_order(config: Config) -> Chosen | None:
    """The order that the job names, or that the plan of the run has if it was begun already."""
    if config.panel.order != "auto":
        return Chosen(config.panel.order, NAMED)
    folder = RunFolder(Path(config.job.run_folder))
    if not folder.plan.exists() or not folder.config.exists() or config.differences(read_json(folder.config)):
        return None
    begun = read_json(folder.plan)
    return Chosen(begun["prompt_order"], begun["prompt_order_reason"])


def checked_documents(config: Config, polled: Inputs | None = None) -> Inputs:
    labels = list(config.task.labels)
    return check_documents(config.documents, labels, polled, several=config.task.kind == "multi")


def documents_of(config: Config) -> Iterator[Document]:
    return stream_documents(config.documents, list(config.task.labels), several=config.task.kind == "multi")


def prompts_of(config: Config, panel: list[Persona], order: PromptOrder) -> Iterator[Prompt]:
    prompts = build_prompts(documents_of(config), panel, config, order)
    probes = build_prompts(probe_documents(config), panel, config, order)
    return chain(
        drawn_prompts(prompts, panel, config.panel.per_document, seed=config.job.seed),
        (prompt for prompt in probes if prompt.sample == 0),
    )


def _devices(config: Config) -> list[Device]:
    """The devices of this machine; those of a cluster are known only when the poll has connected to it."""
    return [] if config.engine.address else devices_for(config.engine)


def _kept_panel(config: Config) -> Path:
    return RunFolder(Path(config.job.run_folder)).panel
