"""Runs a notebook in a kernel of its own; as a program it writes the outputs into the notebooks, small ones only.

python -m tests.support.notebooks
"""

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "examples/notebooks"
LARGEST_OUTPUT = 8_000
"""Characters of the largest output that a notebook is kept with."""


def executed(
    path: Path, folder: Path, *, timeout_s: int = 1500, replaced: tuple[str, str] | None = None
) -> nbformat.NotebookNode:
    """The notebook with its outputs, run in `folder`; an error in a cell is raised.

    Args:
        path: The notebook.
        folder: Current folder of its kernel.
        timeout_s: Longest time of a cell.
        replaced: Code that is there once, and what to run in its place, e.g. with a student of random weights.
    """
    notebook = nbformat.read(path, as_version=4)
    if replaced is not None:
        [cell] = [cell for cell in notebook.cells if replaced[0] in cell.source]
        cell.source = cell.source.replace(*replaced)
    NotebookClient(notebook, timeout=timeout_s, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def with_small_outputs(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """The notebook without progress, times, the folder's name and large outputs."""
    notebook.metadata = {key: notebook.metadata[key] for key in ("kernelspec", "language_info")}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        kept = []
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                continue
            if output.output_type == "execute_result":
                output.execution_count = None
                output.data = {
                    kind: text.replace(f"{folder}/", "")
                    for kind, text in output.data.items()
                    if len(text) <= LARGEST_OUTPUT
                }
            kept.append(output)
        cell.outputs = kept
    return notebook


def main() -> None:
    """Runs all notebooks and writes them with their outputs."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(with_small_outputs(executed(path, Path(folder)), Path(folder)), path)


if __name__ == "__main__":
    main()
