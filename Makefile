# The front door. Every target sets up what it needs: Debian packages, and a virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
KERBEROS := $(VENV)/.kerberos
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
GROOVY_LINT := build/groovy-lint/.installed
S3RVER := build/s3rver/.installed
SIGSTORE := build/sigstore-verify/.installed
NEWER_DOCKER := build/newer-docker/.installed
COSIGN := build/cosign/.installed
PYTEST_ARGS ?=
ADVERSARY_ARGS ?=
FAULTS_ARGS ?=
PROGRAMS := scripts/write-schemas scripts/lint-groovy

# In order: a target looks at the machine, then installs what is missing, then works.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help machine-demo machine-setup machine-test machine-lint setup demo test test-all snapshots adversary faults fuzz test-jenkins lint groovy-logs library format bench clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

machine-demo machine-setup machine-test machine-lint: machine-%:
	@PYTHON=$(PYTHON) scripts/check-machine $*
	@PYTHON=$(PYTHON) scripts/install-debian-packages $(PACKAGES_$*)

PACKAGES_demo := demo node
PACKAGES_setup := setup
PACKAGES_test := setup node lint
PACKAGES_lint := setup node lint

# Also where PYTHONDONTWRITEBYTECODE is set, as in many containers: each command would compile the package again.
setup: machine-setup $(STAMP) $(KERBEROS) ## Install Debian packages and the virtual environment
	@$(BIN)/python -m compileall -q jenkins_release

$(STAMP): setup.cfg pyproject.toml constraints.txt jenkins_release/requirements/build.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Python packages into $(VENV)"
	@$(PIP) --require-hashes -r jenkins_release/requirements/build.txt
	@$(PIP) --require-hashes --no-build-isolation -r constraints.txt
	@$(PIP) --no-build-isolation -e .
	@$(BIN)/python -m pip check
	@touch $@

# Of its own: the demo needs no C compiler. Tests do not need fast code, and optimizing it takes minutes.
$(KERBEROS): $(STAMP) jenkins_release/requirements/kerberos.txt
	@echo "Building the Kerberos packages into $(VENV)"
	@CFLAGS=-O0 $(PIP) --require-hashes --no-build-isolation -r jenkins_release/requirements/kerberos.txt
	@touch $@

demo: machine-demo $(STAMP) $(SIGSTORE) ## Run a whole release for real on loopback servers and tell about it
	@SIGSTORE_MODULES=$(CURDIR)/$(dir $(SIGSTORE))node_modules $(BIN)/jenkins-release sandbox demo

test: export PYTHONDONTWRITEBYTECODE := # what one process has compiled, the next ones need not
test: machine-test $(STAMP) $(KERBEROS) $(GROOVY_LINT) $(S3RVER) $(SIGSTORE) $(NEWER_DOCKER) $(COSIGN) ## Run the whole test suite against real Docker, Samba and registry
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-all: ## Run the whole suite, with every case of which make test plays a part
	@FAULTS=all DEATHS=all CASES=all BENCH=all $(MAKE) test

snapshots: setup ## Write the snapshots of what users rely on; git shows what changed
	@$(BIN)/python -m pytest -q --update-snapshots $(PYTEST_ARGS)

adversary: setup ## Change the share between any two calls of a step, and count what gets out
	@$(BIN)/python -m tests.release.adversary $(ADVERSARY_ARGS)

faults: setup ## Play every fault with the commands that it matters to, and write docs/reliability.md
	@rm -rf build/faults
# Status 1: cells that do not hold, which the report names. With any other, the page would lack what was not played.
	@FAULTS=all $(BIN)/python -m pytest -n 2 --dist load -q --tb=no tests/faults $(FAULTS_ARGS) || test $$? = 1
	@$(BIN)/python -m tests.faults.report $(if $(FAULTS_ARGS),--page build/faults/reliability.md)

fuzz: setup ## Thousands of archives and manifests, of wrong answers for our clients, and of attacks on the gate
	@FUZZ_CASES=$${FUZZ_CASES:-5000} $(BIN)/python -m pytest -q -s tests/fuzz tests/rules/test_gate.py

test-jenkins: setup ## Run the Jenkins scenarios against the controller that JENKINS_URL names
	@PYTHON=$(BIN)/python scripts/test-jenkins $(PYTEST_ARGS)

lint: machine-lint $(STAMP) $(KERBEROS) $(GROOVY_LINT) ## Run the quality gate: ruff, mypy, import-linter, shellcheck, npm-groovy-lint
	@$(BIN)/ruff check . $(PROGRAMS)
	@$(BIN)/ruff format --check . $(PROGRAMS)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@shellcheck scripts/check-machine scripts/debian-packages scripts/docker-daemon scripts/install-debian-packages scripts/newer-docker scripts/test-jenkins scripts/unpack-debian scripts/write-constraints scripts/write-library-branch .ci/run
	@shellcheck --shell=sh --external-sources jenkins_release/bundle/*.sh jenkins_release/bundle/lib/*.sh
	@shellcheck --severity=warning tests/bundle/*.bats tests/bundle/helper.bash
	@$(BIN)/python scripts/lint-groovy

# npm ci takes exactly the versions and checksums of package-lock.json, and runs no script of a package.
build/%/.installed: scripts/%/package.json scripts/%/package-lock.json
	@mkdir -p $(@D)
	@cp $^ $(@D)
	@echo "Installing $* into $(@D)"
	@cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(NEWER_DOCKER): scripts/newer-docker scripts/unpack-debian
	@scripts/newer-docker $(@D)
	@touch $@

$(COSIGN): scripts/unpack-debian
	@scripts/unpack-debian $(@D) cosign
	@touch $@

library: ## Put vars/ of main alone on the branch library, for Jenkins to check out
	@scripts/write-library-branch

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
