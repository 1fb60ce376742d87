"""What happens between the steps of a training. Imports torch: import it where it is needed."""

import math
import time
from contextlib import ExitStack
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from xpoll.core.progress import Progress
from xpoll.student.training.objectives import Objective

CHECKPOINT_EVERY_S = 60.0


class StepReport(TrainerCallback):  # type: ignore[misc]
    """Shows steps and losses while training, and keeps the last of each."""

    def __init__(self, stack: ExitStack) -> None:
        self.loss = self.held_out_loss = math.nan
        self._stack = stack

    def on_train_begin(self, _: TrainingArguments, state: TrainerState, __: TrainerControl, **_more: Any) -> None:
        """Opens the progress bar, in the first process alone."""
        if state.is_world_process_zero:
            bar = Progress("training student", total=state.max_steps, unit="steps", done=state.global_step)
            self._progress: Progress | None = self._stack.enter_context(bar)
        else:
            self._progress = None

    def on_step_end(
        self, _: TrainingArguments, state: TrainerState, control: TrainerControl, **_more: Any
    ) -> TrainerControl:
        """Moves the bar on; the last step is logged."""
        if self._progress is not None:
            shown = ", ".join(f"{name} {value}" for name, value in self.figures().items() if "nan" not in value)
            self._progress.add(1, note=shown)
        control.should_log |= state.global_step == state.max_steps
        return control

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, float] | None = None,
        **_more: Any,
    ) -> None:
        """Keeps loss and held-out loss."""
        found = logs or {}
        self.loss, self.held_out_loss = found.get("loss", self.loss), found.get("eval_loss", self.held_out_loss)

    def figures(self) -> dict[str, str]:
        """What the progress bar shows, by name; "nan" is left out."""
        return {"loss": f"{self.loss:.3f}", "held out": f"{self.held_out_loss:.3f}"}


class AccuracyReport(StepReport):
    """Shows the accuracy of an objective beside its losses, and logs it."""

    def __init__(self, stack: ExitStack, objective: Objective) -> None:
        super().__init__(stack)
        self._accuracy = math.nan
        self._of_training = objective

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_more: Any,
    ) -> None:
        """Keeps losses and the accuracy since the log before."""
        super().on_log(args, state, control, logs)
        if logs is not None and "loss" in logs:
            logs["accuracy"] = self._accuracy = self._of_training.take_accuracy()

    def figures(self) -> dict[str, str]:
        """As of `StepReport`, with the accuracy."""
        return {**super().figures(), "accuracy": f"{self._accuracy:.1%}"}


class TimedCheckpoint(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint whenever the last is a minute old: a short training then writes none of these."""

    def __init__(self, every_s: float = CHECKPOINT_EVERY_S) -> None:
        self._every_s = every_s
        self._saved_s = time.monotonic()

    def on_step_end(
        self, _: TrainingArguments, state: TrainerState, control: TrainerControl, **_more: Any
    ) -> TrainerControl:
        """Asks for a checkpoint if one is due; none after the last step."""
        due = time.monotonic() - self._saved_s >= self._every_s
        control.should_save |= due and state.global_step < state.max_steps
        return control

    def on_save(self, *_: Any, **_more: Any) -> None:
        """Starts the clock anew."""
        self._saved_s = time.monotonic()
