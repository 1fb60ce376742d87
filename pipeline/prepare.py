"""Everything that a run is made of, resolved and checked once, before anything starts.

    prepare   input files, personas, model, devices  -> documents.parquet, and panel.json, plan.json, environment.json
              where something is left to ask; of a job with [[teachers]] a panel and a plan in each one's folder

What is wrong with a job is found here, before a run folder is made; later steps read what this one wrote.
"""

from pathlib import Path
from typing import NamedTuple

from xpoll.core.config.job import Config, EngineConfig
from xpoll.core.config.teachers import Teacher, teachers_of
from xpoll.core.errors import ConfigError, RunFolderError
from xpoll.core.files import replacing, write_json
from xpoll.core.machine.environment import capture
from xpoll.core.models import needs_preparation, resolve_model
from xpoll.core.progress import Waiting, say
from xpoll.core.run_folder import RunFolder, made_or_removed, open_run_folder
from xpoll.engine.backends.registry import check_answer, check_backend, devices_for, spec_of
from xpoll.engine.devices.find import Device
from xpoll.engine.devices.intel_cards import cards_as_json
from xpoll.engine.journal.answers import count_answers
from xpoll.engine.journal.session import is_settled
from xpoll.engine.planning.fit import require_fit
from xpoll.engine.planning.plan import NAMED, Chosen, Plan, make_plan, read_plan
from xpoll.personas.documents import Inputs, Unusable, read_inputs
from xpoll.personas.panel import ChosenPanel, find_panel, planned_panel, write_panel
from xpoll.personas.persona import Persona
from xpoll.personas.probes import asked_of_probe, probe_documents
from xpoll.personas.prompts import orders_of
from xpoll.pipeline.prompts import prompts_of
from xpoll.pipeline.state import differs_before_votes, remove_after, remove_outdated
from xpoll.pipeline.steps import STEPS
from xpoll.student.causal_lm.train import check_causal
from xpoll.student.heads.registry import HEADS
from xpoll.student.train import check_student
from xpoll.votes.check import carries_logprobs, check_votes, require_panel
from xpoll.votes.tasks.registry import kind_of


class PreparedPoll(NamedTuple):
    """What one teacher will be asked.

    Attributes:
        teacher: Whose poll it is.
        panel: Who is asked.
        devices: Of this machine; empty where only a cluster knows them.
        plan: What will be asked, in which order.
    """

    teacher: Teacher
    panel: ChosenPanel
    devices: list[Device]
    plan: Plan

    @property
    def is_settled(self) -> bool:
        """Whether every document has all the answers that it needs of this teacher."""
        return is_settled(self.teacher.folder, self.plan.to_settle)


class Prepared(NamedTuple):
    """A job, resolved: its steps look nothing of this up again.

    Attributes:
        config: The job.
        folder: Its run folder.
        inputs: What its files hold; the documents are in folder.documents.
        polls: One of each teacher.
    """

    config: Config
    folder: RunFolder
    inputs: Inputs
    polls: list[PreparedPoll]

    @property
    def is_settled(self) -> bool:
        """Whether every document has all the answers that it needs."""
        return not self.inputs.changed and all(poll.is_settled for poll in self.polls)


class _Asked(NamedTuple):
    """A teacher that was checked, before the input is read: who is asked where, and whether for logprobs."""

    teacher: Teacher
    logprobs: bool
    panel: ChosenPanel
    devices: list[Device]


def prepare(config: Config, *, whole: bool = False) -> Prepared:
    """Finds every mistake that can be found before an engine starts, then makes or reopens the run folder.

    Args:
        config: The job.
        whole: Whether every later step follows: what was made with other values of the sections that only these
            read is then removed. Without it such sections are left as the folder has them.

    Raises:
        UserError: whatever is wrong with the job; the run folder is then as it was, or not there.
    """
    folder = RunFolder(Path(config.job.run_folder))
    teachers = _checked(config)
    asked = [_asked(teacher) for teacher in teachers]
    with made_or_removed(folder.path), replacing(folder.documents) as copy:
        inputs = _inputs(config, folder, copy)
        resolve_model(config.student.encoder, key="student.encoder")
        check_student(config.student, head=HEADS[kind_of(config.task.kind).head])
        for teacher in teachers:
            prepare_model(teacher.config.engine)  # last: the first time it takes half a minute
        polls = [_poll(each, inputs) for each in asked]
        later = STEPS["vote"].own_sections
        if whole and (differing := remove_outdated(config, folder)):
            say(f"what was made with another {', '.join(differing)} is made again")
        for each in [config, *(teacher.config for teacher in teachers if teacher.name)]:
            open_run_folder(each, may_change=later if whole else (), ignored=() if whole else later)
        if inputs.changed:
            remove_after(folder, "poll")
    prepared = Prepared(config, folder, inputs, polls)
    if not prepared.is_settled:
        write_json(folder.environment, {**capture(), "intel_gpus": cards_as_json()})
        for poll in polls:
            write_panel(poll.teacher.folder.panel, poll.panel)
            write_json(poll.teacher.folder.plan, poll.plan.as_json())
    return prepared


def outline(config: Config) -> dict[str | None, Plan]:
    """What `prepare` would plan, by teacher; starts nothing, writes nothing, chooses no persona of a file."""
    teachers = _checked(config)
    panels = [planned_panel(each.panel, seed=each.job.seed, kept=folder.panel) for _, each, folder in _parts(teachers)]
    folder = RunFolder(Path(config.job.run_folder))
    written = config.documents.path or folder.synthesized.exists()
    inputs = _inputs(config, folder, None) if written else _expected_inputs(config)
    return {
        name: _plan(each, panel, inputs, _devices(each.engine), _begun(each, folder), _logprobs(each, folder))
        for (name, each, folder), panel in zip(_parts(teachers), panels, strict=True)
    }


def _parts(teachers: list[Teacher]) -> list[tuple[str | None, Config, RunFolder]]:
    return [(teacher.name, teacher.config, teacher.folder) for teacher in teachers]


def check_before_texts(config: Config) -> None:
    """Finds what is wrong with the steps behind [synthesis] before texts are written for them, as far as it can be.

    Raises:
        UserError: names the key, and what to type.
    """
    if config.student.is_generative:
        resolve_model(config.student.model, key="student.model")
        check_causal(config.student)
        return
    _checked(config)
    resolve_model(config.student.encoder, key="student.encoder")
    check_student(config.student)


def _checked(config: Config) -> list[Teacher]:
    """The job's teachers, each with a vote, a backend and a form of answer that fit together."""
    require_panel(config)
    if not config.task.labels:
        raise ConfigError(
            "task.labels is missing, so the texts cannot be labelled", mend="add [task], or xpoll synthesize alone"
        )
    check_votes(config)
    teachers = teachers_of(config)
    for teacher in teachers:
        check_votes(teacher.config)
        check_backend(teacher.config.engine)
        check_answer(teacher.config)
    return teachers


def _asked(teacher: Teacher) -> _Asked:
    config, folder = teacher.config, teacher.folder
    logprobs = _logprobs(config, folder)
    panel = find_panel(config.panel, seed=config.job.seed, kept=folder.panel)
    devices = _devices(config.engine)
    if devices and spec_of(config.engine.backend).has_kv_cache:
        require_fit(config.engine, devices)
    return _Asked(teacher, logprobs, panel, devices)


def _poll(asked: _Asked, inputs: Inputs) -> PreparedPoll:
    config, folder = asked.teacher.config, asked.teacher.folder
    begun = _begun(config, folder)
    plan = _plan(config, asked.panel.personas, inputs, asked.devices, begun, asked.logprobs)
    return PreparedPoll(asked.teacher, asked.panel, asked.devices, plan)


def prepare_model(config: EngineConfig) -> None:
    """Has the files of `engine.model` on this machine if the backend needs them."""
    if not spec_of(config.backend).needs_model:
        return
    if needs_preparation(config.model):
        with Waiting(f"preparing {config.model} (once)", usual_s=30):
            resolve_model(config.model, key="engine.model")
    else:
        resolve_model(config.model, key="engine.model")


def _inputs(config: Config, folder: RunFolder, copy: Path | None) -> Inputs:
    """The input, read once; held against what was polled, if there are answers to it."""
    if not config.documents.path and not folder.synthesized.exists():
        raise RunFolderError(
            f"the texts of {folder.path} are not written yet", mend="xpoll synthesize with the same job, or xpoll run"
        )
    begun = any(count_answers(poll.completions) for poll in folder.polls().values())
    polled = folder.documents if folder.documents.exists() and begun else None
    labels, read_gold = list(config.task.labels), kind_of(config.task.kind).read_gold
    examples = [example.text for example in config.task.examples]
    inputs = read_inputs(config.texts, labels, read_gold=read_gold, example_texts=examples, polled=polled, copy=copy)
    for line in inputs.notes():
        say(line)
    return inputs


def _expected_inputs(config: Config) -> Inputs:
    """What a job that writes its own texts is expected to poll: as many as are asked for, as long as gold texts are."""
    gold, asked = config.documents.gold_path, config.synthesis.count
    say(f"the texts are not written yet: {asked} are planned for, as long as the gold texts are")
    if not gold:
        return Inputs({"train": asked, "gold": 0}, {"train": Unusable(), "gold": Unusable()}, 0, (), changed=True)
    alone = config.documents.model_copy(update={"path": gold, "gold_path": None})
    found = read_inputs(alone, list(config.task.labels))
    return found._replace(rows={"train": asked, "gold": found.rows["train"]})


def _plan(
    config: Config,
    panel: list[Persona],
    inputs: Inputs,
    devices: list[Device],
    begun: Chosen | None,
    logprobs: bool,
) -> Plan:
    probes = len(probe_documents(config))
    plan = make_plan(
        {order: prompts_of(config, inputs.first, panel, order, logprobs=logprobs) for order in orders_of(config)},
        documents=inputs.documents,
        asked_each=config.panel.asked_each,
        config=config.engine,
        devices=devices,
        chosen=begun,
    )
    prompts = plan.prompts + probes * asked_of_probe(config)
    return plan.model_copy(update={"probes": probes, "prompts": prompts, "logprobs": logprobs})


def _logprobs(config: Config, folder: RunFolder) -> bool:
    """Whether the run's answers carry the labels' logprobs; a run that was begun goes on as it began.

    Raises:
        ConfigError: `vote.method` reads them, and the answers that are there have none.
    """
    begun = folder.plan.exists() and count_answers(folder.completions) > 0
    return carries_logprobs(config, read_plan(folder.plan).logprobs if begun else None)


def _begun(config: Config, folder: RunFolder) -> Chosen | None:
    """The order of prompts that the job names, or that the plan of the run has if it was begun already."""
    if config.panel.order != "auto":
        return Chosen(config.panel.order, NAMED)
    if not folder.plan.exists() or not folder.config.exists() or differs_before_votes(config, folder):
        return None
    begun = read_plan(folder.plan)
    return Chosen(begun.prompt_order, begun.prompt_order_reason)


def _devices(config: EngineConfig) -> list[Device]:
    """The devices of this machine; those of a cluster are known only when the poll has connected to it."""
    return [] if config.address else devices_for(config)
