# Groundtrack. `make` lists what it can do.
SHELL := /bin/bash
PROFILE ?= dev
PROFILE_DIR := $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET_DIR)/$(PROFILE_DIR)
WEB := groundstation/web
# Empty where there are no recordings: vectors that are told of and not there fail their tests.
export GROUNDTRACK_DATA ?= $(realpath ../shared/data)

.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-long bench ci

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## put in place what cargo alone does not: ONNX Runtime and the front end
	@tools/check-tools
	@tools/fetch-onnxruntime $(TARGET_DIR)/debug $(TARGET_DIR)/release
	@tools/build-web

build: setup ## build the front end and the three binaries (PROFILE=release for the optimised ones)
	cargo build --locked --profile $(PROFILE) --bins

demo: build ## fly one pass, sensor to insight, with the page on loopback (ARGS="--headless --seconds 30 --json")
	@$(BIN)/orbitsim demo $(ARGS)

test: setup ## run every test
	cargo nextest run --locked --workspace
	@tools/skipped-tests

test-long: setup ## run the long campaigns: recordings through the whole path, a real MLServer, the flight image
	tools/test-long

bench: ## run the benchmarks
	cargo bench --locked --workspace

ci: ## run what CI runs
	.ci/run
