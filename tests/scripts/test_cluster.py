"""Batch scripts are really run, by stand-ins that send what batch systems send; manifests fit their schemas."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.support.simulated_job import write_simulated_job
from xpoll.core.files import read_json
from xpoll.engine.journal.answers import read_completions

COMMANDS = ROOT / "tests/support/cluster_commands"
SLURM = ROOT / "scripts/cluster/slurm.sh"
LINTERS = f"{ROOT}/.venv-lint/bin:{os.environ['PATH']}"
DOCUMENTS = 1500

# `ray start` notes its address for the whole machine, so nothing else that uses Ray may run beside these.
real_ray = pytest.mark.skipif(
    not os.environ.get("XPOLL_TEST_CLUSTER"), reason="set XPOLL_TEST_CLUSTER=1, alone on a machine"
)


class Slurm:
    """The stand-in for sbatch and what it noted."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        wrapper = folder / "xpoll"
        wrapper.write_text(f'#!/usr/bin/env bash\nexec {ROOT}/.venv/bin/python -P -m xpoll "$@"\n')
        wrapper.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "XPOLL_", "RAY_"))}
        self.environment = {
            **kept,
            "PATH": f"{COMMANDS}:{os.environ['PATH']}",
            "STUB_FOLDER": str(folder),
            "STUB_WHEN": str(folder / "works"),
            "STUB_LIMITED": "1",
            "XPOLL_ROOT": str(ROOT),
            "XPOLL_COMMAND": str(COMMANDS / "obedient_xpoll"),
            **environment,
        }

    def submit(self, *arguments: str, options: tuple[str, ...] = ()) -> None:
        subprocess.run(["sbatch", *options, SLURM, *arguments], cwd=self.folder, env=self.environment, check=True)

    def codes(self, number: int, *, within_s: float) -> list[int]:
        """Exit codes of the jobs once so many have ended and no other was submitted."""
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            ended = sorted(self.folder.glob("*.code"), key=lambda path: int(path.stem))
            if len(ended) >= number and len(ended) == len(list(self.folder.glob("*.arguments"))):
                return [int(path.read_text()) for path in ended]
            time.sleep(0.1)
        logs = "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))
        raise AssertionError(f"{number} jobs have not ended: {sorted(self.folder.iterdir())}\n{logs}")

    def submitted(self, number: int) -> Any:
        return json.loads((self.folder / f"{number}.arguments").read_text())


@pytest.fixture
def slurm(tmp_path: Path) -> Callable[..., Slurm]:
    return lambda **environment: Slurm(tmp_path, **environment)


def test_a_job_that_runs_into_its_limit_submits_itself_until_the_run_is_done(slurm: Callable[..., Slurm]) -> None:
    batch = slurm(STUB_LIMITED="2", SBATCH_AGAIN="-p pvc")
    batch.submit("run", "job.toml", "--set", "panel.samples=3")
    assert batch.codes(3, within_s=30) == [0, 0, 0]
    said = (batch.folder / "xpoll.log").read_text().splitlines()
    arguments = "arguments: run job.toml --set panel.samples=3"
    assert said == [f"stopped, {arguments}", f"stopped, {arguments}", f"done, {arguments}"]
    assert batch.submitted(2) == {
        "options": ["--export=ALL", "-p", "pvc"],
        "rest": ["run", "job.toml", "--set", "panel.samples=3"],
    }
    assert "job 2, which resumes here" in (batch.folder / "1.log").read_text()


@pytest.mark.parametrize("code", [2, 1])
def test_a_mistake_or_a_crash_is_not_submitted_again(slurm: Callable[..., Slurm], code: int) -> None:
    batch = slurm(STUB_CODE=str(code))
    batch.submit("run", "job.toml")
    assert batch.codes(1, within_s=30) == [code]
    assert "not submitted again" in (batch.folder / "1.log").read_text()


def test_where_an_endpoint_is_away_the_job_submits_itself_after_a_while(slurm: Callable[..., Slurm]) -> None:
    batch = slurm(STUB_CODE="75", XPOLL_AWAY_S="0", XPOLL_MAX_JOBS="2")
    batch.submit("run", "job.toml")
    assert batch.codes(2, within_s=30) == [0, 75]


def test_a_run_becomes_a_bounded_number_of_jobs(slurm: Callable[..., Slurm]) -> None:
    batch = slurm(STUB_LIMITED="9", XPOLL_MAX_JOBS="2")
    batch.submit("run", "job.toml")
    assert batch.codes(2, within_s=30) == [0, 130]
    assert "at most XPOLL_MAX_JOBS=2" in (batch.folder / "2.log").read_text()


def test_a_pbs_job_stops_by_its_own_clock_and_submits_itself(slurm: Callable[..., Slurm]) -> None:
    batch = slurm(STUB_LIMITED="1", WALLTIME_S="302")
    script = ROOT / "scripts/cluster/aurora.pbs"
    listed = "ARGUMENTS=run job.toml --set panel.samples=3,XPOLL_ROOT,WALLTIME_S"
    subprocess.run(["qsub", "-A", "project", "-v", listed, script], cwd=batch.folder, env=batch.environment, check=True)
    assert batch.codes(2, within_s=60) == [0, 0]
    arguments = "arguments: run job.toml --set panel.samples=3"
    assert (batch.folder / "xpoll.log").read_text().splitlines() == [f"stopped, {arguments}", f"done, {arguments}"]
    assert batch.submitted(2)["passed"]["XPOLL_JOB_NUMBER"] == "2"


def write_job(folder: Path) -> None:
    write_simulated_job(folder, documents=DOCUMENTS, max_in_flight=64, time_scale=6.0)


def assert_each_was_answered_once(run: Path) -> None:
    completions = list(read_completions(run / "completions"))
    assert len(completions) == len({completion.key for completion in completions}) == DOCUMENTS
    assert not [completion for completion in completions if completion.error_kind]


@real_ray
def test_a_real_run_goes_on_in_the_next_slurm_job_and_asks_nothing_twice(slurm: Callable[..., Slurm]) -> None:
    batch = slurm(XPOLL_COMMAND="")
    write_job(batch.folder)
    batch.environment |= {
        "XPOLL_COMMAND": str(batch.folder / "xpoll"),
        "STUB_WHEN": str(batch.folder / "run/completions/part-00000.parquet"),
    }
    batch.submit("poll", "job.toml", "--set", "engine.rows_per_part=100")
    assert batch.codes(2, within_s=180) == [0, 0]
    assert_each_was_answered_once(batch.folder / "run")
    sessions = read_json(batch.folder / "run/engine.json")["sessions"]
    assert [session["answers"] > 0 for session in sessions] == [True, True], sessions


@real_ray
def test_a_job_on_several_nodes_starts_ray_on_each_and_an_engine_there(slurm: Callable[..., Slurm]) -> None:
    batch = slurm(STUB_LIMITED="0", XPOLL_RAY_PORT="6399")
    write_job(batch.folder)
    batch.environment["XPOLL_COMMAND"] = str(batch.folder / "xpoll")
    batch.submit("poll", "job.toml", options=("--nodes=2",))
    assert batch.codes(1, within_s=240) == [0], (batch.folder / "1.log").read_text()
    assert_each_was_answered_once(batch.folder / "run")
    assert read_json(batch.folder / "run/engine.json")["replicas"] == 2


@real_ray
def test_machines_that_are_reached_by_ssh(slurm: Callable[..., Slurm]) -> None:
    batch = slurm(XPOLL_RAY_PORT="6398")
    write_job(batch.folder)
    batch.environment["XPOLL_COMMAND"] = str(batch.folder / "xpoll")
    command = [ROOT / "scripts/cluster/ssh.sh", "127.0.0.1 127.0.0.1", "poll", "job.toml"]
    done = subprocess.run(command, cwd=batch.folder, env=batch.environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_each_was_answered_once(batch.folder / "run")


def test_ssh_without_a_job_says_how_it_is_called() -> None:
    done = subprocess.run([ROOT / "scripts/cluster/ssh.sh", "node1"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.startswith("usage: ")) == (2, True)


def pod_templates() -> list[dict[str, Any]]:
    ray = yaml.safe_load((ROOT / "scripts/cluster/kuberay-rayjob.yaml").read_text())["spec"]["rayClusterSpec"]
    groups = [ray["headGroupSpec"], *ray["workerGroupSpecs"]]
    return [group["template"] for group in groups]


@pytest.mark.skipif(shutil.which("kubernetes-validate", path=LINTERS) is None, reason="make lint-deploy")
def test_the_manifests_fit_kubernetes_schemas(tmp_path: Path) -> None:
    """A RayJob is no kind of Kubernetes' own, so of it only the pods are held against a schema."""
    files = [ROOT / "scripts/cluster/kubernetes-job.yaml"]
    for i, template in enumerate(pod_templates()):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": f"pod-{i}"}, "template": template}
        files.append(tmp_path / f"{i}.yaml")
        files[-1].write_text(yaml.safe_dump(pod))
    command = [str(shutil.which("kubernetes-validate", path=LINTERS)), "--strict", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pods_run_as_the_image_s_user_and_ask_for_intel_s_gpus() -> None:
    job = yaml.safe_load((ROOT / "scripts/cluster/kubernetes-job.yaml").read_text())["spec"]["template"]
    workers = [job, pod_templates()[1]]
    for pod in (job, *pod_templates()):
        assert pod["spec"]["securityContext"]["runAsUser"] == 10001
    for pod in workers:
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        assert limits["gpu.intel.com/i915"] == 4
    declared = yaml.safe_load((ROOT / "scripts/cluster/kuberay-rayjob.yaml").read_text())["spec"]["rayClusterSpec"]
    assert declared["workerGroupSpecs"][0]["rayStartParams"]["num-gpus"] == "4", "Ray would count none without dpctl"
