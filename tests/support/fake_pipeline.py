"""A stand-in for GenAI's ContinuousBatchingPipeline: answers a token a step, and fails at constraints as it does."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

BAD = "refused by xgrammar"


class Status(Enum):
    """As GenerationStatus."""

    RUNNING = 0
    FINISHED = 1
    IGNORED = 2
    CANCEL = 3


class Reason(Enum):
    """As GenerationFinishReason."""

    STOP = 1
    LENGTH = 2


@dataclass
class Config:
    """What a test asks: how many tokens, held to what; `fails` breaks the engine, `too_big` finds no room,
    `echo` tells the prompt's logprobs."""

    tokens: int = 2
    constraint: str = ""
    fails: bool = False
    too_big: bool = False
    echo: bool = False


class Handle:
    """As GenerationHandle."""

    def __init__(self, config: Config) -> None:
        self.config, self.written, self.status = config, 0, Status.RUNNING

    def get_status(self) -> Status:
        """Whether it runs."""
        return self.status

    def can_read(self) -> bool:
        """Whether there is a token."""
        return self.written > 0

    def cancel(self) -> None:
        """Ends it."""
        self.status = Status.CANCEL

    def read_all(self) -> list[Any]:
        """Its one output."""

        class Output:
            finish_reason = Reason.STOP
            generated_ids = list(range(self.written))
            generated_log_probs = [0.0] * self.written

        return [Output]


class Pipeline:
    """Runs everything that was added, a token a step; a bad constraint makes this and every further step fail."""

    made = 0

    def __init__(self) -> None:
        Pipeline.made += 1
        self.handles: list[Handle] = []
        self.broken = ""

    def add_request(self, number: int, ids: Any, config: Config) -> Handle:
        """Takes a request."""
        if config.tokens < 1:
            raise RuntimeError(f"request {number} of {ids.shape[1]} tokens:\n'max_new_tokens' must be greater than 0")
        self.handles.append(Handle(config))
        return self.handles[-1]

    def step(self) -> None:
        """A token for each; GenAI gives echoed prompts the logprobs of others where a step has both kinds."""
        kinds = {each.config.echo for each in self.handles if each.status == Status.RUNNING}
        assert len(kinds) < 2, "requests that echo and requests that do not are in one step"
        for handle in [each for each in self.handles if each.status == Status.RUNNING]:
            if handle.config.constraint.startswith("bad") or handle.config.fails:
                self.broken = f"[05:16:57] /home/x/regex_converter.cc:75: {BAD}: {handle.config.constraint}\n"
        if self.broken:
            raise RuntimeError(self.broken)
        for handle in [each for each in self.handles if each.status == Status.RUNNING]:
            handle.written += 1
            if handle.config.too_big:
                handle.status = Status.IGNORED
            elif handle.written >= handle.config.tokens:
                handle.status = Status.FINISHED
