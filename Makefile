# Two commands: `make demo` and `make test`. Both set up .venv first, once. `make examples` makes docs/examples anew.

SHELL := bash
.PHONY: demo test test-ipex test-docker lint-deploy ipex examples check setup clean

demo: .venv/.ready
	@start=$$SECONDS; .venv/bin/xpoll run examples/investor_sentiment/job.toml && echo "demo: $$((SECONDS - start)) s"

# Makes the reports in docs/examples anew: the demo run, and the suite `quick`, whose records become its baseline.
examples: demo
	@.venv/bin/xpoll report runs/investor_sentiment --markdown
	@mkdir -p docs/examples && cp runs/investor_sentiment/report.html docs/examples/investor_sentiment.html
	@cp runs/investor_sentiment/report.md docs/examples/investor_sentiment.md
	@.venv/bin/xpoll bench quick --output benchmarks/baselines/quick.json; code=$$?; \
		mv benchmarks/baselines/quick.html docs/examples/quick.html; exit $$code

test: .venv/.ready-test
	@scripts/check.sh

# The Intel environment: trains with IPEX (student.backend = "ipex") and exports to OpenVINO. About 8 GB.
ipex: .venv-ipex/.ready

test-ipex: .venv/.ready-test .venv-ipex/.ready
	@.venv/bin/python -m pytest -m ipex

# Runs the steps of Dockerfile.xpu for the CPU outside of Docker (4 minutes and 3 GB), and all linters.
test-docker: .venv/.ready-test lint-deploy
	@XPOLL_TEST_DOCKER=1 .venv/bin/python -m pytest tests/scripts/test_dockerfile.py tests/scripts/test_cluster.py

# hadolint, shellcheck and kubernetes-validate, for the tests of Dockerfile, batch scripts and manifests.
lint-deploy: .venv-lint/.ready

.venv-lint/.ready: requirements/lint.txt
	@$${PYTHON:-python3} -m venv .venv-lint && .venv-lint/bin/python -m pip install -q -r requirements/lint.txt && touch $@

setup: .venv/.ready

.venv/.ready: requirements/cpu.txt pyproject.toml scripts/setup.sh
	@scripts/setup.sh && touch $@

.venv/.ready-test: requirements/test.txt .venv/.ready
	@scripts/setup.sh test && touch $@

.venv-ipex/.ready: requirements/ipex-cpu.txt scripts/setup.sh
	@scripts/setup.sh ipex && touch $@

clean:
	rm -rf .venv .venv-ipex .venv-lint runs build *.egg-info
