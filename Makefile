# Two commands matter: `make demo` and `make test`. Each sets up all that it needs.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.NOTPARALLEL:
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# An exported KUBECONFIG is not meant for the demo: only the one on make's own command line is.
CLUSTER := $(if $(filter command line,$(origin KUBECONFIG)),--kubeconfig $(KUBECONFIG))
unexport KUBECONFIG
export GALLEY_CACHE ?= $(HOME)/.cache/galley

.PHONY: help image image-run images venv demo test test-fast test-image test-k3s bench soak lint lock clean

help:  ## what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

venv: $(STAMP)  ## the virtual environment, from the lock file

$(STAMP): requirements-dev.lock pyproject.toml
	@echo "setting up $(VENV) (expected: 30 s)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Galley needs Python 3.11 or newer; set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(PYTHON) tools/packages.py venv
	@$(PYTHON) -m venv $(VENV) && \
	    $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock && \
	    $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . && \
	    touch $@ && echo "  done in $$SECONDS s"

demo: venv  ## two restaurants on this machine: sets everything up and runs (ARGS=--no-story, KUBECONFIG=, SAMPLES=)
	@$(PYTHON) tools/packages.py demo
	@$(BIN)/python -m tests.site_in_a_box.demo $(CLUSTER) $(ARGS)

test: venv  ## all tiers
	@$(PYTHON) tools/packages.py test
	@$(BIN)/python -m tests.site_in_a_box.kube_build
	@$(BIN)/python tools/tiers.py policy unit contract integration e2e

test-fast: venv  ## what needs no server: about a minute, more on a busy machine
	@$(BIN)/python tools/tiers.py policy unit

test-image: venv  ## the tests of the NUC image, under QEMU and in systemd-nspawn, also the four that `make test` leaves out (root)
	@$(PYTHON) tools/packages.py test
	@$(BIN)/python -m pytest -q --durations=5 tests/e2e/test_image_*.py

test-k3s: venv  ## the contract of `k3s` against a real one, as root on a machine to be used up (K3S=/path/to/k3s)
	@test -x "$(K3S)" || { echo "say where a real k3s is: make test-k3s K3S=/path/to/k3s (k3s-killall.sh beside it)" >&2; exit 1; }
	@K3S=$(K3S) $(BIN)/python tools/tiers.py k3s

bench: venv  ## the tables of the README: ratios against a peer in the same run
	@$(PYTHON) tools/packages.py test
	@$(BIN)/python -m tests.site_in_a_box.kube_build
	@$(BIN)/python -m tests.benchmarks $(ARGS)

images: venv  ## the agents' container image, as an OCI layout in the cache (root)
	@$(PYTHON) tools/packages.py test
	@$(BIN)/python images/containers/build.py

image: venv  ## the bootable disk image of a NUC, with its SBOM (root; KUBE=DIR or K3S=FILE: copied in; VERSION=1.4.0; ARGS=--locked)
	@$(PYTHON) tools/packages.py test
	@$(BIN)/python images/nuc/build.py $(if $(KUBE),--kube $(KUBE)) $(if $(K3S),--k3s $(K3S)) $(if $(VERSION),--version $(VERSION)) $(ARGS)

image-run: venv  ## that image in QEMU, as from a stick onto a blank disk (root; STICK=DIR DISK=FILE TPM=1 KVM=1 PORT=9412, and what `image` takes)
	@$(PYTHON) tools/packages.py test
	@$(BIN)/python -m tests.site_in_a_box.nuc_run $(if $(STICK),--stick "$(STICK)") $(if $(DISK),--disk "$(DISK)") \
	    $(if $(TPM),--tpm) $(if $(KVM),--kvm) $(if $(PORT),--port "$(PORT)") \
	    $(if $(KUBE),--kube $(KUBE)) $(if $(K3S),--k3s $(K3S)) $(if $(VERSION),--version $(VERSION)) $(ARGS)

soak: venv  ## what takes longer than the tests may: kills, a rest watched for growth, a hundred formations amid faults (ARGS="--parts etcd --etcd 20")
	@$(PYTHON) tools/packages.py demo
	@$(BIN)/python -m tests.site_in_a_box.kube_build
	@$(BIN)/python -m tests.soak $(ARGS)

lint: venv  ## ruff, mypy, import-linter
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

lock:  ## writes both lock files anew from pyproject.toml
	$(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv
	build/lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -U -o requirements.lock
	build/lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q --extra dev -c requirements.lock -o requirements-dev.lock

clean:  ## removes the virtual environment and build output (caches outside the repository stay)
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
