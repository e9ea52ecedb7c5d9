# Two commands are enough: `make lab` to learn, `make test` to check. Each is one line that calls start.py, which sets up what is
# missing and calls `course`. Where there is no make (Windows): `py start.py lab`, `py start.py test`, and so on.
PYTHON ?= python3
ARGS ?=

.PHONY: lab test test-full notebooks slides site grade-demo check bench lock setup
lab test notebooks slides site grade-demo bench:
	@$(PYTHON) start.py $@ $(ARGS)
test-full:
	@$(PYTHON) start.py test --budget full $(ARGS)
check lock:
	@$(PYTHON) start.py $@
setup:
	@$(PYTHON) start.py
