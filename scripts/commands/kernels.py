"""`xpoll kernels`: the suite of that name, as tables for people."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xpoll.benchmarks.runner.suite import find_suite, run_suite
from xpoll.benchmarks.suites.kernels import efficiencies
from xpoll.core.formatting import with_unit
from xpoll.scripts.arguments import add_set


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The suite's parameters."""
    command.add_argument("--output", type=Path, help="file of the records (default: runs/bench/kernels-TIME.json)")
    add_set(command, "parameters.KEY=VALUE", "override a parameter")


def call(parsed: argparse.Namespace) -> int:
    """Runs the suite and prints it."""
    return show_kernels(
        run_suite(find_suite("kernels"), overrides=parsed.set, output=parsed.output), as_json=parsed.json
    )


def show_kernels(document: Mapping[str, Any], *, as_json: bool) -> int:
    """Prints ceilings and operators, or the suite's document; 1 where a check does not hold."""
    code = 0 if all(check["holds"] for check in document["checks"]) else 1
    if as_json:
        print(json.dumps(document))
        return code
    records = document["records"]
    _print_ceilings(records)
    _print_operators([record for record in records if record["role"] == "operator"])
    for check in document["checks"]:
        verdict = "holds" if check["holds"] else "DOES NOT HOLD"
        print(f"{check['name']}: {with_unit(check['value'], check['unit'])}: {verdict}")
    print(f"records: {document['output']}")
    if shares := efficiencies(records):
        options = ", ".join(f"{name} = {value:g}" for name, value in shares.items())
        print(f'for the simulated engine: engine.simulated = {{device = "{document["output"]}", {options}}}')
    return code


def _print_ceilings(records: Sequence[Mapping[str, Any]]) -> None:
    published = next(record for record in records if record["role"] == "published")
    print(f"{published['device_name']} ({published['device']}); published peaks: {published['source']}")
    for record in records:
        if record["role"] == "ceiling" and record["status"] == "ok":
            rate = (
                with_unit(record["gflop_per_s"], "Gflop/s")
                if record["kernel"] == "gemm"
                else with_unit(record["gb_per_s"], "GB/s")
            )
            print(f"  ceiling {record['kernel']:6} {record['dtype']:5} {record['shape']:24} {rate}")
    opinion = next((record for record in records if record["role"] == "second opinion"), {})
    print(
        f"  second opinion: numpy's fp32 GEMM {with_unit(opinion.get('gemm_gflop_per_s'), 'Gflop/s')}, "
        f"numba's triad {with_unit(opinion.get('triad_gb_per_s'), 'GB/s')}"
    )


def _print_operators(operators: Sequence[Mapping[str, Any]]) -> None:
    names = f"{'operator':18} {'model':13} {'shape':40} {'dtype':5} {'arm':8}"
    print(f"\n{names} {'warm us':>10} {'cold us':>10} {'of ceiling':>11}")
    for record in operators:
        about = f"{record['kernel']:18} {record['model']:13} {record['shape']:40} {record['dtype']:5} {record['arm']:8}"
        if record["status"] != "ok":
            print(f"{about} {record['status']}: {record['error']}")
            continue
        share = record.get("percent_of_ceiling")
        held = "unknown" if share is None else f"{share:.0f} % {record['bound'][:3]}"
        print(f"{about} {record['warm_median_us']:10.1f} {record['cold_median_us']:10.1f} {held:>11}")
