# Every target sets itself up: the virtual environment is made when missing and renewed when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

OLDEST := .venv-oldest
RUNTIME := .venv-runtime
DOCS := .venv-docs

.PHONY: demo test test-oldest test-runtime lint docs bench headline gpu-check clean

demo: $(READY)  ## From nothing to a parsed video, in demo-output/
	rm -rf demo-output
	$(BIN)/ce2p demo -o demo-output

test: $(READY)  ## Every test
	$(BIN)/python -m pytest -n auto --dist worksteal

ON_OTHERS := $(addprefix tests/, hostile checkpoints cli data) $(wildcard tests/runtime/test_*.py) \
	$(filter-out tests/runtime/gpu/, $(wildcard tests/runtime/*/)) tests/export/precision $(wildcard tests/export/test_*.py)

# What hangs on other people's packages; damage is drawn less often than in `make test`, whose packages are newer. CI is
# unset here and below: TensorRT's stand-ins are pinned and not installed again, so their tests are skipped, not failed.
test-oldest: $(OLDEST)/ready  ## The same code on the oldest packages that pyproject.toml allows
	CI= $(OLDEST)/bin/python -m pytest -n auto --dist worksteal --fuzz-count 40 --kill-moments 1 $(ON_OTHERS)

WITH_TORCH := $(addprefix tests/runtime/, test_onnx_check.py test_parser.py test_geometry.py backends/test_thread_count.py \
	backends/test_averaging.py)
WITHOUT_TORCH := $(filter-out $(WITH_TORCH), $(wildcard tests/runtime/test_*.py \
	$(patsubst %, tests/runtime/%/test_*.py, base backends measuring media process))) \
	$(addprefix tests/hostile/test_, fuzzed_models.py fuzzed_pictures.py fuzzed_videos.py hostile_models.py) \
	$(addprefix tests/cli/test_, parse_results.py parse_interrupt.py)

# From the wheel, with a copy of the tests, so that nothing is found in the working tree.
test-runtime: $(RUNTIME)/ready $(READY)  ## The installed runtime on the newest packages, without torch
	rm -rf $(RUNTIME)/tree && mkdir $(RUNTIME)/tree && cp -r tests pyproject.toml $(RUNTIME)/tree
	$(RUNTIME)/bin/python -m pip install --quiet --force-reinstall --no-deps .
	$(BIN)/ce2p export lip-r18-os16 --random --family schp --imgsz 97 --overwrite -o $(RUNTIME)/tiny.onnx
	cd $(RUNTIME)/tree && CI= CE2P_TEST_MODEL=$(abspath $(RUNTIME))/tiny.onnx ../bin/python -m pytest -n auto \
		--dist worksteal -o pythonpath=. --fuzz-count 40 $(WITHOUT_TORCH)

lint: $(READY)  ## Style, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The API is read from the sources, so this wants no torch; the commands are written by the command line itself.
docs: $(DOCS)/ready  ## The documentation site, in site/; a dead link or an unknown name fails
	$(DOCS)/bin/typer ce2p.cli.app utils docs --name ce2p --title Commands --output docs/reference/commands.md
	$(DOCS)/bin/zensical build --clean --strict

bench: $(READY)  ## Fused ops, networks and augmentation against their rivals on this machine; tables and JSON in benchmarks/results/
	$(BIN)/python -m benchmarks.bench_ops --json benchmarks/results/ops.json
	$(BIN)/python -m benchmarks.bench_network --models schp:lip-r101-os16:473 schp:lip-r101-os8:473 \
		ssseg:lip-r101-os16:473 ssseg:lip-r50-os16:473 --rounds 11 --json benchmarks/results/network.json
	$(BIN)/python -m benchmarks.bench_augmentation --json benchmarks/results/augmentation.json

headline: $(READY)  ## Every rival, frames and the machine's ceilings in one run; CHECKPOINT=file DATA=folder [CALIB=folder]
	$(if $(and $(CHECKPOINT),$(DATA)),,$(error make headline wants CHECKPOINT=c.safetensors and DATA=a data set or pictures))
	$(BIN)/python -m benchmarks.headline --checkpoint $(CHECKPOINT) --data $(DATA) $(if $(CALIB),--calib $(CALIB)) $(HEADLINE)

# NO_VENV=1 uses the Python at hand, for machines without a package index.
gpu-check: $(if $(NO_VENV),,$(READY))  ## What an NVIDIA GPU on this machine can run; OUT=folder for the JSON and the table
	PYTHONPATH=.:export:runtime$(if $(PYTHONPATH),:$(PYTHONPATH)) $(if $(NO_VENV),$(PYTHON),$(BIN)/python) -m benchmarks.gpu_check --out $(or $(OUT),gpu-check-output)

# The second set stands in for TensorRT's libraries in tests, and is made for Linux on x86-64 alone.
$(READY): pyproject.toml tests/trt_on_cpu/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps --requirement tests/trt_on_cpu/requirements.txt \
		|| echo "The packages that stand in for TensorRT are not made for this machine: tests that need it will be skipped."
	touch $(READY)

$(OLDEST)/ready: pyproject.toml tests/environments/oldest_versions.py
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python tests/environments/oldest_versions.py > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/constraints.txt \
		--editable ".[export,cpu,openvino,people,plots]" pytest pytest-xdist torchmetrics scipy
	touch $(OLDEST)/ready

$(RUNTIME)/ready: pyproject.toml
	$(PYTHON) -m venv $(RUNTIME)
	$(RUNTIME)/bin/python -m pip install --quiet ".[cpu,openvino]" pytest pytest-xdist scikit-image
	touch $(RUNTIME)/ready

$(DOCS)/ready: pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --upgrade pip
	$(DOCS)/bin/python -m pip install --quiet --editable ".[docs]"
	touch $(DOCS)/ready

clean:
	rm -rf $(VENV) $(OLDEST) $(RUNTIME) $(DOCS) docs/reference/commands.md site demo-output gpu-check-output
