# make demo, make test, make gpu-test, make lint, make site, make figures, make clean. To set: PYTHON=python3.12,
# VENV=folder, DEMO_ARGS="-o folder --epochs 3", PYTEST_ARGS="-k gate". The package is installed anew whenever a source has changed.

PYTHON ?= python3
VENV ?= .venv
# three at once on two cores, since some tests wait; files in the order of tests/conftest.py, the longest first
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder
BIN := $(VENV)/bin
SOURCES := setup.py setup.cfg pyproject.toml README.md $(shell find nnunet_prosma trainers architectures -name '*.py')

.PHONY: demo test gpu-test lint site figures clean

demo: $(VENV)/installed
	$(BIN)/nnunet-prosma demo $(DEMO_ARGS)

test: $(VENV)/installed-test
	$(BIN)/pytest $(PYTEST_ARGS)

# writes gpu-test.md; says so and ends where there is no GPU
gpu-test: $(VENV)/installed
	$(BIN)/python benchmarks/gpu_test.py

# mypy runs in the folder of the environment, where it sees the installed package: here it would miss the mapped folders
lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	checkout="$$PWD" && cd $(VENV) && bin/mypy --config-file "$$checkout/pyproject.toml" -p nnunet_prosma

# warnings are errors; the pages are then in build/site
site: $(VENV)/installed-test
	$(BIN)/mkdocs build --strict --quiet

# trains the demo first unless there is one in nnunet_prosma_demo/; chromium takes the pictures of pages
figures: $(VENV)/installed-test
	$(BIN)/python docs/figures/make.py

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	test ! -e $(VENV)/made-by-make || rm -rf $(VENV)

$(VENV)/made-by-make:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "nnunet-prosma needs Python 3.10 or newer, \
	and $(PYTHON) is %d.%d; name another: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: EXTRA =
$(VENV)/installed-test: EXTRA = [test]
$(VENV)/installed $(VENV)/installed-test: $(VENV)/made-by-make $(SOURCES)
	@test -e $(VENV)/installed -o -e $(VENV)/installed-test || echo "Installing nnU-Net and PyTorch into $(VENV):" \
	"some minutes without a further line; on Linux 7 GB with the CUDA packages."
	@rm -rf build *.egg-info
	$(BIN)/pip install --quiet --disable-pip-version-check ".$(EXTRA)"
	@rm -rf build *.egg-info
	@touch $@
