# The things to run; each makes .venv from the lock first.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON ?= python3.11

LOOK := .scratch/look

.PHONY: demo look test check doctor torture lock
demo: .venv/installed ## render the synthetic set, run the pipeline on it, print what it measured
	dvc repro
	@python -m reidlib show

look: .venv/installed ## the demo's test pictures as a gallery to search in the browser (or the address, without a display)
	@test -f data/synthetic/model/model.safetensors || { echo "no data/synthetic/model: run 'make demo' first" >&2; exit 1; }
	rm -rf $(LOOK)
	python -m zipfile -e data/synthetic/raw/synthetic.zip $(LOOK)
	python -m reidlib index $(LOOK)/bounding_box_test/0* --gallery $(LOOK)/gallery --model data/synthetic/model/model.safetensors \
		--names '/(?=(?P<tracklet>0*[1-9]\d*_c\ds\d)?)(?P<identity>\d+)_c(?P<camera>\d)s\d_(?P<time>\d+)'
	@echo "pictures to drop on the page: $(LOOK)/query"
	python -m reidlib serve $(LOOK)/gallery --open

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
