"""Times IPEX's operators. Runs in the Intel environment (torch 2.8), where xpoll is installed without its requirements.

    .venv-ipex/bin/python -I -m xpoll.kernels_bench.ipex_step < wanted.json

Reads a `Wanted` as JSON and writes one record a line. ipex.py starts it.
"""

import json
import sys


def main() -> None:
    from xpoll.kernels_bench.arms import measured
    from xpoll.kernels_bench.ipex_operators import has_operator
    from xpoll.kernels_bench.timing import Timer
    from xpoll.kernels_bench.wanted import Wanted, cases_of

    wanted = Wanted(**json.load(sys.stdin))
    timer = Timer(wanted.device, samples=wanted.samples, most_s=wanted.most_s)
    for case in cases_of(wanted, wanted.dtypes):
        if has_operator(case):
            sys.stdout.write(json.dumps(measured(case, "ipex", timer)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
