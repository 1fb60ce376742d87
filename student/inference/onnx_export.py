"""Exports a student to ONNX: onnx/model.onnx in its folder, where transformers.js, Optimum and others look for it.

Texts and tokens may be any number. Before the file takes its place, ONNX Runtime answers some texts with it, and its
logits have to be those of PyTorch. The last layer is computed at the first token alone where that is all that the head
reads (student/training/first_token.py). Imports torch when it is called.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpoll.core.errors import ModelError
from xpoll.core.progress import Waiting
from xpoll.student.folder import replacing_folder
from xpoll.student.heads.registry import head_in
from xpoll.student.inference.logits import length_batches
from xpoll.student.inference.onnx_runtime import FILE, FOLDER, OnnxForward, require_runtime
from xpoll.student.training.encoder import Encoder, load_student

EXAMPLES = ("one text that is read", "and another one, which is longer than that")
"""What the graph is traced with: two texts, so that their number is not taken for a constant."""
TRIED = 64
"""Most texts that both answer."""
MOST_OFF = 1e-3
"""By how much a logit may differ: sums are made in another order."""
SINGLE_FILE_BYTES = 1_800_000_000
"""Weights of more lie beside the graph: protobuf holds 2 GiB."""


class OnnxExport(NamedTuple):
    """What was exported.

    Attributes:
        folder: Where it lies.
        num_bytes: Of its files.
        tried_on: Texts that PyTorch and ONNX Runtime both answered.
        most_off: By how much a logit differed at most.
    """

    folder: Path
    num_bytes: int
    tried_on: int
    most_off: float


def export_onnx(student: Path, texts: Sequence[str]) -> OnnxExport:
    """Writes student/onnx, whole or not at all.

    Args:
        student: Student folder.
        texts: Such as it will be asked about; at most TRIED of them are answered by both, and EXAMPLES.

    Raises:
        ConfigError: a package of the extra `onnx` is not installed.
        ModelError: the folder holds no student, its model cannot be exported, or ONNX Runtime answers otherwise.
    """
    require_runtime("onnx", "onnxscript", "onnxruntime")
    encoder = load_student(str(student), architecture=head_in(student).form.architecture)
    tried = [*EXAMPLES, *texts[:TRIED]]
    with Waiting(f"exporting {student} to ONNX", usual_s=30), replacing_folder(student / FOLDER) as output:
        _write(encoder, output / FILE)
        most_off = _most_off(encoder, OnnxForward(output, None, folder=""), tried)
        if not most_off <= MOST_OFF:
            raise ModelError(
                f"{student}: ONNX Runtime's logits differ from PyTorch's by {most_off:.2g}",
                mend="xpoll predict runs it with PyTorch",
            )
    num_bytes = sum(file.stat().st_size for file in (student / FOLDER).iterdir())
    return OnnxExport(student / FOLDER, num_bytes, len(tried), most_off)


def _write(encoder: Encoder, path: Path) -> None:
    import torch

    from xpoll.student.training.first_token import last_layer_at_first_token

    ((_, batch),) = length_batches(encoder, EXAMPLES)
    names, model = list(batch), encoder.model

    class LogitsAlone(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *columns: Any) -> Any:
            return self.model(**dict(zip(names, columns, strict=True))).logits

    columns = tuple(torch.from_numpy(batch[name]) for name in names)
    any_number = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    weights = sum(each.numel() * each.element_size() for each in model.parameters())
    try:
        with _silent(), last_layer_at_first_token(model), torch.no_grad():
            torch.onnx.export(
                LogitsAlone().eval(),
                columns,
                path,
                input_names=names,
                output_names=["logits"],
                dynamic_shapes=(tuple(any_number for _ in names),),
                external_data=weights > SINGLE_FILE_BYTES,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter raises a different type for each operator that it lacks
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"a {type(model).__name__} cannot be exported to ONNX: {reason[:200]}", mend="xpoll export to OpenVINO"
        ) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps the exporter's notes about packages and constants off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _most_off(encoder: Encoder, exported: OnnxForward, texts: Sequence[str]) -> float:
    from xpoll.student.inference.torch_forward import TorchForward

    batches = [padded for _, padded in length_batches(encoder, texts)]
    plain = TorchForward(encoder.model, [encoder.model.device])(batches)
    return max(float(np.abs(a - b).max()) for a, b in zip(plain, exported(batches), strict=True))
