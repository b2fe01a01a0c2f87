# Two commands do all the set-up: `make demo` and `make test`.
.PHONY: demo test test-all setup lint bench sanitize wheel clean

PY := .venv/bin/python
export PATH := $(PATH):$(CURDIR)/.venv/bin

demo: setup            ## the server with two simulated phones; prints the URL and a QR code
	@$(PY) -m benchmarks.demo --prepare
	.venv/bin/commonground serve --demo

test: setup-test       ## every test but the slow and GPU ones
	$(PY) -m pytest
	npm test --prefix clients/web --silent

test-all: setup-test   ## the slow ones too (kill -9 loops, long clips, second WebRTC stack)
	$(PY) -m pytest -m "not gpu"
	npm test --prefix clients/web --silent

setup:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh test

lint: setup-test       ## format, lint, types, layers
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: setup-test      ## the benchmarks behind the README's tables, as JSON
	$(PY) scripts/bench.py

sanitize: setup-test   ## the native modules under address and undefined-behaviour sanitizers
	scripts/sanitize.sh

wheel: setup           ## a self-contained wheel in dist/
	scripts/wheel.sh

clean:
	rm -rf .venv build dist clients/web/dist clients/web/node_modules clients/engines/web/dist clients/engines/web/node_modules
