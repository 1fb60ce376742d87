"""Trains one student with IPEX. Runs in the Intel environment (torch 2.8); of xpoll it imports first_token.py alone.

    .venv-ipex/bin/python -I -m xpoll.student.intel.ipex_step FOLDER

Reads FOLDER/task.json (settings), FOLDER/encoder/ (the model with its untrained head) and
FOLDER/rows.jsonl (ids, target, held_out, pad). Writes
FOLDER/done.json and FOLDER/model/, the student's weights and config; the caller adds the tokenizer.
Progress goes to stdout as one JSON object a line.
"""

import json
import math
import random
import sys
import time
from pathlib import Path
from typing import Any

from xpoll.student.training.first_token import shorten_last_layer


def main(folder: Path) -> None:
    """Trains on the files in `folder` and writes the result beside them."""
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    done = train(task, rows, folder / "model")
    (folder / "done.json").write_text(json.dumps(done), encoding="utf-8")


def train(task: dict[str, Any], rows: list[dict[str, Any]], output: Path) -> dict[str, Any]:
    """One training as `task` says; what it was is returned as JSON types."""
    import intel_extension_for_pytorch as ipex
    import torch
    from transformers import AutoModelForSequenceClassification, set_seed

    set_seed(task["seed"])
    device = torch.device("xpu" if hasattr(torch, "xpu") and torch.xpu.is_available() else "cpu")
    model = AutoModelForSequenceClassification.from_pretrained(
        task["encoder"], trust_remote_code=False, use_safetensors=True
    ).to(device)
    freeze(model, task["frozen"])
    model.train()
    trained = [row for row in rows if not row["held_out"]]
    held_out = [row for row in rows if row["held_out"]]
    steps_a_pass = math.ceil(len(trained) / task["batch_size"])
    num_steps = max(1, task["min_steps"], math.ceil(task["epochs"] * steps_a_pass))
    kept = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(kept, lr=task["learning_rate"], weight_decay=0.01)
    precision, dtype = chosen(task["precision"], device.type)
    model, optimizer = ipex.optimize(model, optimizer=optimizer, dtype=dtype, inplace=True)
    shorten_last_layer(model)
    kept = [parameter for group in optimizer.param_groups for parameter in group["params"]]  # IPEX may replace them
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, num_steps))
    draw = random.Random(task["seed"])
    state = {"step": 0, "loss": math.nan, "best": math.inf, "worse": 0, "epochs": 0.0}
    best: dict[str, Any] | None = None
    started_s = time.monotonic()
    while state["step"] < num_steps:
        for batch in steps_of(trained, task["batch_size"], draw):
            loss = batch_loss(model, batch, device, dtype) / len(batch)
            loss.backward()
            summed = loss.item()
            torch.nn.utils.clip_grad_norm_(kept, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            state["step"] += 1
            state["loss"] = summed if math.isnan(state["loss"]) else 0.95 * state["loss"] + 0.05 * summed
            say(step=state["step"], steps=num_steps, loss=state["loss"])
            if state["step"] >= num_steps or not math.isfinite(summed):
                break
        state["epochs"] = state["step"] / steps_a_pass
        if not math.isfinite(summed):
            break
        if held_out:
            model.eval()
            with torch.no_grad():
                found = sum(batch_loss(model, batch, device, dtype).item() for batch in batches(held_out, 32))
            model.train()
            found /= len(held_out)
            if found < state["best"]:
                state["best"], state["worse"] = found, 0
                best = {name: value.detach().clone() for name, value in model.state_dict().items()}
            else:
                state["worse"] += 1
                if state["worse"] >= task["patience"]:
                    break
    wall_s = time.monotonic() - started_s
    # IPEX changes the modules, but not what their state dict says.
    weights = {name: value.float().cpu() for name, value in (best or model.state_dict()).items()}
    plain = AutoModelForSequenceClassification.from_pretrained(
        task["encoder"], trust_remote_code=False, use_safetensors=True
    )
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    plain.save_pretrained(output)
    return {
        "precision": precision,
        "device": f"{device.type}, IPEX {ipex.__version__}, torch {torch.__version__}",
        "wall_s": wall_s,
        "final_loss": state["loss"] if math.isfinite(state["loss"]) and math.isfinite(summed) else None,
        "held_out_loss": state["best"] if held_out else None,
        "epochs": state["epochs"],
    }


def chosen(wanted: str, device: str) -> tuple[str, Any]:
    """The precision and its type. IPEX computes bf16 on processors with AVX-512 or better, and on Intel GPUs."""
    import torch

    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split() if device == "cpu" else []
    computes = device != "cpu" or "avx512_bf16" in flags or "amx_bf16" in flags
    possible = device != "cpu" or "avx512f" in flags
    if wanted == "bf16" and not possible:
        say(note="IPEX computes bf16 on a processor with AVX-512 only; training in fp32")
    use = (wanted == "bf16" and possible) or (wanted == "auto" and computes)
    return ("bf16", torch.bfloat16) if use else ("fp32", torch.float32)


def freeze(model: Any, parts: int) -> None:
    """Keeps the weights of the embeddings and of the `parts - 1` lowest layers."""
    body = model.base_model
    for part in [body.embeddings, *body.encoder.layer][:parts] if parts else []:
        part.requires_grad_(False)


def rate(step: int, num_steps: int) -> float:
    """Share of the peak learning rate: up over the first tenth, then down to 0."""
    warm = max(1, math.ceil(0.1 * num_steps))
    return (step + 1) / warm if step < warm else max(0.0, (num_steps - step) / max(1, num_steps - warm))


def steps_of(rows: list[dict[str, Any]], size: int, draw: random.Random) -> list[list[dict[str, Any]]]:
    """A pass: batches of texts of similar length, in random order."""
    order = list(rows)
    draw.shuffle(order)
    window = 16 * size  # as batches.py has it, which needs the other Transformers
    made = []
    for start in range(0, len(order), window):
        made += batches(sorted(order[start : start + window], key=lambda row: len(row["ids"])), size)
    draw.shuffle(made)
    return made


def batches(rows: list[dict[str, Any]], size: int) -> list[list[dict[str, Any]]]:
    """The rows in order, `size` per batch; the last one may be smaller."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def batch_loss(model: Any, rows: list[dict[str, Any]], device: Any, dtype: Any) -> Any:
    """Summed cross entropy of a batch against its target distributions, in nats."""
    import torch

    longest = max(len(row["ids"]) for row in rows)
    ids = torch.tensor([row["ids"] + [row["pad"]] * (longest - len(row["ids"])) for row in rows])
    mask = torch.tensor([[1] * len(row["ids"]) + [0] * (longest - len(row["ids"])) for row in rows])
    targets = torch.tensor([row["target"] for row in rows])
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
    return torch.nn.functional.cross_entropy(logits.float(), targets.to(device), reduction="sum")


def say(**fields: Any) -> None:
    """Prints one JSON object, which the parent process reads."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
