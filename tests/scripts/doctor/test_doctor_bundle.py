"""`doctor --bundle` writes what a report needs, and nothing that tells who and where."""

import json
import socket
from pathlib import Path

import pytest

from tests.support.fake_machine import build
from xpoll.core import secrets
from xpoll.scripts.commands.doctor import show_doctor
from xpoll.scripts.doctor.bundle import write_bundle
from xpoll.scripts.doctor.checks import findings
from xpoll.scripts.doctor.finding import Finding

HOST, USER, TOKEN = "x1921c3s4b0n0.aurora.alcf.anl.gov", "jdoe42", "hf_abcdefghijklmnopqrstuvwxyz"
PRIVATE = (HOST, HOST.partition(".")[0], USER, TOKEN, "10.64.3.17", "2001:db8:85a3:0:0:8a2e:370:7334", "secret-project")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home" / USER
    (home / "secret-project").mkdir(parents=True)
    monkeypatch.chdir(home / "secret-project")
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    for name, value in {
        "XPOLL_SYSFS": str(build(tmp_path, "arc-and-integrated")),
        "HOME": str(home),
        "USER": USER,
        "LOGNAME": USER,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(home / "hub"),
        "VLLM_HOST_IP": "10.64.3.17",
        "VLLM_API_KEY": TOKEN,
        "RAY_ADDRESS": f"{HOST}:6379",
        "FI_TCP_IFACE": "hsn0",
        "ZE_AFFINITY_MASK": "0",
        "CCL_KVS_IP_PORT": "10.64.3.17_2345 2001:db8:85a3:0:0:8a2e:370:7334",
        "ONEAPI_ROOT": f"/home/{USER}/oneapi",
        "LD_LIBRARY_PATH": f"{home}/lib:/lus/flare/projects/secret-project/lib",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(secrets, "_known", None)
    return tmp_path


def test_a_bundle_names_no_user_machine_token_address_or_project(machine: Path) -> None:
    told = [
        *findings(),
        Finding("probe", "error", f"PyTorch on {HOST.upper()} as {USER}: Bearer {TOKEN}", "why", "mend"),
    ]
    write_bundle(machine / "bundle.json", told)
    text = (machine / "bundle.json").read_text(encoding="utf-8")
    assert [word for word in PRIVATE if word.lower() in text.lower()] == []


def test_a_bundle_holds_what_a_report_needs(machine: Path) -> None:
    write_bundle(machine / "bundle.json", findings())
    bundle = json.loads((machine / "bundle.json").read_text(encoding="utf-8"))
    assert [card["product"] for card in bundle["cards"]][1:] == [
        "Intel Arc Pro B60",
        "Intel Arc B580",
        "Intel Arc A770",
    ]
    assert bundle["cards"][1]["driver"] == "xe"
    assert bundle["environment"]["ZE_AFFINITY_MASK"] == "0"
    assert bundle["environment"]["FI_TCP_IFACE"] == "hsn0"
    assert not {"HF_TOKEN", "VLLM_API_KEY", "VLLM_HOST_IP", "RAY_ADDRESS", "USER"} & bundle["environment"].keys()
    assert bundle["packages"]["ray"]
    assert {"python", "kernel", "processor", "memory_gib"} <= bundle["machine"].keys()
    assert {"subject", "level", "found", "why", "mend"} == bundle["findings"][0].keys()


def test_the_command_says_where_the_bundle_is(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = machine / "bundle.json"
    code = show_doctor(as_json=True, bundle=file)
    said = json.loads(capsys.readouterr().out)
    assert (said["bundle"], said["exit_code"]) == (str(file), code)
    assert json.loads(file.read_text(encoding="utf-8"))["schema_version"] == 1
