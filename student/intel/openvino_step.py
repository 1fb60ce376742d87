"""Exports a student to OpenVINO. Runs in the Intel environment; of xpoll it imports first_token.py alone.

    .venv-ipex/bin/python -I -m xpoll.student.intel.openvino_step FOLDER

Reads FOLDER/model (config and weights) and FOLDER/texts.jsonl (token ids to calibrate INT8 with). Writes
FOLDER/openvino/fp32, int8-weights and int8, each with openvino_model.xml and .bin, and FOLDER/done.json. How far each
INT8 form is from fp32 on these texts lies beside it in close_call.json (close_calls.py reads it).
The last layer is computed at the first token alone (first_token.py).
On processors and GPUs with bf16 the runtime computes fp32 files in bf16 by itself.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xpoll.student.training.first_token import shorten_last_layer

IN_FP32 = {"INFERENCE_PRECISION_HINT": "f32"}
MORE_OFF = 0.02
"""With 0.01 or 0, which compute more again, as many labels stay changed in four exports (experiments/LOG.md)."""


def main(folder: Path) -> None:
    """Exports the model in `folder` and calibrates INT8."""
    import nncf
    import openvino
    from optimum.exporters.openvino import export_from_model
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(
        folder / "model", trust_remote_code=False, use_safetensors=True
    )
    output = folder / "openvino"
    shortened = shorten_last_layer(model) is not None
    export_from_model(model, output / "fp32", task="text-classification")
    plain = output / "fp32" / "openvino_model.xml"
    core = openvino.Core()
    weights_only = nncf.compress_weights(core.read_model(plain), mode=nncf.CompressWeightsMode.INT8_ASYM)
    save(weights_only, output / "int8-weights")
    names = {name for port in core.read_model(plain).inputs for name in port.names}
    inputs = list(model_inputs(folder / "texts.jsonl", names))
    calibrated = nncf.quantize(
        core.read_model(plain),
        nncf.Dataset(inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        # Symmetric ranges need no zero points to be subtracted from every sum.
        preset=nncf.QuantizationPreset.PERFORMANCE,
        # INT8 within attention gains no time and changes more answers (experiments/LOG.md).
        ignored_scope=nncf.IgnoredScope(
            types=["ScaledDotProductAttention"],
            patterns=kept_exact(model.config.num_hidden_layers, shortened),
            validate=False,
        ),
        subset_size=len(inputs),
    )
    save(calibrated, output / "int8")
    exact = logits(core.compile_model(plain, "CPU", IN_FP32), inputs)
    for form, options in (("int8-weights", IN_FP32), ("int8", {})):  # as openvino_runtime.py compiles them
        found = logits(core.compile_model(output / form / "openvino_model.xml", "CPU", options), inputs)
        (output / form / "close_call.json").write_text(json.dumps(close_call(exact, found)))
    versions = {module.__name__: module.__version__ for module in (nncf, openvino)}
    (folder / "done.json").write_text(json.dumps({"calibrated_on": len(inputs), "versions": versions}))


def kept_exact(num_layers: int, shortened: bool) -> list[str]:
    """Patterns of the matrix products that INT8 leaves out: what is for one token a text costs next to nothing."""
    patterns = [r".*(pooler|classifier).*MatMul.*"]
    if shortened:
        one_token = r"attention\.self\.query|attention\.output\.dense|intermediate\.dense|output\.dense"
        patterns.append(rf".*layer\.{num_layers - 1}\.({one_token})/.*MatMul.*")
    return patterns


def save(model: Any, folder: Path) -> None:
    """Writes a model as openvino_model.xml and .bin."""
    import openvino

    folder.mkdir(parents=True)
    openvino.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)


def model_inputs(path: Path, names: set[str]) -> Iterator[dict[str, Any]]:
    """One text at a time, as the exported model takes it."""
    import numpy as np

    for line in path.read_text(encoding="utf-8").splitlines():
        ids = np.array([json.loads(line)], np.int64)
        every = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        yield {name: value for name, value in every.items() if name in names}


def logits(compiled: Any, inputs: list[dict[str, Any]]) -> Any:
    """(texts, labels), a text at a time."""
    import numpy as np

    return np.concatenate([compiled(each)[0] for each in inputs])


def close_call(exact: Any, found: Any) -> dict[str, float]:
    """By how much a label's lead over another is off, and the share of texts that are led by less.

    It is off by more in MORE_OFF of the texts; the widest of all would be that of one odd text.

    Args:
        exact: (texts, labels) logits in fp32, at least two labels.
        found: (texts, labels) logits of the same texts.
    """
    import numpy as np

    off = found - exact
    lead = float(np.quantile(off.max(1) - off.min(1), 1 - MORE_OFF))
    ranked = np.sort(found, axis=1)
    return {"lead": lead, "share": float((ranked[:, -1] - ranked[:, -2] < lead).mean())}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
