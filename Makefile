# The only door. `make demo`, `make check`, `make test`; the rest is in `make help`.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= var/demo
CONTRACT ?=
BUS ?= local
N ?= 100000
SEED ?= 1
SIGNING := tests/unit/signer tests/integration/test_signer_fast.py tests/integration/test_signer_writer.py \
    tests/integration/test_signer_lab.py tests/integration/test_signer_memory.py tests/integration/test_signer_repeats.py \
    tests/integration/test_batches.py \
    tests/conformance/test_both_forms.py tests/conformance/test_both_writers.py tests/conformance/test_clause_6_3.py \
    tests/conformance/test_three_signers.py
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev setup-opinions agreement demo serve compile check test test-compiled test-real kafka postgres s3 regen lock fuzz bench bench-crash bench-line bench-sign bench-batch bench-verify bench-token clean prerequisites

help: ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

prerequisites:
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "antin needs Python 3.11 or newer; found none. Install it: sudo apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "antin needs Python 3.11 or newer; found $$($(PYTHON) -V). Install a newer one and run: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "antin needs Python's venv module; found $$($(PYTHON) -V) without it. Install it: sudo apt-get install python3-venv" >&2; exit 1; }

setup: prerequisites $(VENV)/.run ## make .venv from the lock, every package checked by hash

setup-dev: prerequisites $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing the locked packages into $(VENV) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements/run.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.run
	@echo "Installing the locked packages of checks and tests into $(VENV) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.lock
	@touch $@

demo: setup ## the main job: identities to certificates to a contract signed by three, verified and notified; BUS=kafka runs it on Kafka, PostgreSQL and S3
	@$(if $(filter kafka,$(BUS)),$(BIN)/python -m tools.real.demo,$(BIN)/antin demo) --out "$(OUT)" $(if $(CONTRACT),--contract "$(CONTRACT)")

serve: setup ## keep it running on loopback with its HTTP API
	@$(BIN)/antin serve

check: setup-dev ## format, lint, types, import rules, generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tools.regen --check

compile: setup-dev ## optional, for speed: the signer's inner loop to machine code; needs a C compiler
	@$(BIN)/python -m tools.compile

test: setup-dev ## every test that needs no server of its own; the signer's in compiled form too, where there is a C compiler
	@ANTIN_COMPILED=no $(BIN)/pytest -n 2 --dist worksteal -m "not real"
	@$(BIN)/python -m tools.compile; case $$? in \
	    0) $(MAKE) --no-print-directory test-compiled ;; \
	    2) echo "NOT TESTED in compiled form, which this machine cannot make" ;; \
	    *) exit 1 ;; esac

test-compiled: compile ## the signer's tests in compiled form, and both forms held against each other
	@ANTIN_COMPILED=required $(BIN)/pytest -n 2 --dist worksteal -m "not real and not corpus" $(SIGNING)

test-real: setup-dev ## the tests on real Kafka, PostgreSQL and S3, which are started on free ports and stopped again, and veraPDF's of PDF/A
	@ANTIN_REAL=1 $(BIN)/pytest -n 0 -m real

kafka: setup-dev ## Apache Kafka on loopback, by Maven, until Ctrl+C
	@$(BIN)/python -m tools.real kafka

postgres: setup-dev ## a throw-away PostgreSQL on loopback, until Ctrl+C
	@$(BIN)/python -m tools.real postgres

s3: setup-dev ## an S3 server on loopback, until Ctrl+C
	@$(BIN)/python -m tools.real s3

fuzz: setup-dev ## N mutants of signed PDFs against the verifier (default 100000); SEED=2 for others; findings in var/fuzz
	@$(BIN)/python -m tests.fuzz --mutants $(N) --seed $(SEED)

regen: setup-dev ## write schemas/ anew from events/ and the routes
	@$(BIN)/python -m tools.regen

bench: setup-dev ## figures: tables for people, var/bench/*.json for machines
	@$(BIN)/python -m bench.lock_to_refusal

bench-crash: setup-dev ## kill every process, the broker and the database while 1,000 contracts flow: var/bench/crash.json
	@$(BIN)/python -m bench.crash

bench-line: setup-dev ## contracts a second and the share of each stage, embedded and on Kafka: var/bench/line.json
	@$(BIN)/python -m bench.line

bench-batch: setup-dev ## 10,000 documents under one approval while signer and caller are killed: var/bench/batch.json
	@$(BIN)/python -m bench.batch

bench-verify: setup-dev ## verifications a second beside pyHanko, endesive, pdfsig and EU DSS: var/bench/verify.json
	@$(BIN)/python -m bench.verify

bench-token: setup-dev ## signatures a second of a PKCS#11 token, by the number of sessions: var/bench/token.json
	@$(BIN)/python -m bench.token

setup-opinions: setup ## endesive too, for a third opinion on signature values (optional; requirements/opinions.in)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements/opinions.lock

agreement: setup-dev ## the engines held against each other over the corpus: docs/agreement.md
	@$(BIN)/python -m tools.agreement --write

bench-sign: setup-dev ## one signature beside eight other signers and the floor, every kind of key and level: var/bench/sign.json
	@$(BIN)/python -m tools.compile || [ $$? -eq 2 ]
	@$(BIN)/python -m bench.sign

lock: setup-dev ## pin requirements/*.in anew
	@$(BIN)/uv pip compile -q --no-header --no-annotate --generate-hashes --universal --python-version 3.11 requirements/run.in -o requirements/run.lock
	@$(BIN)/uv pip compile -q --no-header --no-annotate --generate-hashes --universal --python-version 3.11 -c requirements/run.lock requirements/dev.in -o requirements/dev.lock
	@$(BIN)/uv pip compile -q --no-header --no-annotate --generate-hashes --universal --python-version 3.11 -c requirements/dev.lock requirements/compile.in -o requirements/compile.lock
	@$(BIN)/uv pip compile -q --no-header --no-annotate --no-deps --generate-hashes --universal --python-version 3.11 requirements/opinions.in -o requirements/opinions.lock

clean: ## remove what was made here
	rm -rf $(VENV) var
