# Every target is one line that a person could type; what needs more is a script in deploy/.

PYTHON ?= python3
VENV := .local/venv
BIN := $(VENV)/bin
T ?= tests
# Bytecode is kept whatever the machine says: tests start processes by the hundred.
PYTEST_ALONE := env PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --install
PYTEST := $(PYTEST_ALONE) -n auto --dist loadscope --no-loadscope-reorder
CLI := $(BIN)/python -m deploy.local.cli
# End with a sentence when one of these words was not given: $(call need,TABLE FILE)
need = $(foreach word,$(1),$(if $($(word)),,$(error $(word)=… is missing; make help shows how to say it)))
# The same for a word that is none of some: $(call only,ALL,yes)
only = $(if $(filter-out $(2),$($(1))),$(error $(1)=$($(1)) means nothing here; leave it out or say $(1)=$(2)))

.DEFAULT_GOAL := help
.PHONY: help adopt from-mysql copy-from create-users run up-native down-native up up-mail up-monitoring down client-schema admin help-user \
	service-key service-keys revoke-service-key scale restart migrate logs backup restore drop-replaced purge job load webhook-replay keys \
	test test-mysql test-cluster test-compose bench soak lint format migration lock client playground clean

help:  ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run

run: $(VENV)/.runtime  ## Serve everything on PORT (default 8080) with SQLite, from .local/
	@$(CLI) run

up-native: $(VENV)/.stack  ## Start the whole stack without Docker: MariaDB, Redis, services, nginx
	@deploy/packages.sh stack
	@$(CLI) up-native

down-native: $(VENV)/.runtime  ## Stop the native stack; the data stays
	@$(CLI) down-native

up:  ## Start the whole stack in Docker: MySQL, Redis, services, nginx
	@deploy/compose.sh up

up-mail:  ## Add a mail catcher to the stack in Docker, which shows what is sent
	@deploy/compose.sh mail

up-monitoring:  ## Add Prometheus and Grafana to the stack in Docker
	@deploy/compose.sh monitoring

down:  ## Stop the stack in Docker; the data stays
	@deploy/compose.sh down

client-schema: $(VENV)/.runtime  ## Print the app's schema and models for the declared tables (FORMAT=ts for types)
	@$(BIN)/python -m schema.client_schema $(FORMAT)

##@ Operate (whichever stack runs)

admin: $(VENV)/.runtime  ## Make somebody an administrator: make admin EMAIL=…
	@$(call need,EMAIL)$(CLI) flask users create-admin "$(EMAIL)"

help-user: $(VENV)/.runtime  ## Help somebody to sign in: make help-user EMAIL=… DO=verify|send-verify-code|send-reset-code|end-sessions|unlock|unlink PROVIDER=…
	@$(call need,DO EMAIL)$(CLI) flask users help-user "$(DO)" "$(EMAIL)" "$(PROVIDER)"

create-users: $(VENV)/.runtime  ## Make accounts without passwords from a CSV file: make create-users FILE=users.csv
	@$(call need,FILE)$(CLI) flask users create-users - <"$(FILE)"

copy-from: $(VENV)/.runtime  ## Copy rows of another MySQL database: make copy-from URL=mysql://… MAP=file.toml (ONLY=key: one user's)
	@$(call need,MAP)SOURCE_URL="$(or $(URL),$(SOURCE_URL))" $(CLI) flask sync -- copy --map="$(abspath $(MAP))" --only="$(ONLY)"

service-key: $(VENV)/.runtime  ## Make a key for a server of yours: make service-key NAME=… SCOPES=sync:read,sync:write
	@$(call need,NAME SCOPES)$(CLI) flask sync service-key "$(NAME)" "$(SCOPES)"

service-keys: $(VENV)/.runtime  ## List the keys of your servers
	@$(CLI) flask sync service-keys

revoke-service-key: $(VENV)/.runtime  ## End such a key at once: make revoke-service-key NAME=…
	@$(call need,NAME)$(CLI) flask sync revoke-service-key "$(NAME)"

scale: $(VENV)/.runtime  ## Run a service N times: make scale SERVICE=sync N=3
	@$(call need,SERVICE N)$(CLI) scale "$(SERVICE)" "$(N)"

restart: $(VENV)/.runtime  ## Replace the processes of SERVICE, or of all, without losing a request
	@$(CLI) restart $(SERVICE)

migrate: $(VENV)/.runtime  ## Apply new migrations, and the rights that the models need, before a restart
	@$(CLI) migrate

logs: $(VENV)/.runtime  ## Follow the logs of every part
	@$(CLI) logs

backup: $(VENV)/.runtime  ## Write a backup of the database into .local/backups
	@$(CLI) backup

restore: $(VENV)/.runtime  ## Restore a backup: make restore FILE=…
	@$(call need,FILE)$(CLI) restore "$(FILE)"

drop-replaced: $(VENV)/.runtime  ## Remove the databases that restores have replaced, for good
	@$(CLI) drop-replaced

purge: $(VENV)/.runtime  ## Remove tombstones, sessions and counts that have had their time
	@$(CLI) flask sync purge

job: $(VENV)/.runtime  ## Run a job of the app's own: make job NAME=…
	@$(CLI) flask sync -- jobs $(or $(NAME),'')

load: $(VENV)/.runtime  ## Load a CSV or NDJSON file into a reference table: make load TABLE=… FILE=… (MODE=replace also deletes)
	@$(call need,TABLE FILE)$(CLI) flask sync -- load "$(TABLE)" - --mode="$(or $(MODE),merge)" --format=$(if $(filter %.csv %.CSV,$(FILE)),csv,ndjson) <"$(FILE)"

webhook-replay: $(VENV)/.runtime  ## Send a receiver now what waits and what was given up: make webhook-replay NAME=…
	@$(call need,NAME)$(CLI) flask sync webhook-replay "$(NAME)"

keys: $(VENV)/.runtime  ## Replace the key that signs tokens in .local/keys; older keys still verify
	@$(BIN)/python -m deploy.keys .local/keys

##@ Check

test: $(VENV)/.dev  ## Run all tests, on SQLite and on MariaDB with Redis and nginx (T=tests/sync for a part)
	@$(PYTEST) --backend=embedded,native --note-failed=.local/failed $(T) || tests/again.sh $(PYTEST_ALONE) --backend=embedded,native
	@echo "All is well. Next: make lint"

test-mysql: $(VENV)/.dev  ## Run all tests on Oracle's MySQL instead of MariaDB
	@.ci/mysql.sh .local/mysql
	@$(PYTEST) --backend=mysql $(T)

test-cluster: $(VENV)/.dev  ## Run all tests on three Galera nodes and a Redis Cluster
	@deploy/packages.sh cluster
	@$(PYTEST) -n 0 --backend=cluster $(T)

test-compose: $(VENV)/.dev  ## Build and start the images and run the client's tests against them
	@.ci/compose/run.sh

bench: $(VENV)/.dev  ## Benchmark against this machine's baseline (PEER=1 adds NestJS, FULL=1 the large sizes)
	@deploy/packages.sh bench
	@$(BIN)/python -m bench.bench

soak: $(VENV)/.dev  ## Let fifty devices sync on a native stack under random faults: make soak MINUTES=10
	@deploy/packages.sh
	@$(BIN)/python -m bench.soak "$(or $(MINUTES),10)"

lint: $(VENV)/.dev  ## Check format, style, types, import rules, migrations and the gateway
	@[ "$(CI)" != true ] || deploy/packages.sh stack
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy
	@$(BIN)/python -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-cache
	@$(BIN)/python -m migrations.lint
	@deploy/lint_models.sh
	@$(BIN)/python -m deploy.local.gateway

format: $(VENV)/.dev  ## Format the code and fix what can be fixed
	@$(BIN)/python -m ruff format .
	@$(BIN)/python -m ruff check --fix .

##@ Change

adopt: $(VENV)/.runtime  ## Declare the tables of an app's own schema: make adopt SCHEMA=path/to/schema.ts
	@$(BIN)/python -m schema.adopt --schema="$(SCHEMA)" --models="$(MODELS)" --migrations="$(MIGRATIONS)" --export="$(EXPORT)" --remove="$(REMOVE)" --demo="$(DEMO)"

from-mysql: $(VENV)/.runtime  ## Print declarations of another MySQL database's tables: make from-mysql URL=mysql://… (PRINT=map for a copy)
	@SOURCE_URL="$(or $(URL),$(SOURCE_URL))" $(BIN)/python -m schema.from_mysql --tables="$(TABLES)" --users="$(USERS)" --user-column="$(USER_COLUMN)" --print="$(PRINT)"

migration: $(VENV)/.runtime  ## Write the migration for changed models: make migration M="add comments"
	@REMOVE="$(REMOVE)" $(BIN)/python -m schema.migration "$(M)"

lock: $(VENV)/.dev  ## Lock the newest versions that pyproject.toml allows
	@deploy/lock.sh "$(BIN)/uv" --upgrade

client: $(VENV)/.runtime  ## Write the client's types of the API, and build its package in .local/client (needs Node)
	@cd tests/watermelon && npm ci --silent --no-audit --no-fund
	@client/types.sh "$(BIN)/python" client/src/api.ts
	@rm -rf .local/client && client/build.sh .local/client

playground:  ## Bundle the playground that make run serves (needs Node)
	@cd tests/watermelon && npm ci --silent --no-audit --no-fund
	@client/playground/build.sh client/playground/bundle.js

clean:  ## Remove what can be made again; with ALL=yes also databases, backups, keys and passwords
	@$(call only,ALL,yes)deploy/local/clean.sh "$(ALL)"

$(VENV)/.runtime: requirements.txt
	@deploy/venv.sh "$(PYTHON)" $(VENV) requirements.txt && touch $@

$(VENV)/.stack: requirements-stack.txt $(VENV)/.runtime
	@deploy/venv.sh "$(PYTHON)" $(VENV) requirements-stack.txt && touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.stack
	@deploy/venv.sh "$(PYTHON)" $(VENV) requirements-dev.txt && touch $@
