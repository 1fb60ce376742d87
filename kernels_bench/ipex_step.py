"""Times IPEX's operators. Runs in the Intel environment (torch 2.8), where xpoll is installed without its requirements.

    .venv-ipex/bin/python -I -m xpoll.kernels_bench.ipex_step < selection.json

Reads a `CaseSelection` as JSON from stdin and writes one record per line to stdout. ipex.py starts it.
"""

import json
import sys


def main() -> None:
    """Prints one JSON record per case that IPEX has an operator for."""
    from xpoll.kernels_bench.arms import measured
    from xpoll.kernels_bench.ipex_operators import has_operator
    from xpoll.kernels_bench.selection import CaseSelection, cases_of
    from xpoll.kernels_bench.timing import Timer

    selection = CaseSelection(**json.load(sys.stdin))
    timer = Timer(selection.device, samples=selection.samples, most_s=selection.most_s)
    for case in cases_of(selection, selection.dtypes):
        if has_operator(case):
            sys.stdout.write(json.dumps(measured(case, "ipex", timer)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
