# SPDX-License-Identifier: Apache-2.0
.DEFAULT_GOAL := help
SETUP := tests/rig/setup
PYTEST := .venv/bin/pytest
# Booted machines mostly wait: three for two cores, of which one alone starts real vLLM
# (tests/turns.py); together they need less memory than 16 GiB.
MACHINES := --numprocesses=3 --dist=loadfile
# What the demo needs; the tests need more, an arm64 root among it, which takes minutes.
SHOWN := apt venv bookworm vllm models nvml

.PHONY: help setup demo recording pictures test test-unit test-browser test-container test-vllm bench kinds fuzz catalogue deb apt-repo site clean

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 17

setup: ## everything that the rest needs (downloads about 1.5 GB, once)
	@$(SETUP) all

demo: ## the main job from a .deb to a served model, on this machine, in a container
	@$(SETUP) $(SHOWN)
	@tests/rig/demo

test: ## all tests, as CI runs them
	@$(SETUP) venv nvml
	@$(SETUP) all & made=$$!; \
	    $(PYTEST) --numprocesses=logical tests/unit tests/project; passed=$$?; \
	    wait $$made && exit $$passed
	$(PYTEST) $(MACHINES) tests/vllm tests/container tests/gpu tests/browser

test-unit: ## ruff, mypy, layers and unit tests: seconds, no root
	@$(SETUP) venv
	$(PYTEST) --numprocesses=logical tests/unit tests/project

test-container: ## tests on booted Debian machines: minutes, root
	@$(SETUP) venv bookworm trixie podman podman-trixie docker docker-trixie arm64 vllm upgrades-bookworm upgrades-trixie ansible
	$(PYTEST) $(MACHINES) tests/container

test-browser: ## the status page in a real Chromium: half a minute
	@$(SETUP) apt venv
	$(PYTEST) tests/browser

recording: ## docs/demo.md: a run of the demo, as it is shown
	@$(SETUP) $(SHOWN)
	@tests/rig/demo | .venv/bin/python -m tests.rig.recording

pictures: ## README's pictures of the status page, in docs/
	@$(SETUP) apt venv
	.venv/bin/python -m tests.browser.pictures docs readme

test-vllm: ## tests with real vLLM: minutes, root
	@$(SETUP) all
	$(PYTEST) tests/vllm

fuzz: ## every border with made-up input, a minute each (SECONDS=N, SEED=N)
	@$(SETUP) venv nvml
	.venv/bin/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(addprefix --seed ,$(SEED))

bench: ## what the agent costs and how fast it reacts
	@$(SETUP) all peers ray
	$(PYTEST) -s tests/benchmarks
	.venv/bin/python -m tests.benchmarks.starts
	.venv/bin/python -m tests.benchmarks.diagnose
	.venv/bin/python -m tests.benchmarks.nights
	.venv/bin/python -m tests.benchmarks.two_hosts replicas:deaths
	.venv/bin/python -m tests.benchmarks.planner

kinds: ## each kind of model on real vLLM, its proof and its changed answer (half an hour)
	@$(SETUP) apt venv bookworm vllm models kinds
	.venv/bin/python -m tests.benchmarks.kinds

catalogue: ## which texts of vLLM's source the log reader does not place (downloads 500 MB, once)
	@$(SETUP) venv
	.venv/bin/python -m tests.catalogue

deb: ## the Debian package, in dist/
	@$(SETUP) apt
	@packaging/build-deb

apt-repo: ## a signed apt repository of the package, in dist/apt (KEY=FINGERPRINT URL=https://...)
	@$(SETUP) apt
	@packaging/build-apt-repo --key "$(KEY)" --url "$(URL)" "$$(packaging/build-deb)"

site: ## the manual as a static site, in dist/site
	@$(SETUP) apt
	@packaging/build-site

clean: ## removes what was built here; the cache outside the repository stays
	rm -rf .venv build dist debian .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find agent tests -name __pycache__ -type d -prune -exec rm -rf {} +
