# Two commands: `make demo` and `make test`. Both set up .venv first, once.

SHELL := bash
.PHONY: demo test test-ipex ipex check setup clean

demo: .venv/.ready
	@start=$$SECONDS; .venv/bin/xpoll run examples/investor_sentiment/job.toml && echo "demo: $$((SECONDS - start)) s"

test: .venv/.ready-test
	@scripts/check.sh

# The Intel environment: trains with IPEX (student.backend = "ipex") and exports to OpenVINO. About 8 GB.
ipex: .venv-ipex/.ready

test-ipex: .venv/.ready-test .venv-ipex/.ready
	@.venv/bin/python -m pytest -m ipex

setup: .venv/.ready

.venv/.ready: requirements/cpu.txt pyproject.toml scripts/setup.sh
	@scripts/setup.sh && touch $@

.venv/.ready-test: requirements/test.txt .venv/.ready
	@scripts/setup.sh test && touch $@

.venv-ipex/.ready: requirements/ipex-cpu.txt scripts/setup.sh
	@scripts/setup.sh ipex && touch $@

clean:
	rm -rf .venv .venv-ipex runs build *.egg-info
