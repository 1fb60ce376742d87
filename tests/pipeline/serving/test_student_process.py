"""The student's process is started again when it dies; no text is lost, none hangs, and one that kills is refused."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from xpoll.core.errors import ModelError
from xpoll.pipeline.serving import student_process
from xpoll.pipeline.serving.metrics import ServingMetrics
from xpoll.pipeline.serving.request_error import RequestError
from xpoll.pipeline.serving.student_process import StudentProcess

WORKER = """
import os, sys, time
from pathlib import Path
from xpoll.pipeline.serving.frames import framed, read_frame
starts = Path(sys.argv[1])
starts.write_text(starts.read_text() + "s" if starts.exists() else "s")
if len(sys.argv) > 2 and len(starts.read_text()) == int(sys.argv[2]):
    sys.exit(3)
answers = os.fdopen(os.dup(1), "wb", buffering=0)
answers.write(framed({"labels": ["bad", "good"], "longest": 8}))
while True:
    try:
        texts = read_frame(sys.stdin.buffer)
    except EOFError:
        break
    if "dies" in texts:
        os._exit(9)
    if "sleeps" in texts:
        time.sleep(60)
    if "fails" in texts:
        answers.write(framed({"failed": "ValueError: no"}))
        continue
    time.sleep(0.02)
    shares = [[0.25, 0.75] if "gain" in text else [0.75, 0.25] for text in texts]
    answers.write(framed({"shares": shares, "tokens": [len(texts)] * len(texts)}))
"""


def a_student(folder: Path, *arguments: str) -> StudentProcess:
    (folder / "worker.py").write_text(WORKER)
    command = [sys.executable, str(folder / "worker.py"), str(folder / "starts"), *arguments]
    return StudentProcess(command, ServingMetrics("m").of_student())


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text())


async def refusal(student: StudentProcess, *texts: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await student.label_texts(texts)
    return caught.value


def test_texts_that_come_together_are_computed_together(tmp_path: Path) -> None:
    async def play() -> list[int]:
        student = a_student(tmp_path)
        await student.start()
        first = asyncio.create_task(student.label_texts(["a loss"]))
        await asyncio.sleep(0.01)
        later = [asyncio.create_task(student.label_texts([f"gain {i}"])) for i in range(40)]
        said = [(await task)[0] for task in (first, *later)]
        await student.stop()
        assert [each.label for each in said] == ["bad"] + ["good"] * 40
        assert said[1].distribution == (0.25, 0.75)
        return [each.spent.input_tokens for each in said]  # the worker says how many texts came together

    assert asyncio.run(play()) == [1] + [32] * 32 + [8] * 8


def test_a_process_that_is_killed_in_a_batch_loses_no_text(tmp_path: Path) -> None:
    async def play() -> None:
        student = a_student(tmp_path)
        await student.start()
        asked = [asyncio.create_task(student.label_texts([f"gain {i}"])) for i in range(100)]
        await asyncio.sleep(0.03)
        assert student.pid is not None
        os.kill(student.pid, signal.SIGKILL)
        said = [(await task)[0].label for task in asked]
        assert said == ["good"] * 100
        assert student.is_ready
        await student.stop()

    asyncio.run(asyncio.wait_for(play(), 60))
    assert starts(tmp_path) == 2


def test_a_process_that_dies_while_nothing_is_asked_is_there_again(tmp_path: Path) -> None:
    async def play() -> None:
        student = a_student(tmp_path)
        await student.start()
        first = student.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await asyncio.sleep(0.1)
        assert student.pid != first, "nobody had to ask for it"
        assert (await student.label_texts(["gain"]))[0].label == "good"
        await student.stop()

    asyncio.run(asyncio.wait_for(play(), 60))


def test_a_text_that_kills_is_refused_and_those_beside_it_are_answered(tmp_path: Path) -> None:
    async def play() -> None:
        student = a_student(tmp_path)
        await student.start()
        asked = [asyncio.create_task(student.label_texts([text])) for text in ("gain 1", "dies", "gain 2")]
        said = await asyncio.gather(*asked, return_exceptions=True)
        assert [each[0].label for each in (said[0], said[2])] == ["good", "good"]  # type: ignore[index]
        assert isinstance(said[1], RequestError)
        assert said[1].status == 503 and "twice: it ended with exit code 9" in said[1].message
        await student.stop()

    asyncio.run(asyncio.wait_for(play(), 60))
    assert starts(tmp_path) == 3


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student_process, "HANG_AFTER_S", 0.3)

    async def play() -> None:
        student = a_student(tmp_path)
        await student.start()
        error = await refusal(student, "sleeps")
        assert error.status == 503 and "no answer for 0.3 s" in error.message
        assert (await student.label_texts(["gain"]))[0].label == "good"
        await student.stop()

    asyncio.run(asyncio.wait_for(play(), 60))


def test_a_start_that_fails_is_tried_again(tmp_path: Path) -> None:
    async def play() -> None:
        student = a_student(tmp_path, "2")  # the second start fails
        await student.start()
        assert student.pid is not None
        os.kill(student.pid, signal.SIGKILL)
        assert (await student.label_texts(["gain"]))[0].label == "good"
        await student.stop()

    asyncio.run(asyncio.wait_for(play(), 60))
    assert starts(tmp_path) == 3


def test_no_request_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        student = a_student(tmp_path)
        await student.start()
        monkeypatch.setattr(student_process, "ANSWER_WITHIN_S", 0.2)
        assert (await refusal(student, "sleeps")).message == "no answer within 0.2 s"
        monkeypatch.setattr(student_process, "MOST_WAITING", 3)
        assert (await refusal(student, *["gain"] * 4)).status == 503
        waiting = asyncio.create_task(refusal(student, "gain"))
        await asyncio.sleep(0.01)
        await student.stop()
        assert (await waiting).status == 503

    asyncio.run(asyncio.wait_for(play(), 60))


def test_a_batch_that_fails_is_an_error_of_the_server_and_the_next_one_is_answered(tmp_path: Path) -> None:
    async def play() -> None:
        student = a_student(tmp_path)
        await student.start()
        assert (await refusal(student, "fails")).status == 500
        assert (await student.label_texts(["gain"]))[0].label == "good"
        await student.stop()

    asyncio.run(asyncio.wait_for(play(), 60))
    assert starts(tmp_path) == 1


def test_a_process_that_does_not_start_at_all_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be served: it ended with exit code 3"):
        asyncio.run(a_student(tmp_path, "1").start())
