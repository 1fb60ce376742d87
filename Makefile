# Two commands: `make demo` and `make test`. Both set up .venv first, once.

SHELL := bash
.PHONY: demo test check setup clean

demo: .venv/.ready
	@start=$$SECONDS; .venv/bin/xpoll run examples/investor_sentiment/job.toml && echo "demo: $$((SECONDS - start)) s"

test: .venv/.ready-test
	@scripts/check.sh

setup: .venv/.ready

.venv/.ready: requirements/cpu.txt pyproject.toml scripts/setup.sh
	@scripts/setup.sh && touch $@

.venv/.ready-test: requirements/test.txt .venv/.ready
	@scripts/setup.sh test && touch $@

clean:
	rm -rf .venv runs build *.egg-info
