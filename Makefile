PYTHON ?= python3
VENV ?= .venv
CONFIG ?= config/relay.toml
MEASURED ?= build/perf

PIP = $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
COMPILER = mypy setuptools  # what setup.py compiles with
PYTEST = $(VENV)/bin/python -m pytest
SPHINX = $(VENV)/bin/python -m sphinx --quiet --fail-on-warning --keep-going --conf-dir docs/site --doctree-dir build/site-pages
WORKERS ?= --numprocesses auto --maxprocesses 4 --dist loadgroup
ELSEWHERE = opensearch or redis or picture or clients or browser or exhaustive
INTERPRETED = backup bus kept moderation peers perf plugins sources watching workers  # tests of rooms of which nothing is compiled
CLIENTS = $(wildcard tests/clients/*.json tests/clients/go.* tests/clients/*/*.txt tests/clients/go/* tests/clients/javascript/*)
SOURCES = pyproject.toml setup.py building/backend.py constraints.txt trio_relay/nostr/batch_build.py

.PHONY: run quick test test-all test-rest test-compiled compiled check pytest format docs site site-links machines screenshots clients perf opensearch release clean

run: $(VENV)/installed  ## Install what the relay needs, and run it until Ctrl-C; compiled, if `make compiled` has made that.
	@PYTHONPATH=$$($(VENV)/bin/python -m building.compiled --where) exec $(VENV)/bin/trio-relay --config $(CONFIG)

compiled: $(VENV)/installed  ## Compile the sources as they are into build/compiled, where there is a C compiler.
	@test "$$TRIO_RELAY_COMPILE" = 0 && rm -rf build/compiled || $(VENV)/bin/python -m building.compiled || true

quick: $(VENV)/installed-test  ## What answers in less than a minute: no whole program, contracts on memory alone.
	$(PYTEST) $(WORKERS) -m 'not ($(ELSEWHERE) or sqlite or kept or slow)' --hypothesis-profile=quick \
		--ignore=tests/e2e --ignore=tests/perf $(ARGS)

test: check  ## Install what the tests need, and run all that needs no other server, in a few minutes.
	$(PYTEST) $(WORKERS) -m 'not ($(ELSEWHERE))' --hypothesis-profile=few \
		$(if $(COVERED),--cov --cov-report= --cov-fail-under=0) $(ARGS)

test-all:  ## The same and the rest, with coverage of both.
	$(MAKE) --no-print-directory test COVERED=1
	$(MAKE) --no-print-directory test-rest COVERED=1

test-rest: $(VENV)/installed-all build/clients/installed  ## What `test` leaves out: OpenSearch, Redis, pictures, clients, Chromium, and all examples.
	$(if $(QUICKLY),,$(PYTEST) $(WORKERS) -m 'hypothesis and not ($(ELSEWHERE))' $(ARGS))
	$(PYTEST) $(WORKERS) -m '$(ELSEWHERE)' $(if $(COVERED),--cov --cov-append --cov-report=term) $(ARGS)

test-compiled: $(VENV)/installed-test  ## All but the slowest tests, on the compiled code.
	$(VENV)/bin/python -m building.compiled --whole
	cd build/compiled && COMPILED=1 PYTHONPATH=$(CURDIR)/build/compiled $(abspath $(VENV))/bin/python -m pytest $(WORKERS) \
		-m 'not ($(ELSEWHERE)$(if $(QUICKLY), or slow or kept))' --hypothesis-profile=quick \
		$(if $(QUICKLY),$(addprefix --ignore=tests/,$(INTERPRETED))) $(ARGS)

check: $(VENV)/installed-test  ## Format, lint and types.
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --python-version 3.13 trio_relay  # mypyc has the types of the Python that it runs on

pytest: $(VENV)/installed-test  ## One test, one file or all: make pytest ARGS='tests/nips -k nip42'.
	$(PYTEST) $(ARGS)

format: $(VENV)/installed-test  ## Put the code into its form.
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

docs: $(VENV)/installed  ## Write the pages and the sample file that come from the code.
	$(VENV)/bin/python -m docs.generate

site: $(VENV)/installed-test  ## Make the documentation into build/site, with search; a warning or a dead link is an error.
	$(SPHINX) --builder html . build/site

site-links: $(VENV)/installed-test  ## Try the links of the documentation that lead elsewhere: needs the network.
	$(SPHINX) --builder linkcheck . build/site-links

machines: $(VENV)/installed-test  ## Install on Debian 13, as an image and as a service, on machines made for it: needs root, debootstrap, systemd-container.
	$(PYTEST) --override-ini faulthandler_timeout=0 tests/machines/check_*.py $(ARGS)

screenshots: $(VENV)/installed-test  ## Take the pictures of the documentation again, as the tests go through the pages: needs chromium.
	PICTURES=docs/pictures $(PYTEST) tests/browser $(ARGS)

clients: build/clients/installed  ## Install the client libraries that the tests run against the relay: needs Node, Go.

perf: $(VENV)/installed-perf compiled  ## Measure, beside other relays that are here; a part of it: make perf PERF='--no-peers ingest id'.
	PYTHONPATH=$(CURDIR)/build/compiled $(VENV)/bin/python -m perf --json $(MEASURED).json --picture $(MEASURED).svg $(PERF)
	$(if $(PERF),,$(VENV)/bin/python -m perf micro)

opensearch: $(VENV)/installed  ## Run an OpenSearch for config/opensearch.toml until Ctrl-C; it needs a JDK and Maven.
	@exec $(VENV)/bin/python -m perf.node run

release: $(VENV)/installed-release  ## Build what is released into build/release, twice, and try it: needs Python 3.11 to 3.13 and gcc.
	$(VENV)/bin/python -m building.release $(RELEASE)

$(VENV)/installed: $(SOURCES)
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable . $(COMPILER)
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) --editable '.[test,site]'
	@touch $@

$(VENV)/installed-all: $(VENV)/installed-test
	$(PIP) --editable '.[test,site,perf]'
	@touch $@

$(VENV)/installed-perf: $(VENV)/installed
	$(PIP) --editable '.[perf]'
	@touch $@

$(VENV)/installed-release: $(VENV)/installed
	$(PIP) --editable '.[release]'
	@touch $@

build/clients/installed: $(CLIENTS) $(VENV)/installed-test
	$(VENV)/bin/python -m tests.clients.install  # makes the stamp if nothing is missing

clean:  ## Remove what was installed and built; the relay's data stay.
	rm -rf $(VENV) build *.egg-info trio_relay/nostr/_batch.c trio_relay/nostr/_batch*.so
