"""Records what a version of vLLM offers, by reading its source: names of parameters and nothing else.

    python -m tests.support.record_vllm FOLDER_WITH_vllm VERSION SOURCE

FOLDER_WITH_vllm is an unpacked wheel or a site-packages; nothing of it is imported or run. The record is
added to vllm_versions.json as what differs from the version before it, so versions go in by their order.
"""

import ast
import json
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("vllm_versions.json")


def record(folder: Path, version: str, source: str) -> dict[str, Any]:
    """The offers of one version as plain JSON types."""
    llm = _classes(folder / "vllm/v1/engine/async_llm.py")["AsyncLLM"]
    arguments = _classes(folder / "vllm/engine/arg_utils.py")
    sampling = _classes(folder / "vllm/sampling_params.py")
    errors = {**_classes(folder / "vllm/exceptions.py"), **_classes(folder / "vllm/v1/engine/exceptions.py")}
    logger = _classes(folder / "vllm/v1/metrics/loggers.py")["StatLoggerBase"]
    methods = {node.name: node for node in llm.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return {
        "version": version,
        "source": source,
        "engine_args": sorted(_fields(arguments["EngineArgs"]) | _fields(arguments["AsyncEngineArgs"])),
        "sampling_params": sorted(_fields(sampling["SamplingParams"])),
        "structured": {name: sorted(_fields(sampling[name])) for name in sampling if name.endswith("OutputsParams")},
        "guided": {name: sorted(_fields(sampling[name])) for name in sampling if name.startswith("GuidedDecoding")},
        "from_engine_args": _parameters(methods["from_engine_args"]),
        "generate": _parameters(methods["generate"]),
        "get_tokenizer_is_async": isinstance(methods["get_tokenizer"], ast.AsyncFunctionDef),
        "llm_properties": sorted(name for name, node in methods.items() if node.decorator_list and name[0] != "_"),
        "errors": {name: [ast.unparse(base) for base in node.bases] for name, node in errors.items()},
        "stat_logger": {node.name: _parameters(node) for node in logger.body if isinstance(node, ast.FunctionDef)},
        "stat_logger_abstract": [
            node.name
            for node in logger.body
            if isinstance(node, ast.FunctionDef) and any("abstract" in ast.unparse(d) for d in node.decorator_list)
        ],
        "scheduler_stats": sorted(_fields(_classes(folder / "vllm/v1/metrics/stats.py")["SchedulerStats"])),
        "request_output": _parameters(_method(_classes(folder / "vllm/outputs.py")["RequestOutput"], "__init__")),
        "usage_contexts": _members(_classes(folder / "vllm/usage/usage_lib.py")["UsageContext"]),
        "output_kinds": _members(sampling["RequestOutputKind"]),
    }


def recorded() -> dict[str, dict[str, Any]]:
    """All recorded versions, whole again."""
    whole: dict[str, dict[str, Any]] = {}
    last: dict[str, Any] = {"engine_args": []}
    for each in json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []:
        changed = dict(each)
        arguments = set(last["engine_args"]) - set(changed.pop("engine_args_gone")) | set(
            changed.pop("engine_args_new")
        )
        last = {**last, **changed, "engine_args": sorted(arguments)}
        whole[last["version"]] = last
    return whole


def add(made: dict[str, Any]) -> None:
    """Adds a record behind those that are there."""
    last = list(recorded().values())[-1:] or [{"engine_args": []}]
    changed = {name: value for name, value in made.items() if name != "engine_args" and last[0].get(name) != value}
    changed["engine_args_new"] = sorted(set(made["engine_args"]) - set(last[0]["engine_args"]))
    changed["engine_args_gone"] = sorted(set(last[0]["engine_args"]) - set(made["engine_args"]))
    lines = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    FILE.write_text("[\n" + ",\n".join(map(json.dumps, [*lines, changed])) + "\n]\n", encoding="utf-8")


def _classes(file: Path) -> dict[str, ast.ClassDef]:
    if not file.exists():  # vllm/exceptions.py is younger than the rest
        return {}
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _fields(node: ast.ClassDef) -> set[str]:
    fields = (part for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name))
    return {
        part.target.id for part in fields if part.target.id[0] != "_" and "ClassVar" not in ast.unparse(part.annotation)
    }  # type: ignore[union-attr]


def _members(node: ast.ClassDef) -> list[str]:
    return sorted(part.targets[0].id for part in node.body if isinstance(part, ast.Assign))  # type: ignore[attr-defined]


def _method(node: ast.ClassDef, name: str) -> ast.FunctionDef:
    return next(part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == name)


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [argument.arg for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]


if __name__ == "__main__":
    add(record(Path(sys.argv[1]), *sys.argv[2:]))
