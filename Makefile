# One way for each thing. Variables: PYTHON (3.11 or newer), CANFAR_HUB_* (see README).
PYTHON ?= python3
LOCAL = -m canfar_spawner.local.build
BUILD = $(PYTHON) $(LOCAL) prepare
IN = $$($(PYTHON) $(LOCAL) path $(1))/bin

.PHONY: run stop clean environments images test test-cluster test-long lint docs bench bench-cluster cluster cluster-down run-cluster kubectl

run: ## start the hub on http://127.0.0.1:8000
	@$(BUILD) hub portal proxy astroml
	@exec $(call IN,hub)/canfar-hub run

stop: ## end the hub and its sessions
	@$(BUILD) --quiet hub
	@exec $(call IN,hub)/canfar-hub stop

environments: ## build the software of all local containers
	@$(BUILD) notebook astroml casa

images: ## build images/, and push them: make images REGISTRY=registry.example.org
	@$(PYTHON) images/build.py $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(BASE),--base $(BASE))

clean: ## remove environments and built pages; never touches arc/
	@$(PYTHON) $(LOCAL) clean
	rm -rf build dist canfar_spawner/portal/static

test: ## everything quick: lint, types, core, hub, browser
	@$(BUILD) test portal proxy openid notebook astroml
	@exec $(call IN,test)/python tests/stages.py

test-cluster: ## the tests that need a real Kubernetes, alone; needs root
	@$(BUILD) test portal proxy openid notebook astroml
	@exec $(call IN,test)/python tests/stages.py kubernetes cluster

test-long: ## what takes minutes: make test-long PART=…
	@$(BUILD) test portal proxy openid notebook astroml
	@PYTHONPATH=. exec $(call IN,test)/python tests/long.py $(PART)

lint: ## format check, lint, types, import rules
	@$(BUILD) test portal
	@exec $(call IN,test)/python tests/stages.py lint

cluster: ## start a real Kubernetes on this machine; needs root
	@$(PYTHON) -m tests.support.cluster up

cluster-down: ## end it and all that runs in it
	@$(PYTHON) -m tests.support.cluster down

run-cluster: ## the hub on that Kubernetes, on http://127.0.0.1:8000
	@$(BUILD) test portal proxy astroml
	@PYTHONPATH=. exec $(call IN,test)/python -m tests.support.cluster.serve

kubectl: ## make -s kubectl ARGS="get pods -A" on that Kubernetes
	@exec $(PYTHON) -m tests.support.cluster kubectl $(ARGS)

docs: ## renew the screenshots and generated pages of docs/
	@$(BUILD) test portal proxy openid notebook astroml
	@exec $(call IN,test)/python tests/stages.py docs

bench: ## from click to usable, beside JupyterHub's own local spawner
	@$(BUILD) --quiet test portal proxy notebook
	@PYTHONPATH=. exec $(call IN,test)/python bench/click_to_usable.py

bench-cluster: ## the same on the test cluster, beside stock KubeSpawner and the bare pod
	@$(BUILD) --quiet test portal proxy
	@PYTHONPATH=. exec $(call IN,test)/python bench/click_to_usable_cluster.py
