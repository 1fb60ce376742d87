"""`xpoll doctor`: the findings, one below the other."""

import argparse
import json
from pathlib import Path

from xpoll.core.machine.gc_tuning import collecting_seldom
from xpoll.scripts.doctor.checks import exit_code, findings


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Whether to ask PyTorch, too, and a file for a report."""
    command.add_argument("--probe", action="store_true", help="also ask PyTorch what it sees; starts a process")
    command.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE",
        help="also write all of it to a JSON file that can be attached to a report: no texts, tokens or names",
    )


def call(parsed: argparse.Namespace) -> int:
    """Prints the findings; 1 where one is a warning, 2 where one is an error."""
    with collecting_seldom():  # imports are most of the time, and make no cycles
        return show_doctor(as_json=parsed.json, probe=parsed.probe, bundle=parsed.bundle)


def show_doctor(*, as_json: bool, probe: bool = False, bundle: Path | None = None) -> int:
    """Prints the findings, those of PyTorch itself with `probe`, and writes the bundle; returns the exit code."""
    found = findings()
    if probe:
        from xpoll.scripts.doctor.probe import probe_findings

        found += probe_findings()
    if bundle is not None:
        from xpoll.scripts.doctor.bundle import write_bundle

        write_bundle(bundle, found)
    code = exit_code(found)
    if as_json:
        rows = [{name: getattr(finding, name) for name in finding.__slots__} for finding in found]
        written = {"bundle": str(bundle)} if bundle else {}
        print(json.dumps({"findings": rows, "exit_code": code, **written}))
        return code
    for finding in found:
        print(f"{finding.level:8} {finding.subject:22} {finding.found}")
        if finding.why:
            print(f"{'':8} {'':22} why: {finding.why}")
        if finding.mend:
            print(f"{'':8} {'':22} mend: {finding.mend}")
    if bundle:
        print(f"bundle: {bundle}; read it before you pass it on")
    return code
