"""What could run, leave its folder or fill the memory: one rule per kind, held for all rooms of the product."""

import ast
import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from pydantic import ValidationError

from tests.conftest import ROOT, Xpoll
from xpoll.core.config.job import JobConfig
from xpoll.core.errors import InputError, ModelError
from xpoll.core.models import resolve_model
from xpoll.core.spreadsheets import FORMULA, as_cell, as_data_cell
from xpoll.core.tables import readers
from xpoll.core.tables.readers import stream_rows
from xpoll.report.charts.bars import confusion, stacked
from xpoll.report.charts.matrix import agreement
from xpoll.student.inference.outputs import WRITERS, Columns, ResultRow, label_columns

ROOMS = (
    *("benchmarks", "core", "energy", "engine", "kernels_bench", "personas"),
    *("pipeline", "report", "scripts", "student", "votes", "xpoll"),
)
FORBIDDEN = {"pickle", "cPickle", "joblib", "dill", "shelve", "marshal", "cloudpickle", "zipfile", "tarfile"}
ALLOWED = [("scripts/dev/upstream_drift.py", "imports zipfile"), ("core/tables/excel.py", "imports zipfile")]
"""A wheel that a developer names; single files of it are read, none is unpacked. A workbook, whose parts are measured
before openpyxl reads them from memory."""
FORMULAS = ['=HYPERLINK("http://x.example","open")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\uff1d1"]


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def keywords(call: ast.Call) -> dict[str | None, object]:
    return {each.arg: getattr(each.value, "value", None) for each in call.keywords}


def name_of(node: ast.expr) -> str:
    return ast.unparse(node)


def problems_in(tree: ast.Module) -> list[str]:
    """What a source does that could run code of what it reads."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"imports {name}" for name in names if name.partition(".")[0] in FORBIDDEN]
        if not isinstance(node, ast.Call):
            continue
        called, given = name_of(node.func), keywords(node)
        if called in ("eval", "exec"):
            found.append(f"calls {called}")
        if called == "torch.load" and given.get("weights_only") is not True:
            found.append("torch.load without weights_only=True")
        if called.endswith("np.load") and given.get("allow_pickle") is not False:
            found.append("np.load without allow_pickle=False")
        if given.get("trust_remote_code") is True:
            found.append(f"{called} trusts remote code")
        if called.endswith(".from_pretrained") and "PretrainedConfig" not in called:
            if given.get("trust_remote_code") is not False:
                found.append(f"{called} without trust_remote_code=False")
            is_model = not any(part in called for part in ("Tokenizer", "Config", "Processor"))
            if is_model and given.get("use_safetensors") is not True and "gguf_file" not in given:
                found.append(f"{called} without use_safetensors=True")
    return found


def test_nothing_that_is_read_can_run() -> None:
    found = [(str(path), problem) for path, tree in sources() for problem in problems_in(tree)]
    found = [each for each in found if each not in ALLOWED]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "AutoModel.from_pretrained(name)",
        "AutoModel.from_pretrained(name, trust_remote_code=False)",
        "AutoTokenizer.from_pretrained(name)",
        "LLM(model, trust_remote_code=True)",
        "eval(text)",
    ],
)
def test_the_rule_sees(source: str) -> None:
    assert len(problems_in(ast.parse(source))) >= 1


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_weights_that_can_run_code_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match="save it again as safetensors"):
        resolve_model(str(tmp_path), key="engine.model")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert resolve_model(str(tmp_path), key="engine.model") == str(tmp_path.resolve())


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../a", "a\\b", "", ".hidden", "a\n"])
def test_names_that_become_folders_stay_in_theirs(name: str) -> None:
    with pytest.raises(ValidationError):
        JobConfig(name=name)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../a", "a\\b", "", ".hidden"])
def test_teachers_that_become_folders_stay_in_theirs(tmp_path: Path, xpoll: Xpoll, name: str) -> None:
    (tmp_path / "texts.csv").write_text("text\na\n")
    (tmp_path / "job.toml").write_text(
        '[documents]\npath = "texts.csv"\n[task]\nlabels = ["a", "b"]\n[engine]\nbackend = "simulated"\n'
        f"[[teachers]]\nname = {json.dumps(name)}\n"
    )
    done = xpoll("plan", "job.toml", cwd=tmp_path)
    assert done.returncode == 2 and "teachers" in done.stderr, done.stderr


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_no_formula_in_any_cell_of_an_output(tmp_path: Path, text: str) -> None:
    source = tmp_path / "in.csv"
    source.write_text("x\n")
    columns = Columns(str(source), [f"{text} of ours"], label_columns(["a", text]), extra=[text])
    with WRITERS["csv"](tmp_path / "out.csv", columns) as write:
        write([ResultRow({f"{text} of ours": text}, text, 0.5, [0.5, 0.5], text, [text])])
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(FORMULA)], cells
    assert cells.count(as_cell(text)) == 5 and as_cell(f"{text} of ours") in cells, cells


@pytest.mark.parametrize("number", ["-1", "+3.5", "-1e-5", "0", "", "word"])
def test_numbers_and_words_stay_as_they_are(number: str) -> None:
    assert as_data_cell(number) == number


def test_a_compressed_file_cannot_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "LONGEST_LINE", 1000)
    lines = ['{"text": "good"}', '{"text": "' + "a" * 5000 + '"}', "b" * 1000, '{"text": "last"}']
    path = tmp_path / "texts.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    rows = list(stream_rows(str(path), key="documents.path"))
    assert [row.values.get("text") for row in rows] == ["good", None, None, "last"]
    assert [bool(row.problem) for row in rows] == [False, True, True, False]
    bomb = tmp_path / "texts.csv.gz"
    bomb.write_bytes(gzip.compress(b"text\n" + b"a" * 5000))
    with pytest.raises(InputError, match="a line of more than 1000 characters"):
        list(stream_rows(str(bomb), key="documents.path"))


@pytest.mark.parametrize(
    "label", ["</text></svg><script>alert(1)</script>", '" onload="alert(1)', "]]><img src=x>", "&lt;b>"]
)
def test_a_label_is_text_in_every_drawing(label: str) -> None:
    names = [label, f"{label} 2"]
    charts = [
        confusion("a", label, [[1, 2], [3, 4]], names),
        agreement("b", label, names, [[1.0, 0.5], [0.5, 1.0]]),
        stacked("c", label, [(label, [0.5, 0.5])], names),
    ]
    for chart in charts:
        parsed = fromstring(chart.svg)
        allowed = {"svg", "title", "desc", "g", "rect", "text", "path", "line", "tspan"}
        assert {element.tag for element in parsed.iter()} <= allowed
        assert not [name for element in parsed.iter() for name in element.attrib if name.startswith("on")]
        assert label in " ".join(text for text in parsed.itertext()), "it is shown"
