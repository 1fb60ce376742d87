"""Times IPEX's operators. Runs in the Intel environment (torch 2.8), which holds nothing of xpoll.

    .venv-ipex/bin/python -I kernels_bench/ipex_step.py < wanted.json

Reads a `Wanted` as JSON and writes one record a line. ipex.py starts it.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    # Behind the environment's own packages: its PyTorch is the one that IPEX is built for.
    sys.path.append(str(Path(__file__).parents[1]))
    from kernels_bench.arms import measured
    from kernels_bench.ipex_operators import has_operator
    from kernels_bench.timing import Timer
    from kernels_bench.wanted import Wanted, cases_of

    wanted = Wanted(**json.load(sys.stdin))
    timer = Timer(wanted.device, samples=wanted.samples, most_s=wanted.most_s)
    for case in cases_of(wanted, wanted.dtypes):
        if has_operator(case):
            sys.stdout.write(json.dumps(measured(case, "ipex", timer)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
