"""IPEX's operators beside the others: where there is no IPEX, where its step fails, and what it computes."""

from pathlib import Path

import pytest

from xpoll.kernels_bench.ipex import ipex_records
from xpoll.kernels_bench.ipex_operators import OPERATORS, has_operator
from xpoll.kernels_bench.selection import CaseSelection, cases_of

ROOT = Path(__file__).parents[2]


def selection(python: Path) -> CaseSelection:
    return CaseSelection("cpu", ["smollm2-135m"], ["fp32", "int8"], ["ipex"], 2, 8, 1, 0.0, str(python))


def test_without_its_environment_the_arm_is_one_record_that_says_what_to_do(tmp_path: Path) -> None:
    cases = list(cases_of(selection(tmp_path), ["fp32"]))
    (found,) = ipex_records(selection(tmp_path / "python"), cases)
    assert found[1]["status"] == "not applicable"
    assert "make ipex" in found[1]["error"]
    assert not [name for name in found[1] if name.endswith("_us")]


def test_a_step_that_fails_is_a_failed_record_with_its_last_line(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ImportError: no IPEX' >&2\nexit 1\n")
    python.chmod(0o755)
    (found,) = ipex_records(selection(python), list(cases_of(selection(python), ["fp32"])))
    assert (found[1]["status"], found[1]["error"]) == ("failed", "ImportError: no IPEX")


def test_int8_matrices_and_sampling_are_not_ipexs() -> None:
    cases = list(cases_of(selection(Path()), ["fp32", "int8"]))
    without = {(case.kernel, case.dtype) for case in cases if not has_operator(case)}
    assert without == {("gemm", "int8"), ("softmax", "fp32"), ("top_p", "fp32")}


@pytest.mark.ipex
def test_ipexs_operators_compute_what_pytorch_does() -> None:
    cases = list(cases_of(selection(ROOT / ".venv-ipex/bin/python"), ["fp32"]))
    found = list(ipex_records(selection(ROOT / ".venv-ipex/bin/python"), cases))
    assert {case.kernel for case, _ in found} == set(OPERATORS)
    for case, record in found:
        assert record["status"] == "ok", record
        assert (record["kernel"], record["shape"]) == (case.kernel, case.shape)
        assert record["cold_median_us"] > 0
