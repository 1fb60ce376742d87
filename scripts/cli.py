"""`xpoll`: one command a step. Figures go to stdout, progress and errors to stderr.

Exit codes: 0 done, 1 `doctor` warns or a check of `bench` does not hold, 2 a mistake the user can mend
(one line says what, why and what to type), 130 stopped by Ctrl-C or SIGTERM (the same command goes on
from there).
"""

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

from core.errors import UserError
from core.garbage import collecting_seldom
from scripts.arguments import parser

if TYPE_CHECKING:
    from core.config import Config

MEASURING = frozenset({"bench", "kernels"})
"""Commands that begin anew; what they had measured is written as an incomplete document."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    _quiet_libraries()
    parsed = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's end is a Ctrl-C
    try:
        return _run(parsed)
    except UserError as error:
        print(f"xpoll: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        again = " ".join(["xpoll", *(arguments or sys.argv[1:])])
        left = "the records so far are written" if parsed.command in MEASURING else "what was done is kept"
        print(f"\nxpoll: stopped; {left} -> {again}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our stdout has gone, e.g. `xpoll plan job.toml | head -3`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(parsed: argparse.Namespace) -> int:
    """Calls the command. Each imports only what it needs, because help, plan and doctor are to come at once."""
    match parsed.command:
        case "doctor":
            with collecting_seldom():  # imports are most of the time, and make no cycles
                from scripts.show_doctor import show_doctor

                return show_doctor(as_json=parsed.json, probe=parsed.probe)
        case "predict":
            from scripts.predict import predict

            return predict(parsed)
        case "export":
            from scripts.export import export

            return export(parsed)
        case "batch":
            from scripts.batch import run_batch

            return run_batch(parsed)
        case "bench":
            from scripts.show_suite import bench

            return bench(parsed)
        case "kernels":
            from scripts.kernels import kernels

            return kernels(parsed)
        case "serve":
            from scripts.serve import serve_job

            return serve_job(_config(parsed), host=parsed.host, port=parsed.port, as_json=parsed.json)
        case "review":
            from scripts.review import review

            return review(parsed)
        case "status":
            from scripts.show_run import status

            return status(parsed)
        case "plan":
            with collecting_seldom():
                from scripts.show_plan import plans

                return plans(parsed)
        case "panel":
            from scripts.panel import show_panel

            return show_panel(_config(parsed), as_json=parsed.json)
        case "vote" if parsed.compare:
            from scripts.show_votes import compare_votes

            return compare_votes(_config(parsed), as_json=parsed.json)
        case "report":
            from scripts.report import report

            return report(parsed)
        case step:
            from scripts.run import one_step, whole_path

            config = _config(parsed)
            return whole_path(config, as_json=parsed.json) if step == "run" else one_step(step, config, parsed.json)


def _config(parsed: argparse.Namespace) -> "Config":
    from core.config_file import load_config

    address = getattr(parsed, "address", None)
    return load_config(parsed.job, [*parsed.set, *([f"engine.address={address}"] if address else [])])


def _quiet_libraries() -> None:
    """Their progress bars and advice would stand between ours; set before any of them is imported."""
    for name, value in {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
    }.items():
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    raise SystemExit(main())
