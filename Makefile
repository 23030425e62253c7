# Thin on purpose: the work is in jobs/windrow/laptop/. `make demo` and `make test` set up what they need.

SHELL := /bin/sh
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# python3 if it is supported, else the newest supported one, else python3 again for its error about the version.
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c "$(SUPPORTED)" 2>/dev/null && { echo $$python; exit; }; done; echo python3)

WINDROW := PYTHONPATH=jobs $(PYTHON) -m windrow.laptop.environment
CONTAINERS := PYTHONPATH=jobs $(PYTHON) -m windrow.containers.compose
EXPERIMENT ?= digits
ARGS ?=
MODEL ?= digits

SOURCE ?= mnist

.PHONY: help start new train score airflow demo reproduce unit test test-faults test-cluster coverage fuzz screenshots stop doctor lint lock bench up down
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## data set, sweep, champion, labelled URLs; EXPERIMENT=mnist SET="sweep.trials=4 dataset.source=../mnist" TARGET=docker
	@$(if $(filter docker,$(TARGET)),$(CONTAINERS) demo,$(WINDROW) python -m windrow.laptop.demo) \
		--experiment '$(EXPERIMENT)' $(foreach pair,$(SET),--set '$(pair)')

start: ## the services without the demo: MLflow, Airflow and its DAGs
	@$(WINDROW) python -m windrow.laptop.stack up

new: ## a page from a folder of images, one folder per class; NAME=shoes FOLDER=/data/shoes FEED=/data/shoes-urls BACKBONE=none
	@$(WINDROW) python -m windrow.laptop.page.new --name '$(NAME)' --folder '$(FOLDER)' $(if $(FEED),--feed '$(FEED)') \
		$(if $(BACKBONE),--backbone '$(BACKBONE)')

train: ## train a page's champion in Airflow, and label its feed; EXPERIMENT=shoes SET="sweep.trials=4"
	@$(WINDROW) python -m windrow.laptop.page.page_runs train --experiment '$(EXPERIMENT)' $(foreach pair,$(SET),--set '$(pair)')

score: ## label what is new in a page's feed, in Airflow; EXPERIMENT=shoes
	@$(WINDROW) python -m windrow.laptop.page.page_runs score --experiment '$(EXPERIMENT)' $(foreach pair,$(SET),--set '$(pair)')

airflow: ## Airflow's own command line; ARGS="dags unpause score_shoes"
	@$(WINDROW) --as-is python -m windrow.laptop.stack airflow $(ARGS)

reproduce: ## train a registered version again from its record, and compare; VERSION=3 MODEL=digits
	@$(WINDROW) python -m windrow.laptop.reproduce_version --model '$(MODEL)' --version '$(VERSION)'

PYTEST := pytest -n auto --dist loadfile --no-loadscope-reorder --junitxml=var/test/junit.xml --durations=25

# Else each worker rewrites all tests' assertions anew, which takes it five seconds.
unit test test-faults coverage: export PYTHONDONTWRITEBYTECODE =

unit: ## tests without Spark, Airflow, MLflow and TensorFlow: after each change; ARGS="tests/windrow/sweep -k ledger"
	@$(WINDROW) python -m $(PYTEST) -m unit $(ARGS)

test: ## all tests but faults and cluster, offline, with real Spark, Airflow, MLflow and Chromium; ARGS="-k retry"
	@$(WINDROW) python -m $(PYTEST) $(ARGS)

test-faults: ## kills, retries, full disks, thousands of trials, the jobs by hand, many random examples
	@WINDROW_HYPOTHESIS=thorough $(WINDROW) python -m $(PYTEST) -m 'faults or hypothesis' -k 'AtLength or not runTest' $(ARGS)

coverage: ## line coverage of jobs, plugins and dags by make test, in var/coverage; ARGS="tests/windrow/sweep"
	@rm -rf var/coverage && mkdir -p var/coverage
	@$(WINDROW) coverage run -m $(PYTEST) $(ARGS); code=$$?; \
	$(WINDROW) --as-is coverage combine --quiet && $(WINDROW) --as-is coverage report --skip-covered --sort=cover && exit $$code

fuzz: ## inputs that break a promise, looked for by coverage, offline; ARGS="--target urls --seconds 600"
	@$(WINDROW) env PYTHONPATH=jobs:tests python -m fuzz.run $(ARGS)

screenshots: ## the pictures of the README's tour, taken by the story in tests/stack as it goes
	@WINDROW_PICTURES=docs/pictures $(WINDROW) python -m pytest tests/stack

stop: ## end the services that make start, make demo or make train started
	@test ! -x .venv/bin/python || $(WINDROW) --as-is python -m windrow.laptop.stack stop

doctor: ## check this machine and the services, and say what to do
	@$(WINDROW) --as-is python -m windrow.laptop.doctor

bench: ## measure Windrow against its peers, about an hour on idle cores; SOURCE=../mnist
	@$(WINDROW) python bench/environment.py
	@for script in "sweeps.py --source $(SOURCE)" overhead.py logging_cost.py "pruning.py --source $(SOURCE)" "epoch.py --mnist $(SOURCE) --json bench/results/epoch.json" \
		scaling.py plots.py; do $(WINDROW) --as-is var/bench/venv/bin/python bench/$$script || exit; done

up: ## the stack in containers, on a Spark cluster; needs Docker; SPARK_WORKERS=4
	@$(CONTAINERS) up

down: ## end the stack in containers; VOLUMES=1 removes its data as well
	@$(CONTAINERS) down $(if $(filter 1,$(VOLUMES)),--volumes)

test-cluster: ## the stack in containers, the demo on it, and faults of a cluster; needs Docker
	@$(WINDROW) python -m pytest -m cluster tests/cluster $(ARGS)

lint: ## ruff, and mypy for the oldest and the newest Python that is supported
	@$(WINDROW) ruff check .
	@$(WINDROW) --as-is ruff format --check .
	@$(WINDROW) --as-is mypy
	@$(WINDROW) --as-is mypy --python-version 3.13

lock: ## compile requirements.txt from requirements.in; ARGS=--upgrade takes newer versions
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(PYTHON) -m venv "$$folder" && \
	"$$folder/bin/python" -m pip install --quiet --disable-pip-version-check uv && \
	"$$folder/bin/uv" pip compile --quiet --universal --python-version 3.11 --no-emit-index-url $(ARGS) \
		--custom-compile-command "make lock" requirements.in --output-file requirements.txt
