"""What the suite `serving` measures, small: that every request is answered, by the server and in this process."""

from pathlib import Path

import pytest

from tests.support.served import make_student, served
from xpoll.benchmarks.workloads import served_student
from xpoll.student.inference.model import StudentModel

pytestmark = pytest.mark.engine


def test_both_arms_answer_every_request_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_student, "LABELS", ["bad", "fair", "good"])
    student, texts = make_student(tmp_path / "student"), ["a loss", "the firm said gain", "flat"]
    here = served_student.ask_in_process(StudentModel(student), texts, batch=4, requests=10)
    with served(student, cwd=tmp_path) as server:
        address = server.ready["address"]
        there = served_student.ask_server(address, "student", texts, clients=4, requests=10)
        page = str(server.get("/metrics").body)
    assert here["requests"] == there["requests"] == 10
    assert 'xpoll_texts_total{answered_by="student"' in page
    for record in (here, there):
        assert 0 < record["latency_p50_ms"] <= record["latency_p95_ms"] <= 1000 * record["wall_s"] + 1
        assert record["requests_per_s"] == pytest.approx(10 / record["wall_s"], rel=0.1)
