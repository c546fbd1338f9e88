# Every target sets up what it needs in .venv, from the pinned and hashed lists in requirements/.
PYTHON ?= python3
PIP := .venv/bin/pip --disable-pip-version-check --quiet

.PHONY: run test test-slow lint bench bench-line bench-bus bench-page size clean cs1 axe docs/trace.md docs/menus.md docs/architecture docs/images

run: .venv/run.stamp
	@.venv/bin/countis run $(ARGS)

test: .venv/dev.stamp
	@.venv/bin/ruff check src tests bench fuzz
	@.venv/bin/mypy
	@.venv/bin/pytest -q

test-slow: .venv/dev.stamp
	@.venv/bin/pytest -q -m slow

lint: .venv/dev.stamp
	@.venv/bin/ruff check src tests bench fuzz
	@.venv/bin/mypy

bench: .venv/bench.stamp
	@.venv/bin/python bench/run.py bench.json

bench-line: .venv/bench.stamp
	@.venv/bin/python -m bench.line $(FILE)

bench-bus: .venv/bench.stamp
	@.venv/bin/python -m bench.bus

bench-page: .venv/dev.stamp
	@.venv/bin/python bench/page.py

# N frames of a seeded generator into the three ports, then atheris with the same entry point; see docs/reliability.md.
.PHONY: fuzz
fuzz: .venv/fuzz.stamp
	@.venv/bin/python -m fuzz.slave $(or $(N),1000000) $(SEED)

# So many cases of every other parser of foreign bytes, and atheris with the same entry point.
.PHONY: fuzz-parsers
fuzz-parsers: .venv/fuzz.stamp
	@.venv/bin/python -m fuzz.parsers $(or $(N),20000) $(SEED)

size: .venv/run.stamp
	@.venv/bin/python tests/size.py

# Records the checksum of the metrological files; a meter whose CS1 is another shows the malfunction sign (decision 28).
cs1: .venv/run.stamp
	@.venv/bin/python -m countis.host.running.firmware

docs/registers.md: .venv/run.stamp src/countis/models/e43_e44_table.py
	@(echo "# The Modbus table"; echo; echo "Made by \`make docs/registers.md\` from \`models/e43_e44_table.py\`."; echo; \
	  .venv/bin/countis map --format md) > $@

docs/trace.md: .venv/dev.stamp
	@.venv/bin/python tests/trace_document.py

docs/menus.md: .venv/dev.stamp
	@.venv/bin/python tests/menus_document.py

docs/architecture: .venv/dev.stamp
	@PYTHONPATH=tests .venv/bin/python tests/drawing.py

docs/images: .venv/dev.stamp
	@PYTHONPATH=tests .venv/bin/python tests/pictures.py

.venv/run.stamp: requirements/run.txt pyproject.toml
	@echo "setting up .venv (once)"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --require-hashes -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements/dev.txt
	@echo "adding the tools of the tests to .venv (once)"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

.venv/fuzz.stamp: .venv/run.stamp requirements/fuzz.txt
	@echo "adding the fuzzer to .venv (once)"
	@$(PIP) install --require-hashes -r requirements/fuzz.txt
	@touch $@

.venv/bench.stamp: .venv/dev.stamp requirements/bench.txt
	@echo "adding the peers of the bench to .venv (once)"
	@$(PIP) install --require-hashes -r requirements/bench.txt
	@touch $@

# axe-core, for the tests of the page; they are skipped by name where it or Chromium is absent.
axe: .venv/axe.stamp

.venv/axe.stamp: .venv/run.stamp tests/web/package-lock.json
	@mkdir -p .venv/web && cp tests/web/package*.json .venv/web && npm ci --prefix .venv/web --no-audit --no-fund --silent
	@touch $@

clean:
	rm -rf .venv build dist src/*.egg-info
