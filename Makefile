# `make` lists what there is. .venv is set up once, before whatever needs it first.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help demo setup lint docs unit test coverage chaos ipex test-ipex lint-deploy test-docker audit examples clean
PYTEST := .venv/bin/python -m pytest --durations=12
# A broken link or anchor, or a page that the site does not show, is an error.
MKDOCS := NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict --quiet
# Further arguments of pytest: make unit ARGS="tests/votes -k majority"
ARGS ?=

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile

demo: .venv/.ready ## runs the whole path on examples/shop_messages: 3 to 6 minutes
	@start=$$SECONDS; .venv/bin/xpoll run examples/shop_messages/job.toml && echo "demo: $$((SECONDS - start)) s"

setup: .venv/.ready ## makes .venv: what a run on a CPU needs

lint: .venv/.ready-test ## format, lint rules, types, links of the site: under a minute
	@start=$$SECONDS; .venv/bin/ruff format --check . && .venv/bin/ruff check . \
		&& .venv/bin/python scripts/dev/link_tree.py && .venv/bin/mypy && $(MKDOCS) && echo "lint: $$((SECONDS - start)) s"

docs: .venv/.ready-test ## the pages of docs/ as a site in build/site; look at it with .venv/bin/mkdocs serve
	@$(MKDOCS) && echo "docs: build/site/index.html"

# Two processes: starting Ray and vLLM is mostly imports, which take one core each. Without a bound PyTorch would take
# all cores in both, and wait for its own threads most of the time. In the order of tests/conftest.py: the longest files
# first, which are not those with the most tests.
unit: .venv/.ready-test ## tests that start no engine: 5 minutes on two cores, 4 are wanted
	@start=$$SECONDS; OMP_NUM_THREADS=1 $(PYTEST) -m "not engine and not ipex" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS) \
		&& echo "unit: $$((SECONDS - start)) s"

test: lint unit ## lint, unit, and the tests that start Ray and engines
	@start=$$SECONDS; $(PYTEST) -m engine -n 2 --dist loadfile --no-loadscope-reorder $(ARGS) \
		&& echo "tests with an engine: $$((SECONDS - start)) s"

# Of the product alone, processes that tests start included; what is left out stands with its reason in pyproject.toml.
# `make coverage TESTS="not ipex"` counts the tests with an engine, too, and takes as long as `make test`.
TESTS ?= not engine and not ipex
COVERAGE := .venv/bin/python -m coverage
coverage: .venv/.ready-test ## branch coverage of the unit tests, and build/coverage/html/index.html: twice the time of unit
	@mkdir -p build/coverage && $(COVERAGE) erase
	@OMP_NUM_THREADS=1 $(COVERAGE) run -m pytest -q -m "$(TESTS)" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS); \
		code=$$?; $(COVERAGE) combine -q && $(COVERAGE) html -q && $(COVERAGE) report && exit $$code

chaos: .venv/.ready ## polls that are killed and damaged at random and resumed: ARGS="--set parameters.trials=1000"
	@.venv/bin/xpoll bench chaos $(ARGS)

# Trains with IPEX (student.backend = "ipex") and exports to OpenVINO.
ipex: .venv-ipex/.ready ## makes .venv-ipex, the Intel environment: about 8 GB

test-ipex: .venv/.ready-test .venv-ipex/.ready ## tests in the Intel environment
	@$(PYTEST) -m ipex $(ARGS)

lint-deploy: .venv-lint/.ready ## makes .venv-lint: hadolint, shellcheck and kubernetes-validate, for tests/scripts

test-docker: .venv/.ready-test lint-deploy ## the steps of Dockerfile.xpu for the CPU outside of Docker: 4 minutes, 3 GB
	@XPOLL_TEST_DOCKER=1 $(PYTEST) tests/scripts/test_dockerfile.py tests/scripts/test_cluster.py $(ARGS)

# Dependencies as they are installed: lists of licences and of components, then known vulnerabilities of what is pinned. An
# advisory that does not concern us is named with its reason: make audit ARGS="--ignore-vuln ID". Needs pypi.org itself: a
# mirror has no advisories, and --strict makes that an error.
COPYLEFT := GPL-2.0-only;GPL-2.0-or-later;GPL-3.0-only;GPL-3.0-or-later;AGPL-3.0-only;AGPL-3.0-or-later
audit: .venv/.ready-test .venv-audit/.ready ## build/licences.csv, build/sbom.cdx.json, and pip-audit
	@mkdir -p build
	@.venv-audit/bin/pip-licenses --python .venv/bin/python --from mixed --format csv --with-urls \
		--fail-on "$(COPYLEFT)" --output-file build/licences.csv
	@.venv/bin/python -m xpoll.scripts.dev.sbom > build/sbom.cdx.json
	@.venv-audit/bin/pip-audit --strict --no-deps --disable-pip -r requirements/cpu.txt $(ARGS)

# The demo's run, and the suite `quick`, whose records become its baseline.
examples: demo ## makes the reports in docs/examples anew
	@.venv/bin/xpoll report runs/shop_messages --markdown
	@mkdir -p docs/examples && cp runs/shop_messages/report.html docs/examples/shop_messages.html
	@cp runs/shop_messages/report.md docs/examples/shop_messages.md
	@.venv/bin/xpoll bench quick --output benchmarks/baselines/quick.json; code=$$?; \
		mv benchmarks/baselines/quick.html docs/examples/quick.html; exit $$code

clean: ## removes environments, runs and built files
	rm -rf .venv .venv-ipex .venv-lint .venv-audit runs build dist *.egg-info

.venv/.ready: requirements/cpu.txt pyproject.toml scripts/setup.sh
	@scripts/setup.sh && touch $@

.venv/.ready-test: requirements/test.txt .venv/.ready
	@scripts/setup.sh test && touch $@

.venv-ipex/.ready: requirements/ipex-cpu.txt scripts/setup.sh
	@scripts/setup.sh ipex && touch $@

.venv-lint/.ready: requirements/lint.txt
	@$${PYTHON:-python3} -m venv .venv-lint && .venv-lint/bin/python -m pip install -q -r requirements/lint.txt && touch $@

.venv-audit/.ready: requirements/audit.txt
	@$${PYTHON:-python3} -m venv .venv-audit && .venv-audit/bin/python -m pip install -q -r requirements/audit.txt && touch $@
