# The one door: every task has a target here, and CMake does the work.  `make` builds; `make help` lists the rest.

PG_CONFIG ?= pg_config
BUILD     ?= build
JOBS      ?= $(shell nproc 2>/dev/null || echo 2)
# Debian's own, which has psycopg2 and pytest; another python3 may come first in PATH.
PYTHON    ?= /usr/bin/python3

MAKEFLAGS += --no-print-directory

export PG_CONFIG PYTHON
export SLUICE_BUILD_DIR := $(abspath $(BUILD))

all: ## build the extension, the sidecar and the unit tests
	@command -v cmake >/dev/null || { test/lib/install-packages.sh --check; exit 1; }
	@command -v $(PG_CONFIG) >/dev/null || { test/lib/install-packages.sh --check && echo "PG_CONFIG=$(PG_CONFIG) was not found" >&2; exit 1; }
	@cmake -S . -B $(BUILD) -DPG_CONFIG=$(PG_CONFIG) $(CMAKE_ARGS) > $(BUILD).log 2>&1 || { cat $(BUILD).log >&2; test/lib/install-packages.sh --check; exit 1; }
	@rm -f $(BUILD).log
	@cmake --build $(BUILD) --parallel $(JOBS)

install: all ## put module, control file, SQL script and sluiced into place (DESTDIR= honoured)
	cmake --install $(BUILD)

uninstall: ## remove what install has put into place
	@test -f $(BUILD)/install_manifest.txt || { echo "nothing was installed from $(BUILD)" >&2; exit 1; }
	sed 's|^|$(DESTDIR)|' $(BUILD)/install_manifest.txt | xargs -r -d '\n' rm -fv

installcheck: ## try the installed extension in a database of its own on the server at PGHOST, PGPORT
	test/lib/installcheck

packages: ## install missing packages (Debian 12 and 13; by apt-get as root, or sudo)
	@test/lib/install-packages.sh

demo: packages ## see it work: real files, real programs
	@$(MAKE) all
	@demo/run

test: packages ## every suite, or SUITE=pgtap, and FILTER= a part of a test's name
	@$(MAKE) all
	@test/run $(if $(SUITE),--suite '$(SUITE)') $(if $(FILTER),--filter '$(FILTER)')

bench: packages ## figures beside hand-written SQL: enqueue, drain, WAL, HOT, latency; QUICK=1 for a minute's worth
	@$(MAKE) all
	@$(PYTHON) test/bench/run $(if $(QUICK),--quick)

bench-peers: packages ## figures beside graphile-worker, pg-boss, BullMQ, PgQ and a table (installs them); 40 minutes, QUICK=1 for 5
	@test/lib/install-packages.sh --peers
	@$(MAKE) all
	@$(PYTHON) test/bench/peers/run $(if $(QUICK),--quick)

format: ## put C++ into the house style
	@git ls-files -z -co --exclude-standard '*.cpp' '*.hpp' | xargs -0r clang-format -i

lint: ## style, scripts, versions, SQL
	@test/lint/run

tidy: all ## clang-tidy over core and sidecar (minutes)
	@test/lint/tidy

clean: ## remove what was built
	rm -rf $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

.PHONY: all install uninstall installcheck packages demo test bench bench-peers format lint tidy clean help
