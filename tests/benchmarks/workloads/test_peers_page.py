"""What the records of a race say together, and the page that is made from them."""

from typing import Any

from xpoll.benchmarks.workloads.peers.faults import DRIVER_KILLED
from xpoll.benchmarks.workloads.peers.page import peers_page
from xpoll.benchmarks.workloads.peers.tables import label_records, medians, ratio_records, trouble_record

BASE = {"shape": "reasons", "part": "in_process", "version": "1.0", "status": "ok", "sentences": 4}


def run(arm: str, rate: float, *, repeat: int = 0, same_work: bool = True, accuracy: float = 0.5, **more: Any) -> Any:
    figures = {"documents_per_s": rate, "wall_s": 4 / rate, "first_answer_s": 2.0, "memory_mib": 100.0}
    counts = {"answers": 12, "missing": 0, "doubled": 0, "unparsable": 0}
    own = {"arm": arm, "repeat": repeat, "same_work": same_work, "accuracy": accuracy}
    return {**BASE, **own, **figures, **counts, **more}


def records() -> list[dict[str, Any]]:
    return [
        run("xpoll_poll/all", 2.0),
        run("xpoll_poll/all", 3.0, repeat=1),
        run("xpoll_poll/all", 4.0, repeat=2),
        run("xpoll_poll/reads", 8.0, same_work=False, accuracy=0.6),
        run("vllm_llm/tuned", 4.0, memory_mib=50.0),
        run("vllm_llm/published", 0.5, same_work=False, accuracy=0.1),
        run("ray_data_vllm/tuned", 1.5),
        run("vllm_run_batch/tuned", 9.0, missing=2),
    ]


def test_a_median_is_over_the_runs_that_have_the_figure() -> None:
    failed = {"arm": "xpoll_poll/all", "status": "failed", "documents_per_s": 99.0}
    assert medians([*records(), failed], "documents_per_s")["xpoll_poll/all"] == 3.0


def test_labels_are_held_against_the_same_repeat_and_the_reference_against_its_next() -> None:
    labels = {
        ("xpoll_poll/all", 0): {"a": "x", "b": "y"},
        ("xpoll_poll/all", 1): {"a": "x", "b": "z"},
        ("vllm_llm/tuned", 0): {"a": "x", "b": "y"},
        ("xpoll_poll/reads", 0): {"a": "y", "b": "y"},
        ("vllm_llm/published", 0): {"a": "y", "b": "x"},
    }
    found = {each["arm"]: each for each in label_records(records(), labels, ["none/such", "xpoll_poll/all"])}
    assert found["xpoll_poll/all"]["agreement"] == 0.5 and found["xpoll_poll/all"]["same_result"]
    assert found["vllm_llm/tuned"]["agreement"] == 1.0
    assert found["xpoll_poll/reads"]["agreement"] == 0.5 and found["xpoll_poll/reads"]["same_result"], "more accurate"
    assert found["vllm_llm/published"]["agreement"] == 0.0 and not found["vllm_llm/published"]["same_result"]
    assert "agreement" not in found["ray_data_vllm/tuned"], "no labels, no figure"
    assert not list(label_records(records(), labels, []))


def test_shares_leave_out_peers_that_lost_answers_or_did_other_work() -> None:
    said = [{"arm": "xpoll_poll/reads", "same_result": True}, {"arm": "vllm_llm/tuned", "same_result": True}]
    merged: dict[str, Any] = {}
    for record in ratio_records(records(), said, "endpoint"):
        merged |= record
    assert merged["endpoint_share_of_best_peer"] == 0.75, "3 of vllm_llm/tuned's 4; run-batch lost two answers"
    assert merged["endpoint_memory_of_best_peer"] == 2.0
    assert merged["endpoint_share_of_ray_data"] == 2.0
    assert merged["endpoint_same_result_of_best_peer"] == 2.0, "8 reads of 4"
    assert merged["endpoint_same_result_of_published"] == 16.0


def test_what_faults_cost_xpoll_is_one_record_and_that_of_peers_is_not_in_it() -> None:
    common = {"status": "ok", "role": "engine killed", "rows_lost": 0, "asked_twice": 0, "times_undisturbed": 1.1}
    found = trouble_record(
        [
            {**common, "arm": "xpoll_poll/all", "asked_twice": 2},
            {**common, "arm": "xpoll_openai/all", "times_undisturbed": 1.4},
            {**common, "arm": "xpoll_openai/all", "role": "driver killed", "times_undisturbed": 9.0, "rows_lost": 1},
            {**common, "arm": "daft/default", "rows_lost": 7},
            {"arm": "xpoll_poll/all", "role": "poison row", "status": "failed"},
        ],
        "engine killed",
    )
    assert found is not None
    assert (found["xpoll_rows_lost"], found["xpoll_asked_twice"], found["xpoll_times_undisturbed"]) == (1, 2, 1.4)
    assert trouble_record([{**common, "arm": "daft/default"}], "engine killed") is None


def document(**more: Any) -> dict[str, Any]:
    failed = {**BASE, "arm": "daft/default", "repeat": 0, "same_work": True, "error": "exit code 1: a | b"}
    failed["status"] = "failed"
    fault = {**BASE, "part": "faults", "role": DRIVER_KILLED, "arm": "xpoll_openai/all", "rows_lost": 0}
    fault |= {"asked_twice": 0, "wall_s": 12.0, "sessions": 2, "gave_up": False, "times_undisturbed": 1.2}
    fault |= {"memory_mib": 99.0}
    labels = [{"part": "in_process", "shape": "reasons", "arm": "xpoll_poll/all", "role": "labels", "agreement": 0.5}]
    labels[0] |= {"same_result": True, "reference": "xpoll_poll/all"}
    return {
        "parameters": {
            "parts": ["in_process"],
            "sentences": 4,
            "repeats": 3,
            "model": "m",
            "in_flight": 64,
            "note": "a trial",
        },
        "changed": {"repeats": 3, "few": {"vllm_llm/published": 2}},
        "started_utc": "2026-01-01T00:00:00Z",
        "environment": {
            "packages": {"ray": "2.0"},
            "cores": 2,
            "processor": "a processor",
            "memory_gib": 24.0,
            "commit": "abc",
            "dirty": False,
        },
        "records": [*records(), *labels, failed, fault],
        **more,
    }


def test_the_page_has_both_tables_losses_failures_and_the_command() -> None:
    page = peers_page([document()])
    assert "| `xpoll_poll/all` | 3 (2 to 4) |" in page
    same_work, _, rest = page.partition("Same work")[2].partition("Same result")
    assert "vllm_llm/published" not in same_work and "`vllm_llm/published`" in rest
    assert "documents per second: a peer wins" in page and "`vllm_run_batch/tuned` 9 against 3" in page
    assert "memory: a peer wins, `vllm_llm/tuned` 50 against 100" in page
    assert "| in process, reasons | `daft/default` | exit code 1: a \\| b |" in page
    assert "| `xpoll_openai/all` | 0 | 0 | 12 | 1.20 | 99 | 2 | no |" in page
    assert (
        """xpoll bench peers --set 'parameters.repeats=3' --set 'parameters.few={"vllm_llm/published" = 2}'""" in page
    )
    assert "| `distilabel/default` | not run |" in page
    assert "* in process: 2026-01-01T00:00:00Z, 2 cores of a processor" in page and "**a trial**" in page


def test_a_page_without_any_run_says_what_did_not_run() -> None:
    only = [record for record in document()["records"] if record.get("status") == "failed"]
    page = peers_page([document(records=only)])
    assert "Same work" not in page and "In trouble" not in page and "daft/default" in page


def test_a_page_of_no_document_says_that_nothing_is_measured() -> None:
    assert "nothing is measured yet" in peers_page([])
