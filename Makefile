# Everything runs from its own virtual environment; the first target that needs it makes it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
SEEDS ?= 2000
FILE ?= tests/corpus/mysql_queries.jsonl

.PHONY: setup demo test test-long lint sim sql-corpus test-clients fuzz bench bench-reads bench-queues bench-consensus proto compose_up compose_down clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,demo]'
	touch $@

## Three peers on loopback with a year of flights; ARGS=--once stops after the queries.
demo: $(STAMP)
	$(BIN)/z4 demo $(ARGS)

## Style, types, and all tests that end within a few minutes.
test: lint
	$(BIN)/pytest -q -n 2 --dist worksteal -m 'not long and not client' $(ARGS)

test-long: $(STAMP)
	$(BIN)/pytest -q $(ARGS)

## Every MySQL client that can be had; tests/clients/install brings them (as root), missing ones are skipped.
test-clients: $(STAMP)
	PYTHON=$(CURDIR)/$(BIN)/python tests/clients/install
	$(BIN)/pytest -q -m client tests/clients $(ARGS)

## Each target of fuzz/ for FUZZ_S seconds; fails on a finding, which stays in .fuzz.
FUZZ_S ?= 60
FUZZ_TARGETS ?= packets statements lowering
fuzz: $(STAMP)
	$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check atheris
	set -e; for target in $(FUZZ_TARGETS); do \
		mkdir -p .fuzz/$$target; \
		$(BIN)/python -m fuzz.$$target -max_total_time=$(FUZZ_S) -timeout=10 -rss_limit_mb=3000 -max_len=4096 \
			-verbosity=0 -print_final_stats=1 -artifact_prefix=.fuzz/$$target- .fuzz/$$target fuzz/corpus/$$target; \
	done

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## The simulator: SEEDS=20000 for a long run.
sim: $(STAMP)
	$(BIN)/python -m raftcore.sim --seeds $(SEEDS) $(ARGS)

## MySQL's recorded answers against ours: FILE=tests/corpus/mysql_queries.jsonl
sql-corpus: $(STAMP)
	$(BIN)/python -m z4sql.sql.corpus $(FILE)

## Durable creates per second beside etcd, then queries beside MariaDB (each when it is installed).
bench: $(STAMP)
	$(BIN)/python -m tests.bench.writes $(ARGS)

bench-reads: $(STAMP)
	$(BIN)/python -m tests.bench.reads $(ARGS)

## The consensus core by itself, failover, restart and snapshot transfer, beside etcd.
bench-consensus: $(STAMP)
	$(BIN)/python -m tests.bench.consensus $(ARGS)

## Lease, deliver, acknowledge, and how late: beside Redis and beanstalkd, when they are installed.
bench-queues: $(STAMP)
	$(BIN)/python -m tests.bench.queues $(ARGS)

proto: $(STAMP)
	proto/generate

COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

compose_up:
	$(COMPOSE) up -d --build

compose_down:
	$(COMPOSE) down -v

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
