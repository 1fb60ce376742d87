"""`xpoll serve`: a job's engine behind an OpenAI-compatible address, until Ctrl-C."""

import argparse
import json
import sys
import threading
from pathlib import Path

from xpoll.core.config import Config
from xpoll.core.errors import ConfigError
from xpoll.engine.backends.registry import BACKENDS, spec_of
from xpoll.scripts.arguments import add_job, load_job


def add_arguments(command: argparse.ArgumentParser) -> None:
    """A job, and where to listen."""
    add_job(command)
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    command.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")


def call(parsed: argparse.Namespace) -> int:
    """Serves until Ctrl-C."""
    return serve_job(load_job(parsed), host=parsed.host, port=parsed.port, as_json=parsed.json)


def serve_job(config: Config, *, host: str, port: int, as_json: bool) -> int:
    """Prints address and an example when every server is ready; returns when it is asked to end.

    Raises:
        ConfigError: the job's backend cannot be served.
        EngineError: a server does not start.
    """
    if not spec_of(config.engine.backend).serves:
        served = [name for name, spec in BACKENDS.items() if spec.serves]
        raise ConfigError(
            f"engine.backend: only {' and '.join(served)} can be served, not {config.engine.backend!r}",
            mend=f"--set engine.backend={served[0]}",
        )
    from xpoll.engine.serve import serving

    # Beside the run folder: `xpoll run` refuses a folder that it has not made.
    log = Path(f"{config.job.run_folder}.serve.log")
    stdout = sys.stdout  # within the block, print goes to the log
    try:
        with serving(config.engine, host=host, port=port, log=log) as devices:
            address = f"http://{host}:{port}/v1"
            ready = {"address": address, "model": config.engine.model, "devices": [str(device) for device in devices]}
            print(json.dumps(ready) if as_json else _example(address, config.engine.model), file=stdout, flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("\nxpoll: served until now; every server is ended", file=sys.stderr)
    return 0


def _example(address: str, model: str) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16})
    return (
        f"serving {model} at {address} (Ctrl-C ends it)\n"
        f"curl {address}/chat/completions -H 'Content-Type: application/json' -d '{body}'"
    )
