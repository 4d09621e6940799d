# loupe: `make demo` shows it at work, `make test` proves it, `make install` puts it under PREFIX.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PREFIX ?= $(HOME)/.local
CARGO ?= cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)
BIN = $(TARGET)/release/loupe
DEMO ?= $(TARGET)/demo
PLUGINS = clip prompts scorers fusion madff

.PHONY: demo test build setup install lint

# What the program is, and its plugins beside it; tests are built by `make test` in the same profile.
build: setup
	$(CARGO) build --release --locked --workspace

# Installs what is missing and can be installed; else says the one line that does it.
setup:
	@scripts/setup

demo: SECONDS_BEFORE := $(shell date +%s)
demo: build
	@scripts/demo $(BIN) $(DEMO) $(SECONDS_BEFORE)

test: setup
	$(CARGO) build --release --locked --workspace --all-targets
	$(CARGO) test --release --locked --workspace --no-fail-fast

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

install: build
	install -d $(PREFIX)/bin $(PREFIX)/lib/loupe
	install $(BIN) $(PREFIX)/bin/loupe
	install -m 644 $(foreach plugin,$(PLUGINS),$(TARGET)/release/libloupe_$(plugin).so) $(PREFIX)/lib/loupe/
	@echo "installed $(PREFIX)/bin/loupe and $(words $(PLUGINS)) plugins in $(PREFIX)/lib/loupe"
