# Each target is one line over the real command. VENV names another virtual environment, PYTHON another Python 3.11.
VENV ?= .venv
PYTHON ?= python3.11
SPECIAL := : ; ' " ` & | < > ( ) * ? [ ] \ %
$(foreach sign,$(SPECIAL),$(if $(findstring $(sign),$(VENV)),$(error VENV = $(VENV) has a $(sign), which make or the shell takes for its own: name another folder)))
export PATH := $(if $(filter /%,$(firstword $(VENV))),,$(CURDIR)/)$(VENV)/bin:$(PATH)
empty :=
override VENV := $(subst $(empty) $(empty),\ ,$(VENV))# a space as make and the shell both take it, in targets and commands

HIDDEN_COLUMNS = Created|Executor|data/|models/|src/|.*(_corpus|repetition_.|diversity|memorization|words|distinct|mauve_valid|mauve_lm_.*|verbatim_train|empty|train_loss)$$|.*by_label.*|train_t.*|baseline.*

# As many tests at once as there are cores.
PYTEST = pytest -n logical --maxprocesses 8 --dist worksteal

.PHONY: run text export test quick-tests test-all lint show table study compare test-report frontier bench fetch doctor clean-resume clean identity

run: $(VENV)/.installed identity  ## the experiment that params.yaml describes
	@python src/lab.py doctor --before-run
	dvc exp run

text: $(VENV)/.installed  ## FILE=my.txt, or a .csv or .jsonl with its columns (TEXT=, LABEL=): texts of your own for the next run, params.yaml fitted to them
	python src/lab.py text $(if $(FILE),'$(FILE)') $(if $(TEXT),--text '$(TEXT)') $(if $(LABEL),--label '$(LABEL)') $(if $(REPLACE),--replace)

export: $(VENV)/.installed  ## OUT=folder: the trained model with its card, for other programs and for the Hugging Face hub
	python src/lab.py export $(if $(OUT),'$(OUT)')

test: $(VENV)/.installed-dev  ## what CI runs: lint and quick tests side by side, in about eight minutes on two cores
	$(MAKE) --jobs=2 --output-sync=target lint quick-tests

quick-tests: $(VENV)/.installed-dev
	$(PYTEST) -m 'not slow'

test-all: $(VENV)/.installed-dev lint  ## all tests, each command of theirs started anew as a user starts it; half an hour
	$(PYTEST) --cold --cov

lint: $(VENV)/.installed-dev
	ruff check && ruff format --check && mypy

show: $(VENV)/.installed  ## experiments side by side: what varied, and how the samples came out
	dvc exp show --only-changed --precision 4 --drop '$(HIDDEN_COLUMNS)'

table: $(VENV)/.installed  ## finished experiments, baseline, real texts, control and ceiling in one table, with intervals
	python src/lab.py table

study: $(VENV)/.installed identity  ## STUDY=file: all its experiments, here (WORKERS=, MINUTES=) or on Slurm (SLURM=clusters/...); the same command goes on
	python src/lab.py study $(or $(STUDY),studies/restaurants.yaml) $(if $(WORKERS),--workers $(WORKERS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SLURM),--slurm $(SLURM))

compare: $(VENV)/.installed  ## does annealing help? finished experiments (PREFIX=, FOLDERS=) over seeds -> plots/comparison/report.html
	python src/lab.py compare $(if $(PREFIX),--prefix $(PREFIX)) $(if $(FOLDERS),--folders $(FOLDERS))

test-report: $(VENV)/.installed  ## EXP=name: that experiment on the test split, once, five sampling seeds -> metrics/test/name.json
	python src/lab.py test-report $(if $(EXP),--experiment '$(EXP)')

frontier: $(VENV)/.installed  ## the model of the workspace at other sampling steps, eta and decoding strategies
	python src/lab.py frontier

bench: $(VENV)/.installed  ## how fast training, sampling, decoding and evaluation are, and what each saving brings -> metrics/bench.json
	python src/lab.py bench

fetch: $(VENV)/.installed  ## models and corpora that params.yaml names, ahead of a run without internet
	dvc repro fetch_corpus fetch_pretrained fetch_judges

doctor: $(VENV)/.installed  ## what could go wrong in the next run
	python src/lab.py doctor

clean-resume: $(VENV)/.installed  ## list interrupted trainings, remove stale ones: older than DAYS (14), or of other code
	python src/lab.py clean-resume $(if $(DAYS),--days $(DAYS))

clean:  ## state of interrupted trainings, half-written outputs, drawn plots; while nothing runs
	rm -rf .resume .frontier dvc_plots
	find data models metrics plots -name '.*.partial' -prune -exec rm -rf {} +

# DVC keeps experiments as git commits, so git needs a name; where it has none at all, this clone alone gets one.
identity:
	@git config user.name > /dev/null || { git config user.name annealed_lm && echo "git has no user.name: this clone uses annealed_lm"; }
	@git config user.email > /dev/null || { git config user.email annealed_lm@localhost && echo "git has no user.email: this clone uses annealed_lm@localhost"; }

# Modules are compiled when they are first imported: to compile all of them takes as long as everything else here.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --no-compile -r requirements.txt
	$(VENV)/bin/python -m pip install --no-deps --no-build-isolation --editable .
	touch "$@"

$(VENV)/.installed-dev: requirements-dev.txt requirements-trackers.txt requirements.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --no-compile -r requirements-dev.txt
	touch "$@"
