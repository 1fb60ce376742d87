"""An encoder as a teacher: no text is generated, each label is held against the text.

Reads prompts of `panel.answer = "match"`: one user message with the bare text, a schema whose choices are the labels.
Texts that arrive within a few milliseconds are computed together, and so is what arrives meanwhile.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from xpoll.core.config.file import checked_section
from xpoll.core.records import AnswerSchema, Completion, Prompt
from xpoll.engine.backends.backend import BackendSettings, EngineDeadError, Load
from xpoll.engine.backends.encoder.model import load_text_encoder
from xpoll.engine.backends.encoder.options import EncoderOptions

BATCHES_AT_ONCE = 4
"""Batches whose texts are gathered before they are sorted by length: more pad less, and answer later."""


class _Asked(NamedTuple):
    """A text that waits for its scores."""

    text: str
    schema: AnswerSchema
    scores: "asyncio.Future[_Scored]"


class _Scored(NamedTuple):
    """Natural logarithms per label, and tokens that were computed for them."""

    logprobs: tuple[float, ...]
    tokens: int


class EncoderBackend:
    """One encoder on one device.

    Args:
        settings: What the backend starts with.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        self._waiting: list[_Asked] = []
        self._running = 0
        self._arrived = asyncio.Event()
        self._dead: str | None = None
        # One thread: the event loop goes on taking texts while it computes.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    async def start(self) -> None:
        """Loads the model.

        Raises:
            ConfigError: an option is wrong, or does not fit the model or the device.
            ModelError: the model cannot be loaded, or is no encoder.
        """
        self._options = checked_section(EncoderOptions, self._settings.options, "engine.encoder")
        from xpoll.engine.backends.encoder.scores import LabelScorer

        encoder = load_text_encoder(self._settings.model, self._options, self._settings.device)
        self._score = LabelScorer(encoder, self._options)
        self._on_cpu = encoder.device.type == "cpu"
        self._task = asyncio.create_task(self._work())

    async def answer(self, prompt: Prompt) -> Completion:
        """The label that matches best, with the log-probability of each; a text that cannot be read is an error row.

        Raises:
            EngineDeadError: the device is gone.
        """
        end = self._settings.ending(prompt)
        if len(prompt.messages) != 1 or len(prompt.answer.choices) < 2:
            problem = "an encoder reads prompts of panel.answer = 'match': a bare text, and the labels"
            return end(error_kind="refused", error=problem)
        scored: asyncio.Future[_Scored] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(prompt.messages[0]["content"], prompt.answer, scored))
        self._arrived.set()
        found = await scored
        best = max(range(len(found.logprobs)), key=found.logprobs.__getitem__)
        return end(
            text=prompt.answer.choices[best],
            finish_reason="stop",
            prompt_tokens=found.tokens,
            choice_logprobs=found.logprobs if prompt.answer.logprobs else None,
        )

    async def _work(self) -> None:
        while self._dead is None:
            await self._arrived.wait()
            await asyncio.sleep(self._options.gather_ms / 1000)
            taken = self._gathered()
            self._running = len(taken)
            await self._compute(taken)
            self._running = 0

    def _gathered(self) -> list[_Asked]:
        """The texts that have waited longest, of one schema, as many as fill a few batches."""
        self._waiting = [each for each in self._waiting if not each.scores.done()]  # a settled document's are cancelled
        if not self._waiting:
            self._arrived.clear()
            return []
        schema = self._waiting[0].schema
        most = max(1, BATCHES_AT_ONCE * self._options.batch_size // self._score.inputs_each(schema))
        alike = [each for each in self._waiting if each.schema == schema][:most]
        taken = set(map(id, alike))
        self._waiting = [each for each in self._waiting if id(each) not in taken]
        if not self._waiting:
            self._arrived.clear()
        return alike

    async def _compute(self, taken: list[_Asked]) -> None:
        """Scores texts together; where that fails, halves of them, so that one text takes no other with it."""
        if not taken or self._dead is not None:
            return
        texts, schema = [each.text for each in taken], taken[0].schema
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._score, texts, schema)
        except Exception as error:
            if len(taken) > 1 and (self._on_cpu or _is_out_of_memory(error)):
                middle = len(taken) // 2
                await self._compute(taken[:middle])
                await self._compute(taken[middle:])
                return
            if not self._on_cpu and not _is_out_of_memory(error):
                self._die(taken, f"{type(error).__name__}: {error}")
                return
            _settle(taken, error)
            return
        for each, logprobs, tokens in zip(taken, found.logprobs.tolist(), found.tokens.tolist(), strict=True):
            if not each.scores.done():
                each.scores.set_result(_Scored(tuple(logprobs), tokens))

    def _die(self, taken: list[_Asked], why: str) -> None:
        """What an accelerator does after an error of its own is not known, so the engine ends."""
        self._dead = why
        _settle([*taken, *self._waiting], EngineDeadError(why))

    def load(self) -> Load | None:
        """Texts that are computed, and texts that wait.

        Raises:
            EngineDeadError: the device is gone.
        """
        if self._dead is not None:
            raise EngineDeadError(self._dead)
        return Load(self._running, len(self._waiting))

    def stop(self) -> None:
        """Ends the thread. Any thread may call it."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _is_out_of_memory(error: Exception) -> bool:
    return type(error).__name__ == "OutOfMemoryError"


def _settle(asked: list[_Asked], error: Exception) -> None:
    for each in asked:
        if not each.scores.done():
            each.scores.set_exception(error)
