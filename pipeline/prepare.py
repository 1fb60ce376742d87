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
from xpoll.engine.backends.registry import check_backend, devices_for, spec_of
from xpoll.engine.devices.find import Device
from xpoll.engine.planning.fit import require_fit
from xpoll.engine.planning.plan import NAMED, Chosen, make_plan
from xpoll.personas.documents import Inputs, check_documents, stream_documents
from xpoll.personas.draw import drawn_prompts
from xpoll.personas.panel import check_panel, planned_panel
from xpoll.personas.persona import Persona
from xpoll.personas.probes import asked_of_probe, probe_documents
from xpoll.personas.prompts import build_prompts, orders_of
from xpoll.pipeline.state import differs_before_votes
from xpoll.votes.check import carries_logprobs, check_votes
from xpoll.votes.tasks.registry import kind_of


def check_inputs(config: Config) -> Inputs:
    """Finds every mistake that can be found before a run folder is made; prepares a packaged model."""
    check_votes(config)
    logprobs_of(config)
    check_backend(config.engine)
    check_panel(config.panel, seed=config.job.seed, kept=_kept_panel(config))
    devices = _devices(config)
    if devices and spec_of(config.engine.backend).needs_model:
        require_fit(config.engine, devices)
    inputs = checked_documents(config)
    resolve_model(config.student.encoder, key="student.encoder")
    check_can_be_made(Path(config.job.run_folder))
    prepare_model(config.engine)  # last: the first time it takes half a minute
    return inputs


def prepare_model(config: EngineConfig) -> None:
    """Has the files of `engine.model` on this machine if the backend needs them."""
    if not spec_of(config.backend).needs_model:
        return
    if needs_preparation(config.model):
        with Waiting(f"preparing {config.model} (once)", usual_s=30):
            resolve_model(config.model, key="engine.model")
    else:
        resolve_model(config.model, key="engine.model")


def plan(config: Config) -> dict[str, Any]:
    """What `poll` will do, as plain JSON types; writes nothing. A run that was begun keeps its prompts' order."""
    check_votes(config)
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
    prompts = plan["prompts"] + probes * asked_of_probe(config)
    return {**plan, "probes": probes, "prompts": prompts, "logprobs": logprobs_of(config)}


def logprobs_of(config: Config) -> bool:
    """Whether the run's answers carry the labels' logprobs; a run that was begun goes on as it began.

    Raises:
        ConfigError: `vote.method` reads them, and the answers that are there have none.
    """
    begun = RunFolder(Path(config.job.run_folder)).plan
    return carries_logprobs(config, read_json(begun).get("logprobs") if begun.exists() else None)


def _chosen_order(config: Config) -> Chosen | None:
    """The order that the job names, or that the plan of the run has if it was begun already."""
    if config.panel.order != "auto":
        return Chosen(config.panel.order, NAMED)
    folder = RunFolder(Path(config.job.run_folder))
    if not folder.plan.exists() or not folder.config.exists() or differs_before_votes(config, folder):
        return None
    begun = read_json(folder.plan)
    return Chosen(begun["prompt_order"], begun["prompt_order_reason"])


def checked_documents(config: Config, polled: Inputs | None = None) -> Inputs:
    labels = list(config.task.labels)
    return check_documents(config.documents, labels, polled, read_gold=kind_of(config.task.kind).read_gold)


def documents_of(config: Config) -> Iterator[Document]:
    labels, kind = list(config.task.labels), kind_of(config.task.kind)
    return stream_documents(config.documents, labels, read_gold=kind.read_gold)


def prompts_of(config: Config, panel: list[Persona], order: PromptOrder) -> Iterator[Prompt]:
    form, logprobs = kind_of(config.task.kind).form, logprobs_of(config)
    prompts, probes = (
        build_prompts(documents, panel, config, order, form=form, needs_logprobs=logprobs)
        for documents in (documents_of(config), probe_documents(config))
    )
    return chain(
        drawn_prompts(prompts, panel, config.panel.per_document, seed=config.job.seed),
        (prompt for prompt in probes if prompt.sample == 0),
    )


def _devices(config: Config) -> list[Device]:
    """The devices of this machine; those of a cluster are known only when the poll has connected to it."""
    return [] if config.engine.address else devices_for(config.engine)


def _kept_panel(config: Config) -> Path:
    return RunFolder(Path(config.job.run_folder)).panel
