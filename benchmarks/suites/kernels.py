"""Operators of language models on this machine's device, against ceilings measured in the same run."""

from collections.abc import Iterator, Sequence
from typing import Any

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.core.progress import Progress
from xpoll.engine.devices.find import find_devices
from xpoll.engine.devices.intel_products import product_named
from xpoll.engine.planning.rooflines import ROOFLINES

IN_A_STEP = frozenset({"gemm", "attention_prefill", "attention_decode"})
"""Operators that the simulated engine's model of a step includes."""


def measure(parameters: Parameters) -> Iterator[Record]:
    """Published peaks, measured ceilings, the same ceilings by two other tools, then every operator."""
    from xpoll.kernels_bench.run import device_here, run_kernels
    from xpoll.kernels_bench.selection import CaseSelection

    device = device_here() if parameters["device"] == "auto" else parameters["device"]
    names = ("models", "dtypes", "arms", "decode_tokens", "prefill_tokens", "samples", "most_s", "ipex_python")
    selection = CaseSelection(device=device, **{name: parameters[name] for name in names})
    ceilings: list[Record] = []
    yield {"role": "published", "device": device, **published_peaks(device)}
    with Progress(f"operators on {device}", total=0, unit="records") as progress:
        for record in run_kernels(selection):
            progress.total += 1
            progress.add(1)
            if record["role"] == "ceiling":
                ceilings.append(record)
            if record["role"] == "second opinion":
                yield record | agreement(ceilings, record)
            else:
                yield record


def published_peaks(device: str) -> dict[str, Any]:
    """Published peaks of this machine's device, with their source; Nones where none are known.

    Args:
        device: Kind of device, as PyTorch names it.
    """
    name = find_devices(device, 0)[0].name
    product = product_named(name)
    roofline = ROOFLINES.get(product.roofline if product else "")
    if roofline is None:
        nothing = {"bf16_tflop_per_s": None, "bandwidth_gb_per_s": None}
        return {"device_name": name, **nothing, "source": "no published peak of this device is known"}
    return {
        "device_name": name,
        "bf16_tflop_per_s": roofline.bf16_tflop_per_s,
        "bandwidth_gb_per_s": roofline.bandwidth_gb_per_s,
        "source": roofline.source,
    }


def agreement(ceilings: list[Record], opinion: Record) -> dict[str, float]:
    """Ratios of our ceilings to those of the other tools; a figure that either lacks is left out.

    Args:
        ceilings: Records with the role "ceiling".
        opinion: The record with the role "second opinion".
    """
    found = {}
    for kernel, key in (("gemm", "gemm_gflop_per_s"), ("triad", "triad_gb_per_s")):
        ours = [r for r in ceilings if r["kernel"] == kernel and r["dtype"] == "fp32" and r["status"] == "ok"]
        if ours and opinion[key]:
            rate = ours[0]["gflop_per_s" if kernel == "gemm" else "gb_per_s"]
            found[f"{kernel}_over_second_opinion"] = round(rate / opinion[key], 4)
    return found


def efficiencies(records: Sequence[Record]) -> dict[str, float]:
    """Shares of the ceilings that matrices and attention of the measured models reach, by what bounds them.

    They are the simulated engine's compute_efficiency and bandwidth_efficiency. The best arm of an operator
    counts, as in an engine, except for IPEX's, which no current vLLM uses; operators are weighted by their time.

    Args:
        records: Of a run of the suite.

    Returns:
        "compute_efficiency" and "bandwidth_efficiency", 0 to 1; one without any operator is left out.
    """
    best: dict[tuple[str, ...], Record] = {}
    for record in records:
        if record.get("role") != "operator" or record["status"] != "ok" or record.get("arm") == "ipex":
            continue
        if record["kernel"] in IN_A_STEP:
            key = tuple(record[name] for name in ("kernel", "model", "shape", "dtype"))
            if key not in best or record["cold_median_us"] < best[key]["cold_median_us"]:
                best[key] = record
    found = {}
    for name, bound in (("compute_efficiency", "compute"), ("bandwidth_efficiency", "memory")):
        chosen = [record for record in best.values() if record["bound"] == bound and record["dtype"] != "int8"]
        if chosen:
            share = sum(r["ceiling_us"] for r in chosen) / sum(r["cold_median_us"] for r in chosen)
            found[name] = round(min(1.0, share), 3)
    return found
