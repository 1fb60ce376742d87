# Two commands: `make demo` and `make test`. Both set up .venv first, once. `make examples` makes docs/examples anew.

SHELL := bash
.PHONY: demo test check setup clean examples

demo: .venv/.ready
	@start=$$SECONDS; .venv/bin/xpoll run examples/investor_sentiment/job.toml && echo "demo: $$((SECONDS - start)) s"

# Makes the reports in docs/examples anew: the demo run, and the suite `quick`. Takes some minutes.
examples: demo
	@.venv/bin/xpoll report runs/investor_sentiment --markdown
	@mkdir -p docs/examples && cp runs/investor_sentiment/report.html docs/examples/investor_sentiment.html
	@cp runs/investor_sentiment/report.md docs/examples/investor_sentiment.md
	@.venv/bin/xpoll bench quick --output docs/examples/quick.json

test: .venv/.ready-test
	@scripts/check.sh

setup: .venv/.ready

.venv/.ready: requirements/cpu.txt pyproject.toml scripts/setup.sh
	@scripts/setup.sh && touch $@

.venv/.ready-test: requirements/test.txt .venv/.ready
	@scripts/setup.sh test && touch $@

clean:
	rm -rf .venv runs build *.egg-info
