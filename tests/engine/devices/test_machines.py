"""`xpoll plan` and `xpoll doctor` on machines with Intel GPUs that are not there."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.conftest import ROOT, in_this_process
from tests.support.fake_machine import ARC_B60, build
from xpoll.engine.backends.registry import vllm_takes_gpus

HEAVY = ("torch", "ray", "vllm", "transformers")


def xpoll(sysfs: Path, *arguments: object, code: int = 0) -> Any:
    """What the command prints as JSON on that machine, else what it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ZE_", "ONEAPI_"))}
    with mock.patch.dict(os.environ, {**kept, "XPOLL_SYSFS": str(sysfs)}, clear=True):
        done = in_this_process([*map(str, arguments), "--json"], ROOT)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_plan_and_doctor_import_no_heavy_package(tmp_path: Path) -> None:
    run = f"""
import sys
from xpoll.scripts.cli import main
for command in (["plan", {config("max1100")!r}], ["doctor"]):
    main([*command, "--json"])
    heavy = [name for name in {HEAVY} if name in sys.modules]
    assert not heavy, (command, heavy)
"""
    environment = {**os.environ, "XPOLL_SYSFS": str(build(tmp_path, "max-1100")), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", run], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def config(name: str) -> str:
    return f"configs/investor_sentiment_{name}.toml"


def test_one_max_1100(tmp_path: Path) -> None:
    plan = xpoll(build(tmp_path, "max-1100"), "plan", config("max1100"))
    assert (plan["devices"], plan["device_masks"], plan["replicas"]) == (["xpu:0"], ["0"], 1)
    assert plan["device_name"] == "Intel Data Center GPU Max 1100"
    assert plan["block_size"] == 64
    fit, rate = plan["fit"], plan["rate_at_most"]
    assert fit["fits"] is True
    assert (fit["memory_gib"], fit["weights_gib"], fit["context_tokens"]) == (48, 14.19, 8192)
    assert fit["kv_cache_gib"] == pytest.approx(48 * 0.92 - 14.19, abs=0.01)
    assert rate["roofline"] == ["max-1100"]
    assert "unconfirmed" in rate["source"][0]
    assert rate["wall_s"] == pytest.approx(plan["prompts"] / rate["prompts_per_s"], rel=0.01)


def test_four_max_1100_are_four_replicas_and_four_times_as_fast(tmp_path: Path) -> None:
    one = xpoll(build(tmp_path / "one", "max-1100"), "plan", config("max1100"))
    four = xpoll(build(tmp_path / "four", "max-1100-x4"), "plan", config("max1100"))
    assert four["device_masks"] == ["0", "1", "2", "3"]
    assert four["rate_at_most"]["prompts_per_s"] == pytest.approx(4 * one["rate_at_most"]["prompts_per_s"], rel=0.01)


def test_eight_max_1550_are_sixteen_tiles_or_eight_cards(tmp_path: Path) -> None:
    sysfs = build(tmp_path, "max-1550-x8")
    tiles = xpoll(sysfs, "plan", config("max1550"))
    cards = xpoll(sysfs, "plan", config("max1550"), "--set", "engine.device_hierarchy=COMPOSITE")
    assert tiles["device_masks"] == [str(i) for i in range(16)]
    assert cards["device_masks"] == [str(i) for i in range(8)]
    assert (tiles["fit"]["memory_gib"], cards["fit"]["memory_gib"]) == (64, 128)
    assert (tiles["rate_at_most"]["roofline"], cards["rate_at_most"]["roofline"]) == (
        ["max-1550-tile"],
        ["2 x max-1550-tile"],
    )


def test_a_model_that_does_not_fit_is_told_with_the_setting_that_does(tmp_path: Path) -> None:
    sysfs = build(tmp_path, "max-1100-x4")
    too_large = xpoll(sysfs, "plan", config("max1100"), "--set", "engine.model=Qwen/Qwen2.5-32B-Instruct")
    assert too_large["fit"]["fits"] is False
    assert too_large["fit"]["why"] == (
        "61.03 GiB of weights leave no room for a KV cache in 48 GiB: "
        "engine.tensor_parallel = 2 fits, with 2 such devices for one engine"
    )
    over_two = xpoll(
        sysfs,
        "plan",
        config("max1100"),
        *("--set", "engine.model=Qwen/Qwen2.5-32B-Instruct", "--set", "engine.tensor_parallel=2"),
    )
    assert (over_two["fit"]["fits"], over_two["device_masks"]) == (True, ["0,1", "2,3"])
    long = xpoll(
        build(tmp_path / "arc", (ARC_B60,)),
        "plan",
        config("arc_b60"),
        "--set",
        "engine.vllm.max_model_len=500000",
    )
    most = long["fit"]["most_context_tokens"]
    assert long["fit"]["fits"] is False
    assert f"engine.vllm.max_model_len = {most} fits" in long["fit"]["why"]
    fitting = xpoll(tmp_path / "arc/sys", "plan", config("arc_b60"), "--set", f"engine.vllm.max_model_len={most}")
    assert fitting["fit"]["fits"] is True


def test_a_run_with_such_a_model_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    said = xpoll(
        build(tmp_path, "max-1100"),
        *("run", config("max1100"), "--set", "engine.model=Qwen/Qwen2.5-32B-Instruct"),
        *("--set", f"job.run_folder={folder}"),
        code=2,
    )
    assert said.startswith(
        "xpoll: Qwen/Qwen2.5-32B-Instruct does not fit onto Intel Data Center GPU Max 1100: 61.03 GiB of weights"
    )
    assert said.endswith("-> engine.tensor_parallel = 2 fits, with 2 such devices for one engine\n")
    assert not folder.exists()


def test_arc_cards_beside_an_integrated_gpu(tmp_path: Path) -> None:
    plan = xpoll(build(tmp_path, "arc-and-integrated"), "plan", config("arc_b60"), "--set", "engine.replicas=1")
    assert (plan["devices"], plan["device_masks"], plan["device_name"]) == (["xpu:1"], ["1"], "Intel Arc Pro B60")
    assert (plan["fit"]["fits"], plan["rate_at_most"]["roofline"]) == (True, ["arc-pro-b60"])
    mixed = xpoll(tmp_path / "sys", "plan", config("arc_b60"))
    assert mixed["fit"]["memory_gib"] == 11.36, "the B580 has the least"
    rate = mixed["rate_at_most"]
    assert (rate["prompts_per_s"], rate["why"]) == (None, "no peaks of Intel Arc B580 are known")


def test_a_plan_says_whether_graphs_are_on_what_they_need_and_what_nobody_does(tmp_path: Path) -> None:
    arc, maximal = build(tmp_path / "arc", "arc-b70"), build(tmp_path / "max", "max-1550-x8")

    def notes(sysfs: Path, name: str, *overrides: str) -> list[str]:
        given = [part for override in overrides for part in ("--set", override)]
        return list(xpoll(sysfs, "plan", config(name), *given)["notes"])

    (on,) = notes(arc, "arc_b60")
    assert on.startswith("XPU graphs: as vLLM has them")
    assert "torch 2.11 or later" in on and "2026.1.1" in on
    assert notes(arc, "arc_b60", "engine.vllm.enforce_eager=true") == [
        "XPU graphs: off, as engine.vllm.enforce_eager says"
    ]
    assert "enable_sleep_mode" in notes(arc, "arc_b60", "engine.vllm.enable_sleep_mode=true")[0]
    assert notes(maximal, "max1550") == [
        "XPU graphs: off, as nobody is known to have run them on Intel Data Center GPU Max 1550"
    ]
    over_the_card = notes(maximal, "max1550", "engine.device_hierarchy=COMPOSITE")[1]
    assert "tensor_parallel = 2 is the usual way" in over_the_card
    assert "notes" in xpoll(tmp_path / "none", "plan", config("cpu"))


def test_a_job_for_a_card_of_two_tiles_advises_nothing_that_nobody_runs() -> None:
    text = (ROOT / config("max1550")).read_text(encoding="utf-8")
    assert "COMPOSITE" not in text
    assert "--set engine.tensor_parallel=2" in text


def test_a_card_that_disappeared_is_left_out_and_named(tmp_path: Path) -> None:
    plan = xpoll(build(tmp_path, "one-gone"), "plan", config("max1100"))
    assert plan["device_masks"] == ["0"]
    assert plan["devices_left_out"] == ["Intel Data Center GPU Max 1100 at 0000:4d:00.0: gone"]


def test_auto_takes_the_cpu_where_the_installed_vllm_is_made_for_it_and_says_so(tmp_path: Path) -> None:
    if vllm_takes_gpus():
        pytest.skip("the installed vLLM is made for GPUs")
    plan = xpoll(build(tmp_path, "max-1100"), "plan", config("cpu"), "--set", "engine.device=auto")
    assert plan["devices"] == ["cpu:0"]
    assert plan["devices_left_out"] == [
        "Intel Data Center GPU Max 1100 at 0000:3b:00.0: the installed vLLM is made for CPUs"
    ]


def test_all_configs_are_planned_at_once_and_what_cannot_run_here_is_said(tmp_path: Path) -> None:
    paths = sorted(path.relative_to(ROOT) for path in (ROOT / "configs").glob("*.toml"))
    here = xpoll(build(tmp_path, "max-1100"), "plan", *paths)
    assert {name: "error" in plan for name, plan in here.items()} == {str(path): False for path in paths}
    nothing = build(tmp_path / "nothing", ())
    plans = xpoll(nothing, "plan", config("cpu"), config("max1100"), code=2)
    assert plans[config("cpu")]["devices"] == ["cpu:0"]
    assert plans[config("max1100")] == {"error": "engine.device = 'xpu': 1 needed, 0 found -> xpoll doctor"}


def test_doctor_names_each_card_and_what_is_wrong(tmp_path: Path) -> None:
    said = xpoll(build(tmp_path, "one-gone"), "doctor", code=1)
    findings = {finding["subject"]: finding for finding in said["findings"]}
    assert findings["gpu 0000:3a:00.0"]["level"] == "ok"
    assert findings["gpu 0000:3a:00.0"]["found"] == (
        "Intel Data Center GPU Max 1100: i915 1.25.2.23.250224, 48 GiB (driver), NUMA node 0, "
        "/dev/dri/renderD129, ZE_AFFINITY_MASK 0"
    )
    gone = findings["gpu 0000:4d:00.0"]
    assert (gone["level"], gone["found"]) == ("warning", "Intel Data Center GPU Max 1100: gone")
    assert "/sys/bus/pci/devices/0000:4d:00.0/reset" in gone["mend"]
    assert "xpu" in findings["torch for XPU"]["why"]
    assert findings["power"]["found"].startswith("hwmon of 1 of 1 GPUs")


def test_doctor_is_silent_on_gpus_where_there_are_none(tmp_path: Path) -> None:
    findings = [each["subject"] for each in xpoll(build(tmp_path, ()), "doctor")["findings"]]
    assert "Level Zero loader" not in findings
    assert not any(subject.startswith("gpu ") for subject in findings)
