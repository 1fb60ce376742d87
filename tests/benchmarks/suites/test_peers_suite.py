"""The suite `peers` from end to end, with peers that a test writes in place of those of the project."""

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.workloads.test_peers import ANSWERS_ALL, ASKS, ENGINE
from xpoll.benchmarks.runner.measurement import measurements_of
from xpoll.benchmarks.runner.suite import check, read_suite
from xpoll.benchmarks.suites import peers
from xpoll.benchmarks.workloads.peers.arms import find_arms
from xpoll.benchmarks.workloads.peers.page import peers_page

SCRIPTS = {
    "xpoll_poll": (False, ANSWERS_ALL),
    "other": (False, ANSWERS_ALL.replace("job.samples", "1", 1)),
    "broken": (False, "raise OSError('no engine')"),
    "xpoll_openai": (True, ASKS),
}


@pytest.fixture
def parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for name, (endpoint, script) in SCRIPTS.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.py").write_text(script)
        head = f'about = "a test"\npackage = "pytest"\nendpoint = {str(endpoint).lower()}\n'
        (folder / "peer.toml").write_text(f'{head}[arms.all]\nabout = "an arm"\n')
    monkeypatch.setattr(peers, "find_arms", lambda: find_arms(tmp_path))
    monkeypatch.setattr(peers, "resolve_model", lambda *_args, **_named: "m")
    monkeypatch.setattr(peers, "tuned_engine", lambda _parameters: ENGINE)
    chosen: dict[str, Any] = read_suite("peers")["parameters"]
    return chosen | {"sentences": 3, "mock_sentences": 3, "mock_delay_s": 0.0, "parts": ["in_process", "mock"]}


def test_every_arm_is_a_record_and_their_comparison_is_bounded(parameters: dict[str, Any]) -> None:
    records = list(peers.measure(parameters | {"repeats": 2}))
    runs = [(each["part"], each["arm"], each.get("status")) for each in records if "repeat" in each]
    assert runs.count(("in_process", "xpoll_poll/all", "ok")) == 2
    assert runs.count(("in_process", "broken/all", "failed")) == 1, "one that failed is not run again"
    assert runs.count(("mock", "xpoll_openai/all", "ok")) == 2
    other = next(each for each in records if each["arm"] == "other/all")
    assert (other["answers"], other["missing"]) == (3, 6), "a peer that leaves answers out is told so"
    assert not [each for each in records if "in_process_share_of_best_peer" in each], (
        "and is no peer to be held against"
    )
    assert next(each for each in records if each.get("role") == "labels")["reference"] == "xpoll_poll/all"
    document = {"suite": "peers", "records": records, "started_utc": "", "parameters": parameters, "changed": {}}
    document["environment"] = {"commit": "c", "dirty": False, "processor": "p", "cores": 2, "memory_gib": 1.0}
    document["environment"] |= {"packages": {}}
    failed = [each for each in measurements_of(document) if each.status == "failed"]
    assert [each.what for each in failed] == ["in_process, broken/all, reasons"]
    assert "exit code 1: OSError: no engine" in peers_page([document])


def test_every_bound_of_the_file_is_of_a_figure_that_the_suite_can_have() -> None:
    told = Path(peers.__file__).parents[1] / "workloads" / "peers" / "tables.py"
    text = told.read_text()
    for bound in read_suite("peers")["checks"]:
        figure = bound["name"].removeprefix(f"{bound['part']}_")
        assert f"{figure}" in text, f"no record has {bound['name']}"
        assert not check(bound, [])["holds"], "what was not measured does not hold"
