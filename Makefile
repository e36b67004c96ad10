# The front door. Every target sets up what it needs: Debian packages, and a virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
GROOVY_LINT := build/groovy-lint/.installed
PYTEST_ARGS ?=
PROGRAMS := scripts/write-schemas scripts/lint-groovy

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-jenkins lint groovy-logs format bench clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Install Debian packages and the virtual environment

$(STAMP): setup.cfg pyproject.toml constraints.txt scripts/install-debian-packages
	@PYTHON=$(PYTHON) scripts/install-debian-packages
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Python packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[sandbox,test,lint]'
	@touch $@

demo: setup ## Run a whole release for real on loopback servers and tell about it
	@$(BIN)/jenkins-release sandbox demo

test: setup $(GROOVY_LINT) ## Run the whole test suite against real Docker, Samba and registry
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-jenkins: setup ## Run the Jenkins scenarios against the controller that JENKINS_URL names
	@PYTHON=$(BIN)/python scripts/test-jenkins $(PYTEST_ARGS)

lint: setup $(GROOVY_LINT) ## Run the quality gate: ruff, mypy, shellcheck, npm-groovy-lint
	@$(BIN)/ruff check . $(PROGRAMS)
	@$(BIN)/ruff format --check . $(PROGRAMS)
	@$(BIN)/mypy
	@shellcheck scripts/install-debian-packages scripts/test-jenkins .ci/run
	@shellcheck --shell=sh --external-sources jenkins_release/bundle/*.sh jenkins_release/bundle/lib/*.sh
	@shellcheck --severity=warning tests/bundle/*.bats tests/bundle/helper.bash
	@$(BIN)/python scripts/lint-groovy

# npm ci takes exactly the versions and checksums of package-lock.json, and runs no script of a package.
$(GROOVY_LINT): scripts/groovy-lint/package.json scripts/groovy-lint/package-lock.json
	@PYTHON=$(PYTHON) scripts/install-debian-packages lint
	@mkdir -p $(@D)
	@cp $^ $(@D)
	@echo "Installing npm-groovy-lint into $(@D)"
	@cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

groovy-logs: setup ## Write the console of one whole run of each pipeline to build/groovy-logs
	@rm -rf build/groovy-logs
	@$(BIN)/python -m pytest -q -k whole_run tests/groovy
	@ls build/groovy-logs/*.log

format: setup ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup ## Measure speed and memory, and print a table
	@$(BIN)/python -m benchmarks

clean: ## Remove what was built; sandboxes are stopped first
	@test ! -x $(BIN)/jenkins-release || test ! -e .sandbox || $(BIN)/jenkins-release sandbox stop --remove
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
