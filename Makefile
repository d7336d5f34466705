# make up     the site with its workers on http://127.0.0.1:$(PORT), with everything that it needs, until Ctrl-C
# make test   everything that is tested, with its own set-up
# make lint   ruff only
# make bench  the measurements behind the figures in docs/ (hours; each alone as its section there says)
# make messages  the catalogues of translations follow the texts (needs Debian's gettext)
# make loop   the whole loop with simulated annotators: does it learn? (long)

PORT ?= 8000
PREFLOOP_VAR ?= $(CURDIR)/var
export PREFLOOP_VAR

PYTHON := .venv/bin/python
STARTER := $(PREFLOOP_VAR)/models/starter

.PHONY: up test lint bench messages loop
.DELETE_ON_ERROR:

up: .venv/installed $(STARTER)
	@$(PYTHON) manage.py migrate --verbosity 0
	@$(PYTHON) manage.py check_leaks
	@$(PYTHON) manage.py demo
	@$(PYTHON) manage.py serve --port $(PORT)

test: .venv/installed-tests
	.venv/bin/ruff check .
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: .venv/installed-tests
	.venv/bin/ruff check .

bench: .venv/installed-tests
	$(PYTHON) -m benchmarks.training_throughput
	$(PYTHON) -m benchmarks.aggregation
	$(PYTHON) benchmarks/real_data.py
	$(PYTHON) -m benchmarks.rl_throughput
	$(PYTHON) -m benchmarks.rl_memory
	$(PYTHON) -m benchmarks.overoptimization
	$(PYTHON) benchmarks/labeling_load.py
	$(PYTHON) benchmarks/pages.py
	$(PYTHON) benchmarks/snapshots.py

# New texts get an entry to translate in locale/*/LC_MESSAGES/django.po; what is compiled from it is kept beside it.
messages: .venv/installed
	$(PYTHON) manage.py makemessages --all --no-location --no-wrap --ignore .venv --ignore tests --ignore benchmarks
	$(PYTHON) manage.py compilemessages --ignore .venv

loop: .venv/installed
	$(PYTHON) benchmarks/loop.py

# Built aside and renamed: an interrupted build leaves no half model behind, and goes on where it was.
$(STARTER):
	@echo "Building the starter model, once: about two minutes."
	@mkdir -p $(dir $@)
	@$(PYTHON) -m training starter --output $(dir $@).starter-unfinished
	@mv $(dir $@).starter-unfinished $@

# torch first and alone: what comes later then finds it installed and does not look for another build.
.venv/installed: requirements.txt requirements/web.txt requirements/training.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Prefloop needs Python 3.11 or newer.")'
	@test -x .venv/bin/pip || { rm -rf .venv && python3 -m venv .venv; }
	@.venv/bin/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements/training.txt)"
	@.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/installed-tests: .venv/installed requirements/test.txt
	@.venv/bin/pip install --quiet --disable-pip-version-check -r requirements/test.txt
	@touch $@
