# Two commands are enough: `make lab` to learn, `make test` to check. Each is one line that calls `course`.
PYTHON ?= python3
ARGS ?=

.PHONY: lab test test-full notebooks slides site grade-demo check bench lock
lab: setup
	@.venv/bin/course lab $(ARGS)
test: setup
	@.venv/bin/course test --budget quick $(ARGS)
test-full: setup
	@.venv/bin/course test --budget full $(ARGS)
notebooks: setup
	@.venv/bin/course notebooks $(ARGS)
slides: setup
	@.venv/bin/course slides $(ARGS)
site: setup
	@.venv/bin/course site $(ARGS)
grade-demo: setup
	@.venv/bin/course grade-demo $(ARGS)
check: setup
	@.venv/bin/course check
bench: setup
	@.venv/bin/course bench $(ARGS)
lock: setup
	@.venv/bin/course lock

.PHONY: setup
setup:
	@$(PYTHON) courseware/bootstrap.py
