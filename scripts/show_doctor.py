"""`xpoll doctor`: the findings, one below the other."""

import json

from scripts.doctor import exit_code, findings


def show_doctor(*, as_json: bool, probe: bool = False) -> int:
    found = findings()
    if probe:
        from scripts.doctor_probe import probe_findings

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
