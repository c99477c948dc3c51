# Two commands are enough: `make study` and `make test`.
PYTHON ?= python3
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
PARAMS ?= params/lab-quick.yaml
BIN := .venv/bin
READY := .venv/ready
# One thread per process: the processes are as many as the cores.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help install study test sync validate constraints clean

help:
	@echo 'make study        install, run $(PARAMS) (PARAMS=… for another) and print its answer'
	@echo 'make test         install, and run every test'
	@echo 'make install      make .venv with the versions of constraints.txt'
	@echo 'make sync         after editing notebooks: write xlt/ and README.md from them, and clean them'
	@echo 'make constraints  write constraints.txt from .venv, after a deliberate upgrade'
	@echo 'make validate     simulate 1,000 studies a point: is the method calibrated? (20 minutes)'
	@echo 'make clean        remove what runs have left (not the reports)'

install: $(READY)

# Made anew only when what it depends on has changed; interrupted, it is simply repeated.
$(READY): constraints.txt settings.ini setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'xlt needs Python 3.11 or newer: make PYTHON=/path/to/python3'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

study: install
	@$(BIN)/xlt run $(PARAMS) --cores $(CORES)

test: install
	$(BIN)/nbdev_test --n_workers $(CORES)
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder --durations 10

sync: install
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean
	$(BIN)/jupyter nbconvert --to markdown --no-input --log-level WARN --output-dir . --output README nbs/index.ipynb
	sed -i.old 's#\.\./reports/#reports/#g' README.md && rm README.md.old

constraints:
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools | sed 's/+.*//' > constraints.txt

clean:
	rm -rf runs .snakemake .pytest_cache .hypothesis build *.egg-info

validate: install
	XLT_FULL=1 $(BIN)/jupyter nbconvert --to notebook --execute --inplace nbs/explanations/validation.ipynb
	$(BIN)/nbdev_clean --fname nbs/explanations/validation.ipynb
