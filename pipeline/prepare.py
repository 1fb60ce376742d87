"""Everything that a run is made of, resolved and checked once, before anything starts.

    prepare   input files, personas, model, devices  -> documents.parquet, and panel.json, plan.json, environment.json
              where something is left to ask

What is wrong with a job is found here, before a run folder is made; later steps read what this one wrote.
"""

from pathlib import Path
from typing import NamedTuple

from xpoll.core.config import Config, EngineConfig
from xpoll.core.environment import capture
from xpoll.core.files import read_json, replacing, write_json
from xpoll.core.models import needs_preparation, resolve_model
from xpoll.core.progress import Waiting
from xpoll.core.run_folder import RunFolder, made_or_removed, open_run_folder
from xpoll.engine.backends.registry import LOADS_MODEL, check_backend, devices_for
from xpoll.engine.devices.find import Device
from xpoll.engine.devices.intel_cards import cards_as_json
from xpoll.engine.journal.journal import count_answers
from xpoll.engine.journal.session import is_settled
from xpoll.engine.planning.fit import require_fit
from xpoll.engine.planning.plan import NAMED, Chosen, Plan, make_plan
from xpoll.personas.documents import Inputs, read_inputs
from xpoll.personas.panel import ChosenPanel, find_panel, planned_panel, write_panel
from xpoll.personas.persona import Persona
from xpoll.personas.probes import asked_of_probe, probe_documents
from xpoll.personas.prompts import orders_of
from xpoll.pipeline.prompts import prompts_of
from xpoll.pipeline.state import remove_after


class Prepared(NamedTuple):
    """A job, resolved: its steps look nothing of this up again.

    Attributes:
        config: The job.
        folder: Its run folder.
        inputs: What its files hold; the documents are in folder.documents.
        panel: Who is asked.
        devices: Of this machine; empty where only a cluster knows them.
        plan: What will be asked, in which order.
    """

    config: Config
    folder: RunFolder
    inputs: Inputs
    panel: ChosenPanel
    devices: list[Device]
    plan: Plan

    @property
    def is_settled(self) -> bool:
        """Whether every document has all the answers that it needs."""
        return not self.inputs.changed and is_settled(self.folder.engine, self.plan.to_settle)


def prepare(config: Config) -> Prepared:
    """Finds every mistake that can be found before an engine starts, then makes or reopens the run folder.

    Raises:
        UserError: whatever is wrong with the job; the run folder is then as it was, or not there.
    """
    folder = RunFolder(Path(config.job.run_folder))
    check_backend(config.engine)
    panel = find_panel(config.panel, seed=config.job.seed, kept=folder.panel)
    devices = _devices(config.engine)
    if devices and config.engine.backend in LOADS_MODEL:
        require_fit(config.engine, devices)
    with made_or_removed(folder.path), replacing(folder.documents) as copy:
        inputs = _inputs(config, folder, copy)
        resolve_model(config.student.encoder, key="student.encoder")
        prepare_model(config.engine)  # last: the first time it takes half a minute
        plan = _plan(config, panel.personas, inputs, devices, _begun(config, folder))
        open_run_folder(config)
        if inputs.changed:
            remove_after(folder, "poll")
    prepared = Prepared(config, folder, inputs, panel, devices, plan)
    if not prepared.is_settled:
        write_panel(folder.panel, panel)
        plan.write(folder.plan)
        write_json(folder.environment, {**capture(), "intel_gpus": cards_as_json()})
    return prepared


def outline(config: Config) -> Plan:
    """What `prepare` would plan; starts nothing, writes nothing, chooses no persona of a file."""
    folder = RunFolder(Path(config.job.run_folder))
    check_backend(config.engine)
    panel = planned_panel(config.panel, seed=config.job.seed, kept=folder.panel)
    inputs = _inputs(config, folder, None)
    return _plan(config, panel, inputs, _devices(config.engine), _begun(config, folder))


def prepare_model(config: EngineConfig) -> None:
    """Has the files of `engine.model` on this machine if the backend needs them."""
    if config.backend not in LOADS_MODEL:
        return
    if needs_preparation(config.model):
        with Waiting(f"preparing {config.model} (once)", usual_s=30):
            resolve_model(config.model, key="engine.model")
    else:
        resolve_model(config.model, key="engine.model")


def _inputs(config: Config, folder: RunFolder, copy: Path | None) -> Inputs:
    """The input, read once; held against what was polled, if there are answers to it."""
    polled = folder.documents if folder.documents.exists() and count_answers(folder.completions) else None
    labels, several = list(config.task.labels), config.task.kind == "multi"
    return read_inputs(config.documents, labels, several=several, polled=polled, copy=copy)


def _plan(config: Config, panel: list[Persona], inputs: Inputs, devices: list[Device], begun: Chosen | None) -> Plan:
    probes = len(probe_documents(config))
    plan = make_plan(
        {order: prompts_of(config, inputs.first, panel, order) for order in orders_of(config)},
        documents=inputs.documents,
        asked_each=config.panel.asked_each,
        config=config.engine,
        devices=devices,
        chosen=begun,
    )
    return plan.model_copy(update={"probes": probes, "prompts": plan.prompts + probes * asked_of_probe(config)})


def _begun(config: Config, folder: RunFolder) -> Chosen | None:
    """The order of prompts that the job names, or that the plan of the run has if it was begun already."""
    if config.panel.order != "auto":
        return Chosen(config.panel.order, NAMED)
    if not folder.plan.exists() or not folder.config.exists() or config.differences(read_json(folder.config)):
        return None
    begun = Plan.read(folder.plan)
    return Chosen(begun.prompt_order, begun.prompt_order_reason)


def _devices(config: EngineConfig) -> list[Device]:
    """The devices of this machine; those of a cluster are known only when the poll has connected to it."""
    return [] if config.address else devices_for(config)
