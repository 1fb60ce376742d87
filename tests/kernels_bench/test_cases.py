"""What is counted of an operator, what it computes, and what a ceiling says; no time is asserted."""

from typing import Any

import pytest
import torch

from xpoll.kernels_bench import ceilings
from xpoll.kernels_bench.arms import measured
from xpoll.kernels_bench.attention import PAGE, attention_cases
from xpoll.kernels_bench.cases import Case, gemm, layer_gemms, row_cases
from xpoll.kernels_bench.ceilings import Ceilings, known_dtypes
from xpoll.kernels_bench.collective import all_reduce
from xpoll.kernels_bench.memory import memory_cases
from xpoll.kernels_bench.run import run_kernels
from xpoll.kernels_bench.selection import CaseSelection
from xpoll.kernels_bench.shapes import SHAPES
from xpoll.kernels_bench.timing import Timer, summary


def case_of(kernel: str, model: str = "smollm2-135m") -> Case:
    cases = [*row_cases(model, 4, "fp32"), *attention_cases(model, "fp32", prompt=8, sequences=3, context=70)]
    return next(case for case in cases if case.kernel == kernel)


def test_a_models_matrices_hold_its_layers_weights() -> None:
    params = {"smollm2-135m": 134_515_008, "llama-3.1-8b": 8_030_261_248, "qwen2.5-7b": 7_615_616_512}
    layers = {"smollm2-135m": 30, "llama-3.1-8b": 32, "qwen2.5-7b": 28}
    tied = {"smollm2-135m"}
    for model, num_params in params.items():
        sizes = {name: inner * columns for name, (inner, columns) in SHAPES[model].gemms.items()}
        embeddings = sizes.pop("logits") * (1 if model in tied else 2)
        counted = layers[model] * sum(sizes.values()) + embeddings
        assert counted == pytest.approx(num_params, rel=1e-3), model  # norms and biases are not matrices


def test_an_expert_sees_its_share_of_the_tokens() -> None:
    rows = {case.shape.split()[0]: int(case.shape.split()[1]) for case in layer_gemms("mixtral-8x7b", 64, "fp32")}
    assert rows == {"qkv": 64, "out": 64, "up": 16, "down": 16, "logits": 64}


def test_gemm_counts_two_operations_a_weight_and_row() -> None:
    case = gemm("", 3, 5, 7, "fp32")
    assert (case.flop, case.moved_bytes) == (2 * 3 * 5 * 7, 4 * (15 + 35 + 21))
    x, w = case.inputs("cpu")
    torch.testing.assert_close(case.eager(x, w), x @ w.T)


def test_memory_is_counted_as_stream_counts_it() -> None:
    copy, triad = memory_cases(1)
    assert (copy.moved_bytes, triad.moved_bytes) == (2 * 2**20, 3 * 2**20)
    a, b, c = triad.inputs("cpu")
    triad.eager(a, b, c)
    torch.testing.assert_close(a, b + 3 * c)


def test_top_p_keeps_the_smallest_set_of_tokens_with_that_probability() -> None:
    case = case_of("top_p")
    logits = torch.log(torch.tensor([[0.5, 0.05, 0.3, 0.15]]))
    kept = case.eager(logits).isfinite()
    assert kept.tolist() == [[True, False, True, True]], "0.5 + 0.3 are less than 0.9, so that 0.15 is needed"


def test_rotary_embedding_turns_pairs_and_keeps_their_length() -> None:
    case = case_of("rope")
    query, key, table, positions, head_dim = case.inputs("cpu")
    turned, _ = case.eager(query, key, table, positions, head_dim)
    torch.testing.assert_close(turned.norm(), query.norm())
    torch.testing.assert_close(turned[0], query[0])  # position 0 is not turned
    assert not torch.allclose(turned[1], query[1])


def test_paged_decode_is_attention_over_the_pages_in_the_tables_order() -> None:
    case = case_of("attention_decode")
    query, keys, values, table, context = case.inputs("cpu")
    assert context > PAGE, "more than a page, so that the order of pages matters"
    found = case.eager(query, keys, values, table, context)
    for sequence in range(query.shape[0]):
        k = torch.cat([keys[page] for page in table[sequence]])[:context]
        v = torch.cat([values[page] for page in table[sequence]])[:context]
        for head in range(query.shape[1]):
            kv = head // (query.shape[1] // keys.shape[2])
            weights = (k[:, kv] @ query[sequence, head] / query.shape[2] ** 0.5).softmax(0)
            torch.testing.assert_close(found[sequence, head], weights @ v[:, kv], rtol=1e-3, atol=1e-4)


def test_an_encoder_has_no_decode_and_no_rotary_embedding() -> None:
    cases = [*row_cases("roberta-base", 4, "fp32")]
    cases += attention_cases("roberta-base", "fp32", prompt=8, sequences=1, context=8)
    assert {case.kernel for case in cases} == {"rms_norm", "softmax", "top_p", "attention_prefill"}


def test_a_ceiling_is_the_slower_of_computing_and_moving() -> None:
    ceilings = Ceilings({"fp32": 100.0}, 10.0)
    large, thin = gemm("", 100, 100, 100, "fp32"), gemm("", 1, 100, 100, "fp32")
    assert (ceilings.seconds(large), ceilings.bound(large)) == (2e6 / 100, "compute")
    assert (ceilings.seconds(thin), ceilings.bound(thin)) == (thin.moved_bytes / 10, "memory")
    unknown = gemm("", 1, 1, 1, "bf16")
    assert (ceilings.seconds(unknown), ceilings.bound(unknown)) == (None, None)


def test_a_dtype_that_the_device_cannot_multiply_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(torch, "_int_mm", refuse)
    assert known_dtypes("cpu", ["fp32", "int8"]) == ["fp32"]


def test_a_summary_has_median_and_percentiles() -> None:
    times = summary([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (times.median_s, times.samples, times.least_s) == (3.0, 5, 1.0)
    assert times.p5_s == pytest.approx(1.2)
    assert times.p95_s == pytest.approx(4.8)


def broken(case: Case, **changes: Any) -> Case:
    import dataclasses

    return dataclasses.replace(case, **changes)


def test_an_operator_that_computes_something_else_has_no_times() -> None:
    timer = Timer("cpu", samples=1, most_s=0.0)
    wrong = broken(case_of("softmax"), own=lambda x: lambda: x * 0)
    record = measured(wrong, "vllm", timer)
    assert record["status"] == "failed"
    assert "differ from PyTorch's" in record["error"]
    assert not [name for name in record if name.endswith("_us")]


def test_an_operator_that_is_not_there_is_a_failed_record() -> None:
    def missing(_: torch.Tensor) -> Any:
        raise ImportError("no module named vllm")

    record = measured(broken(case_of("softmax"), own=missing), "vllm", Timer("cpu", samples=1, most_s=0.0))
    assert (record["status"], record["error"]) == ("failed", "ImportError: no module named vllm")


def test_a_run_says_its_ceilings_first_and_holds_every_operator_against_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpoll.kernels_bench.ceilings.array_mib", lambda _: 1)
    monkeypatch.setitem(ceilings.GEMM_SIZE, "cpu", 64)
    opinion = [ceilings.OtherTool("gemm_gflop_per_s", 1e9, lambda: None)]
    monkeypatch.setattr(ceilings, "other_tools", lambda: opinion)
    selection = CaseSelection("cpu", ["smollm2-135m"], ["fp32"], ["eager"], 2, 8, 1, 0.0)
    records = list(run_kernels(selection))
    assert [(r["role"], r["kernel"]) for r in records[:4]] == [
        ("ceiling", "triad"),
        ("ceiling", "copy"),
        ("ceiling", "gemm"),
        ("second opinion", "ceilings"),
    ]
    assert records[3]["gemm_gflop_per_s"] > 1
    assert records[3]["triad_gb_per_s"] is None
    triad = records[0]
    assert triad["gb_per_s"] == pytest.approx(triad["moved_bytes"] / triad["warm_least_us"] / 1e3, rel=0.01)
    assert triad["warm_least_us"] <= triad["warm_p5_us"] <= triad["warm_median_us"]
    assert records[4] == {
        "role": "collective",
        "kernel": "all_reduce",
        "shape": "64 MiB",
        "dtype": "bf16",
        "status": "not applicable",
        "error": "there is one device",
    }
    operators = records[5:]
    assert {r["kernel"] for r in operators} >= {"gemm", "rms_norm", "rope", "silu_mul", "top_p", "attention_decode"}
    for record in operators:
        assert record["status"] == "ok", record
        expected = 100 * record["ceiling_us"] / record["cold_median_us"]
        assert record["percent_of_ceiling"] == pytest.approx(expected, rel=0.01, abs=0.01)


@pytest.mark.engine
def test_all_reduce_runs_in_a_process_for_each_device() -> None:
    record = all_reduce("cpu", 2, 1)
    assert record["backend"] == "gloo"
    assert record["gb_per_s"] > 0


@pytest.mark.engine
def test_vllms_own_operators_compute_what_pytorch_does() -> None:
    pytest.importorskip("vllm")
    timer = Timer("cpu", samples=1, most_s=0.0)
    for kernel in ("rms_norm", "silu_mul", "rope", "top_p", "attention_decode"):
        record = measured(case_of(kernel), "vllm", timer)
        assert record["status"] == "ok", record
