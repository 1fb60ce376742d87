"""A batch of answers passes the same door as single ones, and a worker's documents end alike whichever way they go."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from ray import cloudpickle

from xpoll.core import secrets
from xpoll.core.errors import UnavailableError, UserError
from xpoll.core.records import COMPLETION_SCHEMA, AnswerSchema, Completion, Prompt, Sampling, from_table
from xpoll.engine.answer import fitted
from xpoll.engine.answer_batch import answers_at_once
from xpoll.engine.backends.backend import Backend, BackendSettings, EngineDeadError
from xpoll.engine.backends.simulated.backend import SimulatedBackend
from xpoll.engine.devices.find import Device
from xpoll.engine.scheduler import Scheduler
from xpoll.engine.work import NeverStop, StopRule, Work, WorkBatch, WorkerReply, by_document
from xpoll.votes.stop import Decided

LABELS = ("good", "bad")
SYSTEM = {"role": "system", "content": "You read closely."}
PROMPTS = [
    Prompt(
        f"d{i}",
        f"p{j}",
        k,
        (SYSTEM, {"role": "user", "content": f"{i}" * 9}),
        Sampling(0.8, 1.0, 2),
        AnswerSchema(LABELS),
    )
    for i in range(40)
    for j in range(3)
    for k in range(2)
]
ALIKE = [each._replace(sampling=PROMPTS[0].sampling, answer=PROMPTS[0].answer) for each in PROMPTS]


class Tells:
    """A backend that says what a test puts into its columns; asked about one prompt by itself, it says the same."""

    def __init__(self, said: Any) -> None:
        self.said = said
        self.batches: list[int] = []

    async def start(self) -> None: ...

    async def answer(self, prompt: Prompt) -> Completion:
        return Completion(*prompt.key, text="alone")

    def answer_batch(self, prompts: Sequence[Prompt]) -> Any:
        self.batches.append(len(prompts))
        if isinstance(self.said, BaseException):
            raise self.said
        return self.said(prompts) if callable(self.said) else self.said

    def load(self) -> None:
        return None

    def stop(self) -> None: ...


def texts(prompts: Sequence[Prompt], **changed: list[Any]) -> pa.RecordBatch:
    columns = {"text": [f"of {each.document_id}" for each in prompts], **changed}
    schema = [COMPLETION_SCHEMA.field(name) for name in columns]
    return pa.record_batch(list(columns.values()), schema=pa.schema(schema))


def rows(said: Any, prompts: Sequence[Prompt]) -> list[Completion] | None:
    batch = answers_at_once(Tells(said), prompts)
    if batch is None:
        return None
    assert batch.schema.equals(COMPLETION_SCHEMA)
    return from_table(pa.Table.from_batches([batch]), Completion)


def test_columns_that_fit_are_passed_on_with_the_keys_of_their_prompts() -> None:
    assert rows(texts, PROMPTS) == [Completion(*each.key, text=f"of {each.document_id}") for each in PROMPTS]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("text", ["a", None, "c"]),
        ("finish_reason", ["stop", "abort", None]),
        ("error_kind", [None, "refused", None]),
        ("prompt_tokens", [1, -5, 2]),
        ("output_tokens", [1, None, 2]),
        ("unread_choices", [0, -1, None]),
        ("started_unix_s", [1.0, math.nan, 2.0]),
        ("latency_s", [0.5, math.inf, 2.0]),
        ("worker", ["w", None, "w"]),
        ("choice_logprobs", [[-0.1, -2.0], [math.nan, -0.1], [-0.1, -2.0]]),
        ("choice_logprobs", [[-0.1, -2.0], [-0.1], None]),
        ("choice_logprobs", [[-0.1, -2.0], [-900.0, -900.0], [-0.1, -2.0]]),
        ("choice_logprobs", [[-0.1, -2.0], [5.0, -0.1], [-0.1, -2.0]]),
    ],
)
def test_a_row_that_does_not_fit_ends_as_it_would_by_itself(name: str, values: list[Any]) -> None:
    asked = PROMPTS[:3]
    batch = texts(asked, **{name: values})
    whole = [Completion(*each.key)._replace(text=f"of {each.document_id}") for each in asked]
    said = [
        row._replace(**{name: tuple(v) if isinstance(v, list) else v}) for row, v in zip(whole, values, strict=True)
    ]
    wanted = [fitted(answer, prompt) for answer, prompt in zip(said, asked, strict=True)]
    assert wanted[1] != said[1], "the case is one that does not fit"
    found = rows(batch, asked)
    assert found is not None
    assert [(row.key, row.text, row.error_kind) for row in found] == [
        (row.key, row.text, row.error_kind) for row in wanted
    ]
    assert [row[4:8] for row in found] == [row[4:8] for row in wanted]


def test_no_row_of_a_batch_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", ("planted-secret-value", "no-utf-8\udcff"))
    found = rows(lambda asked: texts(asked, text=["good", "it is planted-secret-value", "bad"]), PROMPTS[:3])
    assert [row.text for row in found or []] == ["good", "it is ***", "bad"]


def test_a_prompt_that_cannot_be_asked_is_not() -> None:
    asked = [PROMPTS[0]._replace(problem="it is empty"), *PROMPTS[1:3]]
    found = {row.key: row for row in rows(texts, asked) or []}
    assert found[asked[0].key] == Completion(*asked[0].key, error_kind="document", error="it is empty")
    assert [found[each.key].text for each in asked[1:]] == ["of d0", "of d0"]


@pytest.mark.parametrize(
    "said", [None, lambda asked: texts(asked[1:]), [], ValueError("a bug"), pa.nulls(3), pa.table({"x": [1] * 12}), 7]
)
def test_what_is_not_one_answer_for_each_prompt_has_them_asked_by_themselves(said: Any) -> None:
    if isinstance(said, pa.Array):
        said = pa.record_batch([pa.array([["x"]] * 3)], names=["text"])
    assert rows(said, PROMPTS[:3]) is None
    backend = Tells(said)
    reply, *_ = replies(backend, list(by_document(PROMPTS[:12])), NeverStop())
    assert set(reply.answers["text"].to_pylist()) == {"alone"}
    assert len(backend.batches) == 1


def replies(backend: Backend, work: list[Work], stop: StopRule, *, most: int = 8) -> list[WorkerReply]:
    """Those of a scheduler until all documents are settled or the run has to end."""

    async def run() -> list[WorkerReply]:
        await backend.start()
        scheduler = Scheduler(backend, stop=stop, max_in_flight=most)
        found = [await scheduler.exchange(work, 1.0)]
        while found[-1].ended is None and sum(len(reply.finished) for reply in found) < len(work):
            found.append(await scheduler.exchange([], 1.0))
        return found

    return asyncio.run(run())


def test_an_end_of_engine_or_run_in_a_batch_is_one() -> None:
    work = list(by_document(PROMPTS))
    with pytest.raises(EngineDeadError, match="gone"):
        replies(Tells(EngineDeadError("gone")), work, NeverStop())
    ended: UserError | None = replies(Tells(UnavailableError("no credit", mend="pay")), work, NeverStop())[-1].ended
    assert str(ended) == "no credit -> pay"


def simulated(**options: Any) -> SimulatedBackend:
    return SimulatedBackend(BackendSettings("", Device("cpu", 0, "x"), "worker-0", {"time_scale": 0, **options}))


def one_by_one(prompts: Sequence[Prompt], **options: Any) -> list[Completion]:
    async def run() -> list[Completion]:
        backend = simulated(**options)
        await backend.start()
        return [await backend.answer(prompt) for prompt in prompts]

    return asyncio.run(run())


@pytest.mark.parametrize(
    "schema",
    [
        AnswerSchema(LABELS),
        AnswerSchema(("only",)),
        AnswerSchema(("c", "a", "b"), logprobs=True),
        AnswerSchema(("c", "a", "b"), logprobs=True, read=True),
        AnswerSchema(("yes", "no"), '{"type": "object"}', "label", logprobs=True),
        AnswerSchema(),
        AnswerSchema(("a", "a", "b")),
    ],
)
@pytest.mark.parametrize("sampling", [Sampling(0.8, 1.0, 2), Sampling(0.8, 1.0, None)])
def test_the_simulated_engine_draws_a_batch_as_it_draws_each(schema: AnswerSchema, sampling: Sampling) -> None:
    prompts = [each._replace(answer=schema, sampling=sampling) for each in PROMPTS]
    backend = simulated(seed=3, agreement=0.6)
    asyncio.run(backend.start())
    batch = answers_at_once(backend, prompts)
    if len(set(schema.choices)) < max(1, len(schema.choices)):
        assert batch is None
        return
    assert batch is not None
    drawn = [each._replace(started_unix_s=0.0) for each in from_table(pa.Table.from_batches([batch]), Completion)]
    for found, wanted in zip(drawn, one_by_one(prompts, seed=3, agreement=0.6), strict=True):
        logprobs = wanted.choice_logprobs and pytest.approx(wanted.choice_logprobs, rel=1e-6)
        assert found == wanted._replace(started_unix_s=0.0, choice_logprobs=logprobs)


@pytest.mark.parametrize("most", [1, 8, 1024])
@pytest.mark.parametrize("stop", [NeverStop(), Decided(LABELS)])
def test_a_rule_asks_as_much_of_a_batch_as_of_single_answers(stop: StopRule, most: int) -> None:
    def asked(backend: Backend) -> tuple[list[tuple[Any, ...]], int, Counter[str]]:
        found = replies(backend, list(by_document(ALIKE)), stop, most=most)
        keys = [tuple(row.values()) for r in found if r.answers for row in r.answers.select([0, 1, 2, 3]).to_pylist()]
        return sorted(keys), sum(r.saved for r in found), Counter(each for r in found for each in r.finished)

    at_once = asked(simulated())
    waiting = simulated()
    waiting.answer_batch = lambda _: None  # type: ignore[method-assign, assignment, misc]
    assert at_once == asked(waiting)
    assert at_once[2] == Counter(f"d{i}" for i in range(40))
    assert len(set(at_once[0])) == len(at_once[0]) == len(PROMPTS) - at_once[1]


def test_work_and_replies_arrive_as_they_were_sent() -> None:
    earlier = (Completion("d1", "p9", 0, text="good", choice_logprobs=(-0.1, -2.0)),)
    work = [*by_document(PROMPTS), Work("empty", ()), Work("d1", tuple(PROMPTS[6:9]), earlier)]
    sent = WorkBatch(work)
    assert cloudpickle.loads(cloudpickle.dumps(sent)) == sent
    assert cloudpickle.loads(cloudpickle.dumps(WorkBatch([]))) == WorkBatch([])
    for reply in replies(simulated(), work[:3], NeverStop()):
        assert cloudpickle.loads(cloudpickle.dumps(reply)) == reply
    assert cloudpickle.loads(cloudpickle.dumps(reply)).answers.schema.equals(COMPLETION_SCHEMA)
