"""What a backend is: the methods that answer prompts, and the record of everything else that is known of one."""

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import pyarrow as pa

from xpoll.core.config.job import AnswerForm, EngineConfig, Section
from xpoll.core.records import Completion, Prompt
from xpoll.core.secrets import struck
from xpoll.engine.devices.find import Device


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """What a backend needs to start; plain values, because they travel to another process.

    Attributes:
        model: `engine.model`.
        device: Where the engine runs; the process is pinned to it already.
        worker: Name of the worker, for its answers.
        options: The config table named after the backend, or [engine.options].
        server_command: `engine.server_command`; only the vllm backend reads it.
    """

    model: str
    device: Device
    worker: str
    options: dict[str, Any] = field(default_factory=dict)
    server_command: tuple[str, ...] = ()

    def ending(self, prompt: Prompt) -> Callable[..., Completion]:
        """Starts the clock of a prompt; what it returns is called with the outcome and gives the completion."""
        started_unix_s = time.time()

        def end(**outcome: Any) -> Completion:
            return Completion(
                *prompt.key,
                worker=self.worker,
                device=str(self.device),
                started_unix_s=started_unix_s,
                latency_s=time.time() - started_unix_s,
                **outcome,
            )

        return end


class Load(NamedTuple):
    """What an engine says of its own queue: prompts in its batch, prompts that wait to get into it.

    `kv_cache_usage` is a share from 0 to 1, None where the engine does not say.
    """

    running: int
    waiting: int
    kv_cache_usage: float | None = None


class EngineDeadError(Exception):
    """The engine behind a backend is gone; its prompts in flight have no answer.

    Args:
        why: What it died of; secrets in it are struck out.
    """

    def __init__(self, why: str) -> None:
        super().__init__(struck(why))


class Backend(Protocol):
    """Answers prompts, many at a time, each as soon as it is finished."""

    async def start(self) -> None:
        """Loads the model. Raises with a message for the user where that cannot work."""

    async def answer(self, prompt: Prompt) -> Completion:
        """The completion of one prompt; a prompt that cannot be answered ends as an error row.

        One that asks about each label by itself (`prompt.answer.questions`) takes `prompt.wordings()`, each read by
        itself, or `prompt.in_words()`, which is any prompt to a backend that writes its answers.
        It is asked through `engine.answer.answer_of`, which makes what it returns fit the schema.

        Raises:
            EngineDeadError: the engine is gone, and with it every prompt in flight.
            UserError: every other prompt would end alike; the run ends, and this prompt has no row.
        """

    def load(self) -> Load | None:
        """What the engine said of its queue last; None where it does not say. Called often, so it must not wait.

        Raises:
            EngineDeadError: the engine is gone, even if prompts in flight were not told.
        """

    def stop(self) -> None:
        """Ends every process that `start` began."""


@runtime_checkable
class AnswersAtOnce(Protocol):
    """What a backend may have besides: answers that take no waiting, as recorded ones, are asked for by the batch."""

    def answer_batch(self, prompts: Sequence[Prompt]) -> pa.RecordBatch | Sequence[Completion] | None:
        """One answer for each prompt, in their order; each is made to fit the schema as those of `answer` are.

        A batch has columns of COMPLETION_SCHEMA, without those of the key; one that it lacks has the default of
        Completion's field in every row.

        Returns:
            None where answers take time: each prompt is asked by itself from then on.

        Raises:
            EngineDeadError: as `answer`.
            UserError: as `answer`.
        """


IN_WORDS: tuple[AnswerForm, ...] = ("label", "read", "chain_of_thought")
"""Forms of an answer that a model writes."""
ANY_FORM: tuple[AnswerForm, ...] = (*IN_WORDS, "match")


def _any(_: EngineConfig) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """All that is known of a backend before it starts; the code behind it is imported when it is used.

    Attributes:
        factory: Makes the backend, in the worker's process; `imported` defers the import of its module.
        options: The class that checks its table of options before anything starts; None where the backend checks them.
        needs: Distributions that it imports and that a plain installation lacks.
        extra: The extra of this package that brings them.
        needs_model: Whether the files of `engine.model` must be on this machine.
        has_kv_cache: Whether it generates with a KV cache: the model must leave room for one in a device's memory, and
            prefixes that prompts share are computed once.
        answers: Forms of an answer that it can give, as `panel.answer` names them.
        reads: Whether it tells how likely each label of a "read" is, however many there are; else it writes an answer.
        runs_here: False if it computes on other machines: it takes no device, and one worker carries all requests.
        runs_model: False if no model computes anywhere, so that there is no energy to measure.
        invents_devices: Whether `engine.replicas` may be more than the devices of the machine, because none is used.
        serves: Whether `xpoll serve` can answer from it: it can be asked about texts that nobody knew before.
        takes_gpus: Whether `engine.device = "auto"` may take a GPU.
        usual_start_s: How long a start takes, in seconds, for the progress line; None where it takes no time.
    """

    factory: Callable[[BackendSettings], Backend]
    options: Callable[[], type[Section]] | None = None
    needs: tuple[str, ...] = ()
    extra: str = ""
    needs_model: bool = False
    has_kv_cache: bool = False
    answers: tuple[AnswerForm, ...] = IN_WORDS
    reads: Callable[[EngineConfig], bool] = _any
    runs_here: bool = True
    runs_model: bool = True
    invents_devices: bool = False
    serves: bool = False
    takes_gpus: Callable[[EngineConfig], bool] = _any
    usual_start_s: float | None = None


def imported(place: str) -> Callable[[BackendSettings], Backend]:
    """A factory from "module:Class", whose module is imported when the factory is called."""

    def make(settings: BackendSettings) -> Backend:
        backend: Backend = _found(place)(settings)
        return backend

    return make


def options_in(place: str) -> Callable[[], type[Section]]:
    """A class of options from "module:Class", whose module is imported when it is asked for."""

    def find() -> type[Section]:
        section: type[Section] = _found(place)
        return section

    return find


def _found(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
