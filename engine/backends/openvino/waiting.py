"""Requests that wait for the pipeline: those that echo their prompt, and those that do not, in turns.

GenAI reads the logprobs of an echoed prompt out of the step's logits, and does not count the rows of requests that echo
nothing (`_fill_prompt_log_probs`, 2026.4): in one step with them, an echoed prompt gets the logprobs of other rows. So
the two kinds are never in the pipeline together.
"""

from collections import deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar


class MayEcho(Protocol):
    """What is looked at of a request."""

    @property
    def echoes(self) -> bool:
        """Whether the answer begins with the prompt's own logprobs."""


R = TypeVar("R", bound=MayEcho)


class WaitingRequests(Generic[R]):
    """Groups of requests, each of one kind.

    Args:
        longest_turn: Most groups of one kind that begin while the other kind waits.
    """

    def __init__(self, longest_turn: int) -> None:
        self._longest_turn = longest_turn
        self._groups: dict[bool, deque[Sequence[R]]] = {True: deque(), False: deque()}
        self._echoes = True
        self._begun = 0

    def add(self, group: Sequence[R]) -> None:
        """Takes a group, from any thread."""
        self._groups[group[0].echoes].append(group)

    def put_back(self, request: R) -> None:
        """Takes a request that had begun; it is the next of its kind."""
        self._groups[request.echoes].appendleft([request])

    def __len__(self) -> int:
        return sum(len(group) for groups in self._groups.values() for group in list(groups))

    def pop(self, *, nothing_runs: bool) -> Sequence[R]:
        """The group that begins next; none where no group may begin beside those that run."""
        own, other = self._groups[self._echoes], self._groups[not self._echoes]
        if nothing_runs and other and (not own or self._begun >= self._longest_turn):
            self._echoes, self._begun = not self._echoes, 0
            own, other = other, own
        if not own or (other and self._begun >= self._longest_turn):
            return []
        self._begun += 1
        return own.popleft()
