# Everything works in .venv at the repository's root.
SHELL := bash
.DEFAULT_GOAL := help
python := .venv/bin/python
# What `make install` installs, each in editable mode.
MEMBERS ?= .[sandbox,evaluation,smolagents,tracing,dev] services/executor[docker] services/generator[cpu] services/trainer

# uv does not read pip's configuration: hand it the folder with wheels where pip has one, and let it look for the CPU
# build of torch where there is none.
find_links := $(or $(PIP_FIND_LINKS),$(shell python3 -m pip config get global.find-links 2>/dev/null))
uv := UV_FIND_LINKS="$(find_links)" .venv/bin/uv pip install --quiet $(if $(find_links),,--torch-backend cpu)

# Of the four-way table: 16 samples of each, in each of the four ways.
DEMO_PROBLEMS ?= 20

# `host`, because not every engine has a network of its own and package mirrors may be on this machine.
PYTHON_IMAGE ?= $(or $(DEEPMATH_PYTHON_IMAGE),python:3.11-slim-bookworm)
IMAGES ?= executor generator trainer
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
EXECUTOR_IMAGE ?= deepmath-executor
GENERATOR_IMAGE ?= deepmath-generator
TRAINER_IMAGE ?= deepmath-trainer
BUILD_NETWORK ?= host
# More for `docker build`, such as --build-arg EXTRA=generator
BUILD_OPTIONS ?=

.PHONY: help install images image-executor image-generator image-trainer run test lint protos released-protos tiny-model bench soak
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: .venv/.installed ## everything into .venv; nothing if it is there

.venv/.installed: pyproject.toml $(wildcard services/*/pyproject.toml)
	@test -x $(python) || python3 -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	@echo 'installing into .venv: $(MEMBERS)'
	@$(uv) --compile-bytecode $(MEMBERS:%=--editable '%')
	@touch $@

protos: install ## the stubs from the contracts
	@$(python) tools/generate_stubs.py

released-protos: install ## what `buf breaking` compares with: only when a version is released
	@.venv/bin/buf build -o protos/released.binpb

run: install ## start the real stack, solve a dozen problems live, teach the model, and make the seeds' table of it
	@mkdir -p runs/demo
	@# Families come in turn: every eleventh gives a dozen from all subjects.
	@.venv/bin/deepmath problems --count 132 --split test --seed 8 | awk 'NR % 11 == 1' > runs/demo/problems.jsonl
	@.venv/bin/deepmath solve --file runs/demo/problems.jsonl --trace --seed 1
	@name=tiny-math-$$(date +%Y%m%d-%H%M%S) && run=runs/$$name && \
	.venv/bin/deepmath train --config tiny-math --name $$name && \
	.venv/bin/deepmath eval --table four-way --adapter $$run/adapter --limit $(DEMO_PROBLEMS) --max-tokens 512 --output $$run/four-way && \
	.venv/bin/deepmath report $$run/four-way

images: $(IMAGES:%=image-%) ## build the services' images, or those that IMAGES names; PYTHON_IMAGE and BUILD_NETWORK say from what, and how

# Each gets its version as a tag, which the manifests ask for, and the plain name.
image-executor: name = $(EXECUTOR_IMAGE)
image-generator: name = $(GENERATOR_IMAGE)
image-trainer: name = $(TRAINER_IMAGE)
image-generator image-trainer: build/wheels
image-executor image-generator image-trainer: image-%:
	@docker build --quiet --network $(BUILD_NETWORK) --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$(shell git rev-parse --short HEAD 2>/dev/null || echo unknown) \
		$(if $(and $(find_links),$(filter-out executor,$*)),--build-arg UV_OPTIONS=) $(BUILD_OPTIONS) \
		--tag $(name) --file services/$*/Dockerfile .
	@$(if $(findstring :,$(name)),,docker tag $(name) $(name):$(VERSION))

# PyTorch's build without CUDA, where pip has a folder with it: a build sees nothing of this machine but its context.
build/wheels: $(wildcard $(find_links)/torch-*+cpu-*.whl)
	@mkdir -p $@
	@$(if $^,cp --update $^ $@)
	@touch $@

test: install ## every test, on the real stack
	@$(python) -m pytest

lint: install ## ruff, mypy, buf
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@PATH=".venv/bin:$$PATH" buf lint
	@PATH=".venv/bin:$$PATH" buf format --diff --exit-code

tiny-model: install ## train the embedded model again, score it, write its card (up to 45 minutes on two cores)
	@$(python) models/tiny-math/build

bench: install ## measure, and write benchmarks/results/ (an hour and a half on two cores)
	@$(uv) --editable '.[bench]'
	@$(python) -m benchmarks.agent_loop
	@$(python) -m benchmarks.executor --image $(EXECUTOR_IMAGE)
	@$(python) -m benchmarks.calls
	@$(python) -m benchmarks.training --quick
	@$(python) -m benchmarks.lora_cpu
	@$(python) -m benchmarks.evaluation
	@$(python) -m benchmarks.capacity
	@$(python) -m benchmarks.smolagents_executors

soak: install ## 20 000 sessions through one executor: does anything pile up? (15 minutes)
	@$(python) -m benchmarks.soak
