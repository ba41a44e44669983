# Disagg Operator. `make help` lists the commands; each one brings what it needs.
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
TYPED := operator/src images/worker/src images/trtllm/src hack/settling.py hack/monitoring hack/releasing hack/site tests
LOCKED := uv.lock pyproject.toml operator/pyproject.toml images/worker/pyproject.toml tests/cluster/pyproject.toml
READY := $(VENV)/.ready
PYTEST := $(BIN)/pytest
FAST := tests/unit tests/golden tests/property tests/chart tests/upgrade tests/docs tests/release
NEEDS_CLUSTER := apiserver or cluster
LAUNCH := tests/e2e/launch
ON_MACHINES := tests/integration/platforms/test_examples.py
FAULTS := $(addprefix tests/integration/faults/test_,$(addsuffix .py,api_trouble watch_gaps random_faults))
ON_APISERVER := tests/chart/test_chart_on_apiserver.py::test_the
OLDEST := tests/integration/operator/test_operator_examples.py tests/integration/operator/test_webhook_process.py \
  tests/integration/api/test_wrong_resources.py $(ON_APISERVER)_administrator_of_one_namespace_can_install \
  $(ON_APISERVER)_api_server_accepts_every_manifest_in_a_restricted_namespace
# The tests of a file share what takes long to start, so they stay together and in their order.
PARALLEL := --dist loadfile --no-loadscope-reorder --numprocesses
# What tests and benchmarks start by the hundred is compiled once, whatever Python is told to keep.
unexport PYTHONDONTWRITEBYTECODE
# Recipes that set variables `exec` what they run, so that a make that is ended ends it with itself.
# Evaluated when a recipe first uses it, never by `make help`.
UV = $(eval UV := $(shell hack/bootstrap --uv-only))$(UV)
SITE_BIN := .venv-docs/bin
SITE_PACKAGES = UV_PROJECT_ENVIRONMENT=.venv-docs $(UV) sync --locked --only-group site --quiet
CLUSTER_TOOL = UV=$(UV) $(BIN)/testcluster

.PHONY: help
help: ## List the commands.
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  %-21s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it
.PHONY: demo demo-down
demo: $(READY) ## A cluster, the images, the chart, a deployment, and an answered chat request.
	@$(CLUSTER_TOOL) demo

demo-down: $(READY) ## Remove the demo and its cluster.
	@$(CLUSTER_TOOL) demo --remove

##@ Work on it
.PHONY: setup fmt lint typecheck crds update-golden released-chart render docs docs-serve
setup: ## Install uv if it is missing, and the locked Python packages.
	@hack/bootstrap >/dev/null && touch $(READY)
	@echo 'Next: export PATH="$(abspath $(BIN)):$$PATH" (kubectl-disagg and the tools), or make demo, make help.'

fmt: $(READY) ## Format the code and fix what the linter can.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: $(READY) ## Check format, lint and import rules.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@PYTHONPATH=images/trtllm/src $(BIN)/lint-imports

typecheck: $(READY) ## Check types, strictly.
	@$(BIN)/mypy $(TYPED)

crds: $(READY) ## Write what is made from models, rules, profiles and metrics: CRDs, schema of values, dashboards, pages and tables of the docs.
	@$(BIN)/python -m disagg_operator.api.crd
	@$(BIN)/python -m disagg_operator.plan.rules
	@$(BIN)/python -m disagg_operator.platforms
	@PYTHONPATH=hack $(BIN)/python -m releasing.support
	@PYTHONPATH=hack $(BIN)/python -m releasing.hub
	@PYTHONPATH=hack $(BIN)/python tests/chart/values_table.py
	@PYTHONPATH=hack $(BIN)/python -m monitoring

update-golden: $(READY) ## Write the golden manifests anew; review them as a diff.
	@UV=$(UV) UPDATE_GOLDEN=1 exec $(PYTEST) tests/golden tests/chart -m "not ($(NEEDS_CLUSTER))" -q

released-chart: $(READY) ## Store what this version makes of deployments in tests/upgrade/released/NAME=…; done with each release.
	@PYTHONPATH=tests exec $(BIN)/python -m upgrade.store "$(NAME)"

render: $(READY) ## Print the manifests of the first example, without any cluster.
	@for file in examples/01-quickstart/*.yaml; do $(BIN)/kubectl-disagg render -f "$$file" || exit 1; done

docs: ## Build the site of docs/ into SITE=build/site, strictly: no link or anchor of it leads nowhere.
	@$(SITE_PACKAGES)
	@NO_MKDOCS_2_WARNING=1 $(SITE_BIN)/mkdocs build --strict --quiet --site-dir $(abspath $(or $(SITE),build/site))

docs-serve: ## Show the site at http://127.0.0.1:8000, as you write.
	@$(SITE_PACKAGES)
	@NO_MKDOCS_2_WARNING=1 $(SITE_BIN)/mkdocs serve --strict --livereload --dev-addr $(or $(ADDRESS),127.0.0.1:8000)

##@ Test it
.PHONY: checks generated test test-unit test-golden test-property test-chart test-integration test-examples test-oldest test-generated test-crash-points test-faults test-e2e test-gpu bench-engine bench-serving bench-agent bench-operator bench-check bench-operator-start bench-gpu-transport bench-kv bench-verification bench-local-prefill soak dashboard-pictures
checks: lint typecheck generated ## Everything that needs no cluster.
	@hack/bootstrap --compiler
	@$(CLUSTER_TOOL) tools >/dev/null
	@UV=$(UV) exec $(PYTEST) $(FAST) -m "not ($(NEEDS_CLUSTER))" $(PARALLEL) auto --maxprocesses 4

generated: $(READY) # The generated files are what the models say.
	@$(BIN)/python -m disagg_operator.api.crd --check
	@$(BIN)/python -m disagg_operator.plan.rules --check
	@$(BIN)/python -m disagg_operator.platforms --check
	@PYTHONPATH=hack $(BIN)/python -m releasing.support --check
	@PYTHONPATH=hack $(BIN)/python -m releasing.hub --check
	@PYTHONPATH=hack $(BIN)/python tests/chart/values_table.py --check
	@PYTHONPATH=hack $(BIN)/python -m monitoring --check

test: ## Everything, by real parts: checks, a real API server, a whole cluster.
	@hack/test-all

test-unit: $(READY) ## Unit tests.
	@hack/bootstrap --compiler
	@UV=$(UV) exec $(PYTEST) tests/unit -m "not ($(NEEDS_CLUSTER))"

test-golden: $(READY) ## Golden manifests of the examples.
	@$(PYTEST) tests/golden

test-property: $(READY) ## Property tests.
	@$(PYTEST) tests/property

test-chart: $(READY) ## Tests of the Helm chart.
	@UV=$(UV) exec $(PYTEST) tests/chart

test-integration: $(READY) ## Tests of single parts by real ones: API server, NIXL, ssh and mpirun.
	@hack/bootstrap --compiler
	@UV=$(UV) exec $(PYTEST) tests/integration tests/generated tests/chart/test_chart_on_apiserver.py $(LAUNCH) --ignore $(ON_MACHINES) $(PARALLEL) 3

test-examples: $(READY) ## Every example on the simulated machines that its README asks for, by the real scheduler: minutes.
	@hack/bootstrap --compiler
	@UV=$(UV) exec $(PYTEST) $(ON_MACHINES)

test-oldest: $(READY) ## Definitions, refusals, chart, webhook and examples by the oldest Kubernetes, which is compiled once.
	@UV=$(UV) KUBERNETES=oldest exec $(PYTEST) $(OLDEST)

test-generated: $(READY) ## Generated resources, judged by all alike: SEED=1 COUNT=250 FIRST=0.
	@UV=$(UV) SEED=$(SEED) COUNT=$(COUNT) FIRST=$(FIRST) exec $(PYTEST) -s tests/generated

test-crash-points: $(READY) ## The operator killed before and after every API call; ARGS="--scenario NAME", "--help".
	@UV=$(UV) PYTHONPATH=tests exec $(BIN)/python -m integration.faults.crash.main $(ARGS)

test-faults: $(READY) ## All troubles, and random faults, between the operator and a real API server: SEED=… ROUNDS=20.
	@seed=$${SEED:-$$(date +%s)}; echo "SEED=$$seed"; \
	  UV=$(UV) RECOVERY=30 TROUBLES=all SEED=$$seed ROUNDS=$${ROUNDS:-20} $(PYTEST) -s $(FAULTS)

test-e2e: $(READY) ## Tests on the whole cluster.
	@UV=$(UV) exec $(PYTEST) tests/e2e --ignore $(LAUNCH)

soak: $(READY) ## Churn for MINUTES=20 by SEED=1: nothing may leak; DEPLOYMENTS=80, RATE=2 a second, OUT= folder of the report.
	@hack/bootstrap --compiler
	@UV=$(UV) PYTHONPATH=tests exec $(BIN)/python -m soak

test-gpu: $(READY) ## The reference engine on PyTorch, DEVICE=cuda or cpu; installs PyTorch into .venv-gpu (some GB).
	@UV_PROJECT_ENVIRONMENT=.venv-gpu $(UV) sync --locked --all-packages --extra cuda --quiet
	@DISAGG_TEST_DEVICE=$(or $(DEVICE),cuda) .venv-gpu/bin/pytest -s tests/gpu

bench-engine: $(READY) ## Speed of the reference engine, as ratios in one run; KV reads between pods.
	@UV=$(UV) exec $(BIN)/python tests/bench/bench_engine.py

bench-serving: $(READY) ## Disaggregated against aggregated serving on two GPUs: ARGS="--rates 2,8"; installs PyTorch into .venv-gpu.
	@UV_PROJECT_ENVIRONMENT=.venv-gpu $(UV) sync --locked --all-packages --extra cuda --quiet
	@.venv-gpu/bin/python tests/bench/bench_serving.py $(ARGS)

bench-agent: $(READY) ## Memory, idle CPU and the cost of one answer of the transport agent.
	@$(BIN)/python tests/bench/bench_agent.py

bench-operator: $(READY) ## The operator beside bare StatefulSets, by simulated pods: PARTS=create,… PROFILE=file; docs/performance.md.
	@UV=$(UV) exec $(BIN)/python tests/bench/bench_operator.py

bench-check: $(READY) ## The same with small shapes and wide bounds, which a regression exceeds.
	@UV=$(UV) exec $(BIN)/python tests/bench/bench_operator.py --check

bench-operator-start: $(READY) ## Start of the operator in its pod, and the size of its image; needs the demo's cluster.
	@UV=$(UV) exec $(BIN)/python tests/bench/bench_operator_start.py

dashboard-pictures: $(READY) ## Draw the dashboards of the demo's deployment into docs/images, while it is asked: ARGS="--minutes 5".
	@UV=$(UV) PYTHONPATH=tests:hack exec $(BIN)/python -m e2e.dashboard_pictures $(ARGS)

bench-gpu-transport: $(READY) ## Evidence of KV reads between two GPUs; needs two, torch, nixl and root.
	@PYTHONPATH=tests exec $(BIN)/python tests/bench/bench_gpu_transport.py

bench-kv: $(READY) ## KV cache of real layouts between two GPUs, or two processes without them: ARGS="--part models"; docs/kv-transfer.md.
	@$(BIN)/python tests/bench/bench_kv.py $(ARGS)

bench-verification: $(READY) ## What agents and canaries cost the throughput of the reference engine, in one run.
	@$(BIN)/python tests/bench/bench_verification.py

bench-local-prefill: $(READY) ## Prompts computed by decode against those whose KV cache is transferred, and where both cost the same.
	@$(BIN)/python tests/bench/bench_local_prefill.py

##@ Release
.PHONY: release set-version
release: $(READY) ## Make what a release consists of in dist/: REPOSITORY_URL=https://…, IMAGE_REGISTRY=…, SNAPSHOT=1 with changes; docs/releases.md.
	@UV=$(UV) PYTHONPATH=hack $(BIN)/python -m releasing $(if $(SNAPSHOT),--snapshot) $(ARGS)

set-version: $(READY) ## Write another version into all places that name it: NAME=0.2.0.
	@UV=$(UV) PYTHONPATH=hack $(BIN)/python -m releasing --set-version "$(NAME)"

##@ Cluster and images
.PHONY: cluster-up cluster-down cluster-status images sbom audit image-trtllm clean-cache
cluster-up: $(READY) ## Bring the test cluster up with the images; CLUSTER=kind|local|existing chooses.
	@$(CLUSTER_TOOL) up

cluster-down: $(READY) ## Remove the test cluster; build outputs are kept.
	@$(CLUSTER_TOOL) down

cluster-status: $(READY) ## Show the test cluster's parts.
	@$(CLUSTER_TOOL) status

images: $(READY) ## Build the images, load them if the cluster is up, and print their names.
	@$(CLUSTER_TOOL) images

sbom: ## Write what the images hold, with hashes, into build/sbom (CycloneDX).
	@hack/sbom

audit: ## Look the images' Python packages up in PyPI's database of advisories.
	@hack/audit

image-trtllm: $(READY) ## Make or name a TensorRT-LLM image: ERA=… ARCH=… DYNAMO=… TAG=… DRY_RUN=1; images/trtllm.
	@PYTHONPATH=images/trtllm/src exec $(BIN)/python -m source_images build

clean-cache: $(READY) ## Remove all build outputs.
	@$(CLUSTER_TOOL) clean-cache

$(READY): $(LOCKED) hack/bootstrap
	@hack/bootstrap >/dev/null && touch $@
