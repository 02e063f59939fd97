# Every target sets itself up: the virtual environment is made when missing and renewed when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test lint bench headline gpu-check clean

demo: $(READY)  ## From nothing to a parsed video, in demo-output/
	rm -rf demo-output
	$(BIN)/ce2p demo -o demo-output

test: $(READY)  ## Every test
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(READY)  ## Style, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)  ## Fused ops, networks and augmentation against their rivals on this machine; tables and JSON in benchmarks/results/
	$(BIN)/python -m benchmarks.bench_ops --json benchmarks/results/ops.json
	$(BIN)/python -m benchmarks.bench_network --models schp:lip-r101-os16:473 schp:lip-r101-os8:473 \
		ssseg:lip-r101-os16:473 ssseg:lip-r50-os16:473 --rounds 11 --json benchmarks/results/network.json
	$(BIN)/python -m benchmarks.bench_augmentation --json benchmarks/results/augmentation.json

headline: $(READY)  ## Every peer, frames and the machine's ceilings in one run; CHECKPOINT=file DATA=folder [CALIB=folder]
	$(if $(and $(CHECKPOINT),$(DATA)),,$(error make headline wants CHECKPOINT=c.safetensors and DATA=a data set or pictures))
	$(BIN)/python -m benchmarks.headline --checkpoint $(CHECKPOINT) --data $(DATA) $(if $(CALIB),--calib $(CALIB)) $(HEADLINE)

# NO_VENV=1 uses the Python at hand, for machines without a package index.
gpu-check: $(if $(NO_VENV),,$(READY))  ## What an NVIDIA GPU on this machine can run; OUT=folder for the JSON and the table
	PYTHONPATH=.:export:runtime $(if $(NO_VENV),$(PYTHON),$(BIN)/python) -m benchmarks.gpu_check --out $(or $(OUT),gpu-check-output)

# The second set stands in for TensorRT's libraries in tests, and is made for Linux on x86-64 alone.
$(READY): pyproject.toml tests/trt_on_cpu/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps --requirement tests/trt_on_cpu/requirements.txt \
		|| echo "The packages that stand in for TensorRT are not made for this machine: tests that need it will be skipped."
	touch $(READY)

clean:
	rm -rf $(VENV) demo-output gpu-check-output
