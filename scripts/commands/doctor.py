"""`xpoll doctor`: the findings, one below the other."""

import argparse
import json

from xpoll.core.gc_tuning import collecting_seldom
from xpoll.scripts.doctor.checks import exit_code, findings


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Whether to ask PyTorch, too."""
    command.add_argument("--probe", action="store_true", help="also ask PyTorch what it sees; starts a process")


def call(parsed: argparse.Namespace) -> int:
    """Prints the findings; 1 where one is a warning, 2 where one is an error."""
    with collecting_seldom():  # imports are most of the time, and make no cycles
        return show_doctor(as_json=parsed.json, probe=parsed.probe)


def show_doctor(*, as_json: bool, probe: bool = False) -> int:
    """Prints the findings, those of PyTorch itself with `probe`; returns the exit code."""
    found = findings()
    if probe:
        from xpoll.scripts.doctor.probe import probe_findings

        found += probe_findings()
    code = exit_code(found)
    if as_json:
        rows = [{name: getattr(finding, name) for name in finding.__slots__} for finding in found]
        print(json.dumps({"findings": rows, "exit_code": code}))
        return code
    for finding in found:
        print(f"{finding.level:8} {finding.subject:22} {finding.found}")
        if finding.why:
            print(f"{'':8} {'':22} why: {finding.why}")
        if finding.mend:
            print(f"{'':8} {'':22} mend: {finding.mend}")
    return code
