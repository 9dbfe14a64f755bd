# Each target is one line over the real command. VENV names another virtual environment, PYTHON another Python 3.11.
VENV ?= .venv
PYTHON ?= python3.11
SPECIAL := : ; ' " ` & | < > ( ) * ? [ ] \ %
$(foreach sign,$(SPECIAL),$(if $(findstring $(sign),$(VENV)),$(error VENV = $(VENV) has a $(sign), which make or the shell takes for its own: name another folder)))
export PATH := $(if $(filter /%,$(firstword $(VENV))),,$(CURDIR)/)$(VENV)/bin:$(PATH)
empty :=
override VENV := $(subst $(empty) $(empty),\ ,$(VENV))# a space as make and the shell both take it, in targets and commands

# A value, and each word of a value, as one word of the shell whatever is in it.
quoted = '$(subst ','\'',$(1))'
each_quoted = $(foreach word,$(1),$(call quoted,$(word)))

# As many tests at once as there are cores.
PYTEST = pytest -n logical --maxprocesses 8 --dist worksteal

.PHONY: help run text export baseline show table compare study frontier test-report bench gpu-report gpu-package fetch doctor clean-resume clean test quick-tests test-all lint identity

help:  ## this list; VARIABLES stand in capitals, such as make study WORKERS=4
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.installed identity  ## the experiment that params.yaml describes, the default one first
	@python src/lab.py doctor --before-run
	dvc exp run

baseline: $(VENV)/.installed identity  ## commit the results of this run: experiments are compared with it
	@python src/lab.py baseline

text: $(VENV)/.installed  ## FILE=my.txt, .csv or .jsonl (TEXT=, LABEL=): your own texts for the next run
	@python src/lab.py text $(if $(FILE),$(call quoted,$(FILE))) $(if $(TEXT),--text $(call quoted,$(TEXT))) $(if $(LABEL),--label $(call quoted,$(LABEL))) $(if $(REPLACE),--replace)

export: $(VENV)/.installed  ## OUT=folder: the trained model with its card, for other programs or a hub
	@python src/lab.py export $(if $(OUT),$(call quoted,$(OUT)))

show: $(VENV)/.installed  ## experiments, a line each: what varied, and how their texts came out
	@python src/lab.py show

table: $(VENV)/.installed  ## the same with intervals, beside real texts, baseline, control and ceiling
	@python src/lab.py table

study: $(VENV)/.installed identity  ## SCHEDULES="normal linear" SEEDS="1 2 3", or STUDY=file; WORKERS= MINUTES= SLURM=
	@python src/lab.py study $(if $(SCHEDULES)$(SEEDS),--schedules $(call each_quoted,$(SCHEDULES)) --seeds $(call each_quoted,$(SEEDS)),$(call quoted,$(or $(STUDY),studies/restaurants.yaml))) $(if $(NAME),--name $(call quoted,$(NAME))) $(if $(WORKERS),--workers $(call quoted,$(WORKERS))) $(if $(MINUTES),--minutes $(call quoted,$(MINUTES))) $(if $(SLURM),--slurm $(call quoted,$(SLURM)))

compare: $(VENV)/.installed  ## does annealing help? PREFIX=name- over seeds -> outputs/comparison/report.html
	@python src/lab.py compare $(if $(PREFIX),--prefix $(call quoted,$(PREFIX))) $(if $(FOLDERS),--folders $(call each_quoted,$(FOLDERS)))

frontier: $(VENV)/.installed  ## the model at other sampling steps, eta and strategies -> outputs/frontier
	python src/lab.py frontier

test-report: $(VENV)/.installed  ## EXP=name: on the test split, once, with five sampling seeds -> outputs/test
	python src/lab.py test-report $(if $(EXP),--experiment $(call quoted,$(EXP)))

bench: $(VENV)/.installed  ## how fast training, sampling and evaluation are here -> outputs/bench.json
	python src/lab.py bench

# Needs no .venv where this python3 has torch: packages/ is what gpu-package brought.
gpu-report:  ## MINUTES=10: all that needs a GPU, no internet -> outputs/gpu; TINY=1 rehearses
	PYTHONPATH="packages$${PYTHONPATH:+:$$PYTHONPATH}" python3 src/lab.py gpu-report $(if $(MINUTES),--minutes $(call quoted,$(MINUTES))) $(if $(OUT),--out $(call quoted,$(OUT))) $(if $(TINY),--tiny)

gpu-package: $(VENV)/.installed  ## OUT=file.tar.gz PY=3.12: what that needs on a machine with that Python
	python src/lab.py gpu-package $(call quoted,$(or $(OUT),outputs/gpu_package.tar.gz)) $(if $(PY),--python $(call quoted,$(PY)))

fetch: $(VENV)/.installed  ## models and corpora that params.yaml names, ahead of a run without internet
	dvc repro fetch_corpus fetch_pretrained fetch_judges

doctor: $(VENV)/.installed  ## what could go wrong in the next run, and how to mend it
	@python src/lab.py doctor

clean-resume: $(VENV)/.installed  ## remove interrupted trainings older than DAYS=14, or of other code
	python src/lab.py clean-resume $(if $(DAYS),--days $(call quoted,$(DAYS)))

clean:  ## remove what interrupted runs left, and drawn plots; while nothing runs
	rm -rf .resume .frontier dvc_plots
	find data models metrics plots -name '.*.partial' -prune -exec rm -rf {} +

test: $(VENV)/.installed-dev  ## what CI runs: lint and quick tests, eight minutes on two cores
	$(MAKE) --jobs=2 --output-sync=target lint quick-tests

quick-tests: $(VENV)/.installed-dev
	$(PYTEST) -m 'not slow'

test-all: $(VENV)/.installed-dev lint  ## all tests, each command started anew as users start it; half an hour
	$(PYTEST) --cold --cov

lint: $(VENV)/.installed-dev  ## ruff and mypy
	ruff check && ruff format --check && mypy

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
