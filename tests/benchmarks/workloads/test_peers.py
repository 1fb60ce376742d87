"""Jobs, runs and counts of the race with peers, with peers that a test writes and an endpoint that computes nothing."""

import ast
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xpoll.benchmarks.workloads.labelled_sets import LabelledSet
from xpoll.benchmarks.workloads.peers import environments, faults, race
from xpoll.benchmarks.workloads.peers.arms import COMMON, Arm, chosen_arms, find_arms
from xpoll.benchmarks.workloads.peers.environments import environment_folder, interpreter_of, pins, version_of
from xpoll.benchmarks.workloads.peers.labelling import LabellingJob, PeerEngine, labelling_job
from xpoll.benchmarks.workloads.peers.mock_endpoint import serving_mock
from xpoll.benchmarks.workloads.peers.outcome import (
    PeerAnswer,
    agreement_of,
    majority_of,
    outcome_of,
    read_answers,
    right_of,
)
from xpoll.benchmarks.workloads.peers.race import alternating_runs, peer_folder, run_once
from xpoll.core.config.file import load_config
from xpoll.core.errors import ConfigError
from xpoll.personas.documents import stream_documents
from xpoll.personas.persona import load_panel
from xpoll.personas.prompts import build_prompts

PARAMETERS: dict[str, Any] = {"data": "", "seed": 1, "model": "m", "vllm": {}, "in_flight": 4, "timeout_s": 60.0}
ENGINE = PeerEngine("m", "/models/m", "", {"block_size": 32, "enforce_eager": True}, {"OMP_NUM_THREADS": "2"}, 4)
LABELS = ["negative", "neutral", "positive"]

ANSWERS_ALL = """
from peer_job import AnswerLog, read_job
job = read_job()
answers = AnswerLog(job)
for row in job.rows:
    for sample in range(job.samples):
        answers.write(row["id"], sample, '{"reason": "so", "label": "%s"}' % job.choices[sample % 2])
"""
ASKS = """
import json, time, urllib.request
from peer_job import AnswerLog, read_job
job = read_job()
answers = AnswerLog(job)
for row in job.rows:
    body = json.dumps(job.request(row)).encode()
    request = urllib.request.Request(job.endpoint + "/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as reply:
        for choice in json.load(reply)["choices"]:
            answers.write(row["id"], choice["index"], choice["message"]["content"])
"""


def peer(root: Path, script: str, *, name: str = "fake", more: str = "", endpoint: bool = False) -> Arm:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "run.py").write_text(script)
    head = f'about = "a test"\npackage = "pytest"\nendpoint = {str(endpoint).lower()}\n'
    (folder / "peer.toml").write_text(f'{head}[arms.one]\nabout = "an arm"\n{more}')
    (arm,) = find_arms(root)
    return arm


def job_of(sentences: int = 4, shape: str = "reasons") -> LabellingJob:
    return labelling_job(PARAMETERS, shape, sentences=sentences)


def test_every_peer_of_the_project_has_a_script_an_arm_and_pinned_requirements() -> None:
    arms = find_arms()
    assert {"xpoll_poll/all", "xpoll_openai/all", "vllm_llm/published"} <= {arm.name for arm in arms}
    for arm in arms:
        assert arm.peer.script.is_file(), arm.name
        assert arm.about and arm.peer.about
        if arm.peer.requirements is not None:
            assert all("==" in pin for pin in pins(arm.peer.requirements)), arm.peer.name
            assert version_of(arm.peer), f"{arm.peer.package} is not in {arm.peer.requirements}"


def test_arms_are_chosen_by_arm_or_peer_and_an_unknown_name_is_told_the_nearest() -> None:
    arms = find_arms()
    assert [arm.name for arm in chosen_arms(arms, ["vllm_llm/tuned", "xpoll_openai"])] == [
        "vllm_llm/tuned",
        "xpoll_openai/all",
        "xpoll_openai/decided",
    ]
    assert chosen_arms(arms, []) == arms
    with pytest.raises(ConfigError, match="there is no 'vllm_lm'"):
        chosen_arms(arms, ["vllm_lm"])


def test_a_key_that_no_peer_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'repeats'"):
        peer(tmp_path, "", more="repeats = 3\n")


def test_the_job_file_holds_the_prompts_that_xpoll_makes_from_its_own_job_file(tmp_path: Path) -> None:
    arm, job = peer(tmp_path / "peers", ANSWERS_ALL), job_of()
    with peer_folder(job, arm, ENGINE) as place:
        told = json.loads((place.folder / "job.json").read_text())
        rows = [json.loads(line) for line in (place.folder / "prompts.jsonl").read_text().splitlines()]
        config = load_config(place.folder / "job.toml")
        documents = stream_documents(config.documents, list(config.task.labels))
        prompts = list(build_prompts(documents, load_panel(config.panel.personas), config))
    assert [row["messages"] for row in rows] == [list(each.messages) for each in prompts if each.sample == 0]
    assert len(prompts) == 3 * len(rows) == 12
    assert told["schema"] == json.loads(prompts[0].answer.json_schema or "")
    sampling = prompts[0].sampling
    assert [told[name] for name in ("temperature", "top_p", "max_tokens")] == [
        sampling.temperature,
        sampling.top_p,
        sampling.max_tokens,
    ]
    assert config.engine.table("vllm") == ENGINE.arguments


def test_a_label_is_asked_for_as_one_of_the_choices(tmp_path: Path) -> None:
    with peer_folder(job_of(shape="label3"), peer(tmp_path, ""), ENGINE) as place:
        told = json.loads((place.folder / "job.json").read_text())
    assert (told["schema"], told["choices"], told["samples"]) == (None, LABELS, 1)


def test_77_labels_need_the_data_set() -> None:
    with pytest.raises(ConfigError, match="banking77"):
        job_of(shape="label77")


def test_a_run_is_timed_counted_and_parsed(tmp_path: Path) -> None:
    arm, job = peer(tmp_path, ANSWERS_ALL), job_of(6)
    record, labels = run_once(job, arm, ENGINE, timeout_s=60)
    assert record["status"] == "ok" and record["version"] == pytest.__version__
    assert (record["answers"], record["missing"], record["doubled"], record["unparsable"]) == (18, 0, 0, 0)
    assert set(labels.values()) == {"negative"}, "two of three samples say so"
    assert record["accuracy"] == pytest.approx(float((job.rows.truth == 0).mean()), abs=1e-4)
    assert 0 < record["first_answer_s"] <= record["wall_s"]
    assert record["documents_per_s"] == pytest.approx(6 / record["wall_s"], rel=0.01)


def test_the_first_answer_is_timed_when_it_is_on_disk(tmp_path: Path) -> None:
    script = ANSWERS_ALL.replace("for row in job.rows:", "import time\nfor row in job.rows:\n    time.sleep(0.3)", 1)
    record, _ = run_once(job_of(5), peer(tmp_path, script), ENGINE, timeout_s=60)
    assert record["wall_s"] - record["first_answer_s"] > 0.9


def test_memory_of_child_processes_counts_also_where_they_left_the_tree(tmp_path: Path) -> None:
    script = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; held = bytearray(200 * 2**20); time.sleep(30)"],
                 start_new_session=True)
import time; time.sleep(2.5)
"""
    record, _ = run_once(job_of(2), peer(tmp_path, script + ANSWERS_ALL), ENGINE, timeout_s=60)
    assert record["memory_mib"] > 200
    assert record["processes_left"] == 1


def test_a_peer_that_fails_is_a_record_with_one_line_and_no_figures(tmp_path: Path) -> None:
    script = "import sys\nsys.stderr.write('loading\\n')\nraise ValueError('no such engine')"
    record, labels = run_once(job_of(), peer(tmp_path, script), ENGINE, timeout_s=60)
    assert record["status"] == "failed" and labels == {}
    assert record["error"] == "exit code 1: ValueError: no such engine"
    assert not [name for name, value in record.items() if isinstance(value, float | int) and name != "same_work"]


def test_a_peer_that_never_ends_is_ended(tmp_path: Path) -> None:
    record, _ = run_once(job_of(), peer(tmp_path, "import time; time.sleep(60)"), ENGINE, timeout_s=1)
    assert record["status"] == "failed" and "not over after 1 s" in record["error"]


def test_a_peer_that_cannot_be_installed_is_a_record_with_pips_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    peer(tmp_path / "peers", ANSWERS_ALL)
    (tmp_path / "peers" / "fake" / "requirements.txt").write_text("xpoll-no-such-package==1.0\n")
    (arm,) = find_arms(tmp_path / "peers")
    record, _ = run_once(job_of(), arm, ENGINE, timeout_s=60)
    assert record["status"] == "failed"
    assert "fake cannot be installed: ERROR" in record["error"] and "xpoll-no-such-package==1.0" in record["error"]


def test_an_environment_is_made_once_and_named_by_its_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    peer(tmp_path / "peers", ANSWERS_ALL)
    requirements = tmp_path / "peers" / "fake" / "requirements.txt"
    requirements.write_text("# nothing to install\n")
    first = environment_folder(requirements)
    (arm,) = find_arms(tmp_path / "peers")
    ran: list[list[str]] = []

    def run(command: list[str], _peer: Any) -> str:
        ran.append(command[1:])
        first.mkdir(exist_ok=True)
        return "six==1.17.0\n"

    monkeypatch.setattr(environments, "_run", run)
    assert interpreter_of(arm.peer) == first / "bin" / "python"
    assert [command[:3] for command in ran] == [
        ["-m", "venv", str(first)],
        ["-m", "pip", "install"],
        ["-m", "pip", "freeze"],
    ]
    assert (first / "ready").read_text() == "six==1.17.0\n"
    interpreter_of(arm.peer)
    assert len(ran) == 3, "one that is ready is not made again"
    (first / "ready").unlink()
    interpreter_of(arm.peer)
    assert len(ran) == 6, "one that was interrupted is"
    requirements.write_text("# another comment\n")
    assert environment_folder(requirements) == first
    requirements.write_text("six==1.17.0\n")
    assert environment_folder(requirements) != first


def test_answers_that_are_missing_doubled_or_nobodys_are_counted() -> None:
    lines = [PeerAnswer("a", 0, "positive"), PeerAnswer("a", 0, "negative"), PeerAnswer("a", 1, "positive")]
    lines += [PeerAnswer("b", 0, "who knows"), PeerAnswer("z", 0, "neutral"), PeerAnswer("b", 9, "neutral")]
    found = outcome_of(lines, ["a", "b", "c"], LABELS, samples=2, needed=2)
    assert (found.answers, found.missing, found.doubled, found.lost_rows, found.unparsable) == (3, 3, 1, 2, 1)
    assert found.labels == {"a": "positive", "b": None, "c": None}, "the first line of an answer counts"


def test_an_arm_that_stops_early_misses_nothing() -> None:
    lines = [PeerAnswer("a", 0, "positive"), PeerAnswer("a", 2, "positive")]
    enough = outcome_of(lines, ["a"], LABELS, samples=3, needed=2)
    assert (enough.missing, enough.lost_rows) == (0, 0)
    arm = next(arm for arm in find_arms() if arm.name == "xpoll_poll/decided")
    assert arm.answers_of(3) == (3, 2) and arm._replace(answers="one").answers_of(3) == (1, 1)


def test_a_line_that_a_kill_cut_off_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(
        '{"id": "a", "sample": 0, "text": "x"}\n{"id": "b", "sam{"id": "c", "sample": 0, "text": "y"}\n{"id'
    )
    assert read_answers(path) == [PeerAnswer("a", 0, "x")]
    assert read_answers(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("votes", "label"), [(["a", "b", "a"], "a"), (["a", "b"], None), ([], None), (["b"], "b"), (["a", "b", "c"], None)]
)
def test_a_majority_is_one_label_or_none(votes: list[str], label: str | None) -> None:
    assert majority_of(votes) == label


def test_agreement_leaves_out_what_the_reference_has_no_label_for() -> None:
    reference = {"a": "x", "b": "y", "c": None}
    assert agreement_of({"a": "x", "b": None, "c": "z"}, reference) == 0.5
    assert agreement_of({"c": "z"}, reference) is None


def test_accuracy_counts_rows_of_a_shorter_job_too() -> None:
    rows = LabelledSet(["t"] * 3, np.array([2, 0, 1]), LABELS, "")
    assert right_of({"0": "positive", "1": None}, rows) == 1


def test_arms_take_turns_and_one_that_failed_is_not_run_again(tmp_path: Path) -> None:
    good = peer(tmp_path / "a", "", name="good")
    bad = peer(tmp_path / "b", "", name="bad")
    ran: list[str] = []

    def run(arm: Arm) -> tuple[dict[str, Any], dict[str, str | None]]:
        ran.append(arm.peer.name)
        return {"status": "failed" if arm is bad else "ok"}, {}

    records = [record for record, _ in alternating_runs([good, bad], 3, run)]
    assert ran == ["good", "bad", "good", "good"]
    assert [(record["arm"], record["repeat"]) for record in records][-1] == ("good/one", 2)


def ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        read: dict[str, Any] = json.load(reply)
        return read


def test_the_mock_endpoint_gives_the_same_answers_to_the_same_request_within_its_constraint() -> None:
    messages = [{"role": "user", "content": "a text"}]
    schema = {"type": "object", "properties": {"reason": {"type": "string"}, "label": {"enum": LABELS}}}
    with serving_mock(0.0) as endpoint:
        first = ask(endpoint.url, {"messages": messages, "n": 3, "structured_outputs": {"json": schema}})
        again = ask(endpoint.url, {"messages": messages, "n": 3, "structured_outputs": {"json": json.dumps(schema)}})
        parts = [{"role": "user", "content": [{"type": "text", "text": "a text"}]}]
        choice = ask(endpoint.url, {"messages": parts, "structured_outputs": {"choice": ["only"]}})
        delivered = endpoint.delivered
    assert first == again and len(first["choices"]) == 3
    assert {json.loads(each["message"]["content"])["label"] for each in first["choices"]} <= set(LABELS)
    assert choice["choices"][0]["message"]["content"] == "only"
    assert delivered == {"a text": 7}


def test_the_mock_endpoint_refuses_a_long_text_and_goes_away_for_a_time() -> None:
    with serving_mock(0.0) as endpoint:
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(endpoint.url, {"messages": [{"role": "user", "content": "w " * 20_000}]})
        endpoint.go_away(at_request=1, for_s=0.5)
        ask(endpoint.url, {"messages": [{"role": "user", "content": "one"}]})
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            ask(endpoint.url, {"messages": [{"role": "user", "content": "two"}]})
        time.sleep(0.6)
        ask(endpoint.url, {"messages": [{"role": "user", "content": "two"}]})
    assert endpoint.has_been_away and endpoint.delivered == {"one": 1, "two": 1}


@pytest.fixture
def in_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Records by fault of a peer that asks row by row and keeps nothing of an earlier session."""
    arm = peer(tmp_path, ASKS, endpoint=True)
    parameters = {
        **PARAMETERS,
        "shapes": ["reasons"],
        "fault_sentences": 8,
        "fault_engine_sentences": 8,
        "fault_in_flight": 2,
        "fault_delay_s": 0.3,
        "away_s": 0.3,
    }
    return {record["role"]: record for record in faults.fault_records(parameters, [arm], ENGINE)}


def test_rows_lost_and_asked_twice_are_counted_at_the_endpoint(in_trouble: dict[str, dict[str, Any]]) -> None:
    assert list(in_trouble) == list(faults.FAULTS)
    assert all(record["status"] == "ok" for record in in_trouble.values()), in_trouble
    calm, poison = in_trouble[faults.UNDISTURBED], in_trouble[faults.POISON]
    assert (calm["rows_lost"], calm["asked_twice"], calm["sessions"]) == (0, 0, 1)
    assert poison["gave_up"] and poison["sessions"] == faults.SESSIONS
    assert (poison["rows_lost"], poison["asked_twice"]) == (3, 4 * 2 * 3), "it stops at row 4 of 8, three times"
    killed = in_trouble[faults.DRIVER_KILLED]
    assert (killed["rows_lost"], killed["sessions"], killed["gave_up"]) == (0, 2, False)
    assert killed["asked_twice"] >= 12, "half of 24 answers were delivered before"
    away = in_trouble[faults.ENGINE_KILLED]
    assert away["rows_lost"] == 0 and away["sessions"] > 1 and away["times_undisturbed"] > 0


def test_a_peer_that_cannot_do_the_job_at_all_has_one_record_of_trouble(tmp_path: Path) -> None:
    arm = peer(tmp_path, "raise SystemExit('no')", endpoint=True)
    parameters = {**PARAMETERS, "shapes": ["reasons"], "fault_sentences": 2, "fault_engine_sentences": 2}
    parameters |= {"fault_delay_s": 0.0, "away_s": 0.1, "fault_in_flight": 2}
    (record,) = faults.fault_records(parameters, [arm], ENGINE)
    assert (record["role"], record["status"], record["error"]) == (faults.UNDISTURBED, "failed", "exit code 1: no")


def test_why_a_peer_failed_names_no_folder_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race.tempfile, "gettempdir", lambda: "/somewhere")
    line = race.one_line(f"OSError: /somewhere/xpoll-peer-1/job and\n{Path.home()}/x {'y' * 400}")
    assert line.startswith("OSError: xpoll-peer-1/job and ~/x y") and len(line) == race.LINE_CHARACTERS


def test_the_common_file_of_peers_needs_the_standard_library_alone() -> None:
    tree = ast.parse((COMMON / "peer_job.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
