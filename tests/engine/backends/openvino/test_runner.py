"""The stepped engine, on a stand-in for GenAI's pipeline: who is to blame for a failed step, and who goes on."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from tests.support.fake_pipeline import BAD, Config, Pipeline, Reason, Status
from xpoll.engine.backends.openvino.requests import Constraint
from xpoll.engine.backends.openvino.runner import Outcome, PipelineRequest, PipelineRunner, said_by


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    genai = ModuleType("openvino_genai")
    genai.GenerationStatus, genai.GenerationFinishReason = Status, Reason  # type: ignore[attr-defined]
    openvino = ModuleType("openvino")
    openvino.Tensor = lambda array: SimpleNamespace(shape=array.shape)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "openvino_genai", genai)
    monkeypatch.setitem(sys.modules, "openvino", openvino)
    Pipeline.made = 0


def request(tokens: int = 2, constraint: str = "", **options: bool) -> PipelineRequest:
    held = Constraint("regex", constraint) if constraint else None
    return PipelineRequest([1, 2, 3], Config(tokens, constraint, **options), held)


def run(engine: PipelineRunner, *requests: PipelineRequest) -> dict[int, Outcome]:
    """Outcomes by place of the request."""
    engine.add(requests)
    ended: dict[int, Outcome] = {}
    for _ in range(100):
        if not engine.has_work:
            return ended
        ended |= {requests.index(request): outcome for request, outcome in engine.step()}
    raise AssertionError("the engine does not end")


def engine_of(**options: int) -> PipelineRunner:
    """An engine that begins everything at once."""
    engine = PipelineRunner(Pipeline, **options)
    engine._ended_so_far = 100
    return engine


def test_a_prompt_waits_until_those_before_it_are_in_the_cache() -> None:
    engine = PipelineRunner(Pipeline, most_running=3)
    engine.add([request(2)])
    for _ in range(9):
        engine.add([request(2)])
    running = []
    while engine.has_work:
        engine._admit()
        running.append(engine.running)
        engine.step()
    assert running == [1, 1, 2, 2, 3, 3, 3, 3, 1, 1]


def test_requests_that_belong_together_begin_together() -> None:
    engine = PipelineRunner(Pipeline, most_running=3)
    engine.add([request(2) for _ in range(5)])
    engine.step()
    assert engine.running == 5


def test_requests_that_echo_are_never_in_a_step_with_others_and_neither_kind_waits_for_all_of_the_other() -> None:
    engine = PipelineRunner(Pipeline, most_running=2)
    requests = [request(2, echo=place < 12 and place % 3 < 2) for place in range(16)]
    for each in requests:
        engine.add([each])
    ended = []
    while engine.has_work:
        ended += [requests.index(each) for each, _ in engine.step()]
    assert sorted(ended) == list(range(16))
    kinds = "".join("e" if requests[place].echoes else "w" for place in ended)
    assert kinds == "eewweewweewweeww", "turns of two while both wait"


def test_requests_end_as_they_are_done() -> None:
    engine = engine_of()
    short, long = request(1), request(3)
    engine.add([short, long])
    assert [[each for each, _ in engine.step()] for _ in range(3)] == [[short], [], [long]]
    assert (engine.running, engine.waiting, engine.has_work) == (0, 0, False)


def test_a_bad_constraint_costs_its_own_request_and_no_other() -> None:
    engine = engine_of()
    ended = run(engine, request(3), request(2, "good"), request(2, "bad 1"), request(4), request(2, "bad 2"))
    assert {place: outcome.refused for place, outcome in ended.items()} == {
        **dict.fromkeys((0, 1, 3), ""),
        2: f"{BAD}: bad 1",
        4: f"{BAD}: bad 2",
    }
    assert [len(ended[place].token_ids) for place in (0, 1, 3)] == [3, 2, 4], "nothing of the first pipeline is left"
    assert Pipeline.made == 4, "once for all together, once for each bad one"


def test_a_constraint_that_was_seen_to_work_is_not_suspected_again() -> None:
    engine = engine_of()
    run(engine, request(2, "good"))
    ended = run(engine, request(5, "good"), request(2, "bad"))
    assert [ended[place].refused != "" for place in (0, 1)] == [False, True]
    assert Pipeline.made == 2


def test_a_failure_that_no_constraint_explains_ends_the_engine() -> None:
    engine = engine_of()
    run(engine, request(2, "good"))
    engine.add([request(2, "good"), request(2, fails=True)])
    with pytest.raises(RuntimeError, match=BAD):
        engine.step()


def test_a_request_that_genai_does_not_take_is_refused_with_its_last_line() -> None:
    ended = run(engine_of(), request(0), request(1))
    assert (ended[0].refused, ended[1].refused) == ("'max_new_tokens' must be greater than 0", "")


def test_without_room_in_the_cache_a_request_says_so() -> None:
    assert "cache_size" in run(engine_of(), request(too_big=True))[0].refused


def test_a_request_that_nobody_wants_is_cancelled_or_never_begun() -> None:
    engine = engine_of()
    running, waiting = request(50), request(1)
    engine.add([running])
    engine.step()
    running.is_wanted = waiting.is_wanted = False
    engine.add([waiting])
    assert engine.step() == []
    assert running.handle.status == Status.CANCEL
    assert (waiting.handle, engine.has_work) == (None, False)


def test_what_is_said_is_without_the_place_in_a_source() -> None:
    assert said_by(RuntimeError("Check failed at x.cpp:3:\n[01:02:03] /a/b.cc:75: why\n\n")) == "why"
    assert said_by(RuntimeError("")) == "RuntimeError"
