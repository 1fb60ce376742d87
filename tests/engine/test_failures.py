"""What an engine printed is told apart by its cause, and each cause says how to mend it."""

import os

import pytest

from xpoll.engine.backends.vllm.output_tail import OutputTail
from xpoll.engine.failures import FAILURES, failure_in

PRINTED = [
    ("RuntimeError: level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)", "device lost"),
    (
        "RuntimeError: level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
        "out of device memory",
    ),
    (
        "RuntimeError: Native API failed. Native API returns: 40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)",
        "out of device memory",
    ),
    ("torch.OutOfMemoryError: XPU out of memory. Tried to allocate 1.16 GiB", "out of device memory"),
    (
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
        "out of device memory",
    ),
    (
        "ValueError: Free memory on device xpu:0 (0.0/47.98 GiB) on startup is less than desired memory utilization",
        "free memory reads 0",
    ),
    (
        "RuntimeError: The device (Intel(R) Data Center GPU Max 1100) does not have the ext_intel_free_memory aspect",
        "free memory reads 0",
    ),
    (
        "ValueError: To serve at least one request with the model's max seq len (131072), 16.0 GiB KV cache is needed, "
        "which is larger than the available KV cache memory (9.3 GiB).",
        "context does not fit",
    ),
    ("ImportError: /opt/venv/lib/libsycl.so.9: undefined symbol: urDeviceWaitExp", "foreign SYCL runtime"),
    ("OSError: libze_loader.so.1: cannot open shared object file: No such file or directory", "loader missing"),
    ("RuntimeError: No XPU devices are available.", "no device visible"),
    ("Model architectures ['LlamaForCausalLM'] failed to be inspected.", "model inspection died"),
    ("RuntimeError: Failed to infer device type, please set the environment variable", "XPU kernels do not load"),
    (
        "ImportError: /opt/venv/site-packages/vllm_xpu_kernels/_C.abi3.so: undefined symbol: _ZN3c104impl",
        "XPU kernels do not load",
    ),
    ("RuntimeError: paged decode: kernel tuple not compiled for this configuration", "no such attention kernel"),
    ("RuntimeError: Only XE2/XE3 cutlass kernel is supported currently.", "attention is not for this card"),
    (
        "ValueError: Attempting to start raylet with 2 GPU, but ZE_AFFINITY_MASK contains ['gpu'].",
        "Ray refuses the mask",
    ),
    ("2026:01:12-10:21:14:( 4711) |CCL_ERROR| pmi_listener: connection failed", "CCL does not start"),
]


@pytest.mark.parametrize(("printed", "name"), PRINTED)
def test_a_failure_is_told_by_what_was_printed(printed: str, name: str) -> None:
    around = (
        f"INFO 11-21 loading weights\n{printed}\nRuntimeError: Engine core initialization failed. See root cause above."
    )
    failure = failure_in(around)
    assert failure is not None, printed
    assert failure.name == name
    assert failure.mend in str(failure)


def test_free_memory_of_0_is_not_blamed_on_max_alone_and_its_mend_breaks_no_abi() -> None:
    (failure,) = (failure for failure in FAILURES if failure.name == "free memory reads 0")
    assert "Max" not in failure.what
    assert "Arc: a driver" in failure.mend
    assert "pip install" not in failure.mend


def test_every_failure_has_a_text_that_shows_it() -> None:
    assert {name for _, name in PRINTED} == {failure.name for failure in FAILURES}


@pytest.mark.parametrize(
    "printed",
    [
        "Free memory on device xpu:0 (40.0/47.98 GiB) on startup is less than desired GPU memory utilization",
        "ValueError: Unknown architecture 'Foo'",
        "INFO CCL_PROCESS_LAUNCHER=none",
        "",
    ],
)
def test_other_texts_are_no_known_failure(printed: str) -> None:
    assert failure_in(printed) is None


def test_what_a_child_prints_is_kept_and_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    kept = os.dup(1), os.dup(2)
    try:
        words = OutputTail()
        os.system("echo from a child; echo and an error >&2")
        assert words.text().splitlines()[-2:] == ["from a child", "and an error"]
        words.clear()
        assert words.text() == ""
    finally:
        for descriptor, copy in enumerate(kept, start=1):
            os.dup2(copy, descriptor)
            os.close(copy)
    said = capfd.readouterr()
    assert "from a child" in said.out + said.err
