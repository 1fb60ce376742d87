"""Limits of control groups, as the kernel shows them in version 1 and 2, in containers and below other groups."""

from pathlib import Path

import pytest

from xpoll.core.errors import EngineError
from xpoll.core.machine import cgroups, environment
from xpoll.core.machine.cgroups import core_limit, memory_kills, memory_limit_bytes, usable_cores
from xpoll.engine.memory_kills import memory_kills_named

GIB = 2**30
NO_LIMIT = "9223372036854771712"  # 2^63, in whole pages

V2 = {
    "proc/self/cgroup": "0::/job/step",
    "sys/fs/cgroup/job/step/memory.max": "max",
    "sys/fs/cgroup/job/memory.max": f"{3 * GIB}",
}
V1 = {
    "proc/self/cgroup": "4:memory:/job\n2:cpu,cpuacct:/job\n0::/",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": NO_LIMIT,
    "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{2 * GIB}",
}
V1_CONTAINER = {
    "proc/self/cgroup": "4:memory:/docker/0123\n2:cpu,cpuacct:/docker/0123",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
}
V2_CONTAINER = {
    "proc/self/cgroup": "0::/",
    "sys/fs/cgroup/memory.max": f"{GIB}",
    "sys/fs/cgroup/cpu.max": "250000 100000",
}
NONE = {
    "proc/self/cgroup": "0::/",
    "sys/fs/cgroup/memory.max": "max",
    "sys/fs/cgroup/cpu.max": "max 100000",
}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "memory", "cores"),
    [
        (V2, 3 * GIB, None),
        (V2_CONTAINER, GIB, 3),
        (V1, 2 * GIB, None),
        (V1_CONTAINER, 2 * GIB, 1),
        (NONE, None, None),
        ({}, None, None),
    ],
    ids=["v2, of the group above", "v2 container", "v1", "v1 container", "no limit", "no cgroups"],
)
def test_the_least_limit_counts(tmp_path: Path, files: dict[str, str], memory: int | None, cores: int | None) -> None:
    root = write(tmp_path, files)
    assert (memory_limit_bytes(root), core_limit(root)) == (memory, cores)
    assert usable_cores(root) <= (cores or usable_cores())


def test_what_can_be_used_is_never_more_than_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = environment.machine_memory_bytes()
    for limit, expected in ((None, machine), (GIB, min(GIB, machine)), (2 * machine, machine)):
        monkeypatch.setattr(environment, "memory_limit_bytes", lambda limit=limit: limit)
        assert environment.memory_bytes() == expected


def test_cores_of_an_engine_follow_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    from xpoll.engine.devices import cores

    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(cores, "core_limit", lambda: 3)
    assert [len(share) for share in cores.core_shares(1, 1)] == [3]
    monkeypatch.setattr(cores, "core_limit", lambda: None)
    assert [len(share) for share in cores.core_shares(1, 1)] == [16]


def test_a_file_that_is_no_number_is_no_limit(tmp_path: Path) -> None:
    root = write(tmp_path, {**NONE, "sys/fs/cgroup/memory.max": "\N{SNOWMAN}", "sys/fs/cgroup/cpu.max": "1 0"})
    assert (memory_limit_bytes(root), core_limit(root), memory_kills(root)) == (None, None, 0)


@pytest.mark.parametrize(
    ("files", "counter"),
    [(V2_CONTAINER, "sys/fs/cgroup/memory.events"), (V1, "sys/fs/cgroup/memory/job/memory.oom_control")],
    ids=["v2", "v1"],
)
def test_an_engine_that_the_kernel_kills_for_memory_is_named(
    tmp_path: Path, files: dict[str, str], counter: str
) -> None:
    root = write(tmp_path, {**files, counter: "oom 4\noom_kill 1"})

    def fail(kills: int) -> str:
        with pytest.raises(EngineError) as raised, memory_kills_named(root):
            write(root, {counter: f"oom 9\noom_kill {kills}"})
            raise EngineError("vLLM does not start m: RuntimeError: cancelled", mend="see xpoll.log")
        return str(raised.value)

    assert fail(1) == "vLLM does not start m: RuntimeError: cancelled -> see xpoll.log"
    limit = memory_limit_bytes(root)
    assert limit
    named = fail(2)
    assert f"the kernel killed a process for memory: {limit / GIB:.1f} GiB, the limit of its control group" in named
    assert "RuntimeError: cancelled" in named and named.endswith("VLLM_CPU_KVCACHE_SPACE=1")
    assert cgroups.memory_kills(root) == 2
