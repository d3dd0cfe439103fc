# The things to run; each makes .venv from the lock first.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON ?= python3.11

.PHONY: demo test check doctor torture lock
demo: .venv/installed ## render the synthetic set, run the pipeline on it, print what it measured
	dvc repro
	@python -m reidlib show

test: .venv/installed ## pass the tests; at least 90 % of the library's lines are run by them
	OMP_NUM_THREADS=1 pytest --cov -n 2 --dist worksteal

check: .venv/installed ## style, types, import order
	ruff check
	ruff format --check
	mypy
	lint-imports

doctor: .venv/installed ## what this machine has, what is missing, what to do
	@python -m reidlib doctor

torture: .venv/installed ## kill and resume training 100 times (about half an hour)
	python -m tests.torture --rounds 100

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.txt > .venv/uv.txt
	python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	uv pip sync --python .venv/bin/python --quiet --compile-bytecode --require-hashes requirements.txt
	python -m reidlib warm
	touch $@

lock: ## make requirements.txt anew from pyproject.toml
	uv pip compile --universal --generate-hashes --group dev --extra pipeline --python-version 3.11 --no-header --no-annotate \
		--quiet --upgrade pyproject.toml -o requirements.txt
