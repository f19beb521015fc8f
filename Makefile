# Two commands for a fresh machine: `make demo` and `make test`. Each sets up .venv by itself.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo check test test-extras lint audit-dependencies types bench bench-gpu bench-scale bench-readers fuzz docs site train-mini train-anatomy train-judge \
	train-real-judge train-recogniser recogniser judges evaluate-mini prove-audit prove-retrain fidelity realism \
	removal one-way readings clean distill-mini

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

# Six edits of a real radiograph, by mini (demo/edits.png, DICOM, PNG, JSON) and by the painter.
demo: setup
	$(BIN)/python -m examples.demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit -q -c pyproject.toml -r src

# Known holes in the versions of constraints.txt; needs PyPI's own list of them.
audit-dependencies: setup
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r constraints.txt

types: setup
	$(BIN)/mypy

# Two workers, each with one thread; tests of a file stay together, as they share what they made.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Between two edits: under a minute and a half on two processors.
check: lint types
	$(PYTEST) -m "not slow"

# Everything: about a quarter of an hour on two processors. What was skipped is counted at the end, and why.
test: lint types
	$(PYTEST) -rs

# Adapters of libraries that need torchvision, which replaces torch (6 GB, five minutes): tested in
# an environment of their own. DICOM is compared with dcmtk, which is installed where apt-get may.
test-extras:
	which dcmj2pnm || apt-get install -y dcmtk || echo "without dcmtk: its tests are skipped"
	$(PYTHON) -m venv .venv-extras
	.venv-extras/bin/python -m pip install -q -e '.[xrv,c2pa]' pytest hypothesis pydicom-data
	.venv-extras/bin/python -m pytest tests/extras

# The documentation as a site: site/index.html, with an API reference; loads nothing from elsewhere.
site: .venv/site-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/site-ready: .venv/ready
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	touch $@

# Our editor against the stock pipeline, side by side: bench/results.json (about ten minutes).
bench: setup
	$(BIN)/python -m bench.edit

# Generators of the size of Stable Diffusion 1.5 and 2.1 on a GPU against diffusers' pipeline:
# bench/gpu.json (not yet timed). `python -m bench.gpu --proof`: one edit on a processor.
bench-gpu: setup
	$(BIN)/python -m bench.gpu

# What a run costs per item, from 1,000 to 100,000 radiographs: bench/scale.json (half an hour).
bench-scale: setup
	$(BIN)/python -m bench.scale

# A reader study under 50 readers at once, 10,000 hostile requests, and its blinding:
# bench/readers.json (three minutes).
bench-readers: setup
	$(BIN)/python -m bench.readers

# Mutated pictures, documents, tables and answers against every door: bench/fuzz.json (an hour).
SHARE ?= 1
fuzz: setup
	$(BIN)/python -m bench.fuzz --share $(SHARE)

docs: setup
	$(BIN)/python -m tests.cli.help_page > docs/cli.md
	$(BIN)/roentmod study --schema > docs/study.schema.json
	$(BIN)/python -m tests.classifiers.schema > docs/classifiers.schema.json

# DATA names the folder of radiographs with index.csv; RUN keeps checkpoints, and training resumes
# there. Run in this order: each stands on the one before.
RUN ?= runs
REAL ?= bench/judges/real
train-anatomy: setup
	$(BIN)/python -m training.cohort --data $(DATA) --out $(RUN)/mini/cohort
	$(BIN)/python -m training.segmentation --cohort $(RUN)/mini/cohort --out $(RUN)/anatomy --minutes 15
	$(BIN)/python -m training.segmentation --out $(RUN)/anatomy --export

train-judge: setup
	$(BIN)/python -m training.judge --data $(DATA) --out $(RUN)/judge --minutes 16

# NIH names the folder of NIH's own tables, MORE that of jsrt and wingspan. The judge of real labels
# alone, then both judges: bench/real_judge.json, docs/judges.md (five minutes).
train-real-judge: setup
	$(BIN)/python -m training.real_judge --data $(DATA) --nih $(NIH) --out $(RUN)/real_judge \
		--warm-steps 1500 --steps 1000
	$(BIN)/python -m training.real_judge --data $(DATA) --nih $(NIH) --out $(RUN)/real_judge \
		--export $(REAL)

# PAIRS names the table of two visits of a patient each. The network by which `validate` tells
# patients apart, then how well it does: bench/reidentify.json, docs/recogniser.md (a minute).
train-recogniser: setup
	$(BIN)/python -m training.reidentify --data $(DATA) --pairs $(PAIRS) --out $(RUN)/reidentify \
		--minutes 40 --export

recogniser: setup
	$(BIN)/python -m bench.reidentify --data $(DATA) --pairs $(PAIRS)

judges: setup
	$(BIN)/python -m bench.real_judge --data $(DATA) --nih $(NIH) --more $(MORE) \
		--judge $(REAL) --run $(RUN)/judges

train-mini: setup
	$(BIN)/python -m training.cohort --data $(DATA) --out $(RUN)/mini/cohort
	$(BIN)/python -m training.painted --cohort $(RUN)/mini/cohort --out $(RUN)/mini
	$(BIN)/python -m training.autoencoder --cohort $(RUN)/mini/cohort --out $(RUN)/mini --minutes 60
	$(BIN)/python -m training.unet --cohort $(RUN)/mini/cohort --out $(RUN)/mini --minutes 180
	$(BIN)/python -m training.export --run $(RUN)/mini
	$(BIN)/python -m training.severity --data $(DATA)

# One pass for two and half the steps, taught by the bundled generator; then calibrated (an hour).
distill-mini: setup
	$(BIN)/python -m training.cohort --data $(DATA) --out $(RUN)/mini/cohort
	$(BIN)/python -m training.painted --cohort $(RUN)/mini/cohort --out $(RUN)/mini --hosts 450
	$(BIN)/python -m training.distill --cohort $(RUN)/mini/cohort --run $(RUN)/mini \
		--out $(RUN)/guided --steps 800
	$(BIN)/python -m training.distill --cohort $(RUN)/mini/cohort --run $(RUN)/mini \
		--begin $(RUN)/guided --out $(RUN)/few --few 8 --steps 1000 --minutes 60
	$(BIN)/python -m training.distill --out $(RUN)/few --few 8 --export $(RUN)/student

# The bundled generator on radiographs it never saw: bench/mini.json, docs/mini.md (ten minutes;
# goes on where it stopped). REAL names the folder of the judge of real labels alone.
evaluate-mini: setup
	$(BIN)/python -m training.evaluate --data $(DATA) --real-judge $(REAL) --run $(RUN)/evaluate

# Do edits pass for real findings? bench/realism.json, docs/realism.md (ten minutes; goes on where
# it stopped).
realism: setup
	$(BIN)/python -m bench.realism --data $(DATA) --nih $(NIH) --real-judge $(REAL) --run $(RUN)/judges

# Does the audit find planted shortcuts? bench/audit_truth.json, docs/audit.md (an hour; phantoms
# without DATA; goes on where it stopped). NIH and MORE add grafts of real findings.
prove-audit: setup
	$(BIN)/python -m bench.audit_truth $(if $(DATA),--data $(DATA)) $(if $(NIH),--nih $(NIH)) \
		$(if $(MORE),--more $(MORE)) --real-judge $(REAL) --run $(RUN)/audit

# Does retraining correct planted shortcuts? bench/retrain.json, docs/results.md (about ten hours;
# goes on where it stopped).
prove-retrain: setup
	$(BIN)/python -m bench.retrain --data $(DATA) --run $(RUN)/retrain

# How faithful are the bundled editors? bench/fidelity.json, docs/fidelity.md (a quarter of an hour).
fidelity: setup
	$(BIN)/python -m bench.fidelity --data $(DATA) --run $(RUN)/fidelity --second-judge judge:$(REAL)

# Are real findings removed? bench/removal.json, docs/removal.md, the profile of mini (ten minutes;
# goes on where it stopped). PAIRS adds what judges say where a finding really went.
removal: setup
	$(BIN)/python -m bench.removal --data $(DATA) --real-judge $(REAL) --run $(RUN)/removal \
		$(if $(PAIRS),--pairs $(PAIRS))

# What does composite one-way change? bench/one_way.json, docs/composite.md (ten minutes).
one-way: setup
	$(BIN)/python -m bench.one_way --data $(DATA) --real-judge $(REAL)

# Do intervals of reader studies hold the truth? bench/readings.json (five minutes).
readings: setup
	$(BIN)/python -m bench.readings

clean:
	rm -rf .venv .venv-extras demo site
