# One way for each thing. Variables: PYTHON (3.11 or newer), CANFAR_HUB_* (see README).
PYTHON ?= python3
LOCAL = -m canfar_spawner.local.build
BUILD = $(PYTHON) $(LOCAL) prepare
IN = $$($(PYTHON) $(LOCAL) path $(1))/bin

.PHONY: run stop clean environments images test test-cluster test-long lint docs messages bench bench-cluster bench-gateway bench-home bench-kinds bench-pages bench-sessions bench-storage bench-storage-panel bench-transfers cluster cluster-down run-cluster kubectl

run: ## start the hub on http://127.0.0.1:8000
	@$(BUILD) hub portal proxy astroml
	@exec $(call IN,hub)/canfar-hub run

stop: ## end the hub and its sessions
	@$(BUILD) --quiet hub
	@exec $(call IN,hub)/canfar-hub stop

environments: ## build the software of all local containers
	@$(BUILD) notebook astroml casa desktop marimo webterminal
	@$(BUILD) carta || true

images: ## build images/, and push them: make images REGISTRY=registry.example.org
	@$(PYTHON) images/build.py $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(BASE),--base $(BASE))

clean: ## remove environments and built pages; never touches arc/
	@$(PYTHON) $(LOCAL) clean
	rm -rf build dist canfar_spawner/portal/static

test: ## everything quick: lint, types, core, hub, browser
	@$(BUILD) test portal proxy openid carta-frontend client notebook astroml desktop marimo webterminal
	@$(PYTHON) $(LOCAL) packages
	@exec $(call IN,test)/python tests/stages.py

test-cluster: ## the tests that need a real Kubernetes, alone; needs root
	@$(BUILD) test portal proxy openid carta-frontend client notebook astroml desktop marimo webterminal
	@$(PYTHON) $(LOCAL) packages
	@exec $(call IN,test)/python tests/stages.py kubernetes cluster

test-long: ## what takes minutes: make test-long PART=…
	@$(BUILD) test portal proxy openid carta-frontend client notebook astroml desktop marimo webterminal
	@$(PYTHON) $(LOCAL) packages
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
	@$(BUILD) test portal proxy openid carta-frontend client notebook astroml desktop marimo webterminal
	@$(PYTHON) $(LOCAL) packages
	@exec $(call IN,test)/python tests/stages.py docs

messages: ## bring the catalogues of languages up to date with the pages
	@$(BUILD) --quiet test
	@PYTHONPATH=. exec $(call IN,test)/python -m tests.support.messages

bench: ## from click to usable, beside JupyterHub's own local spawner
	@$(BUILD) --quiet test portal proxy notebook
	@PYTHONPATH=. exec $(call IN,test)/python bench/click_to_usable.py

bench-cluster: ## the same on the test cluster, beside stock KubeSpawner and the bare pod
	@$(BUILD) --quiet test portal proxy
	@PYTHONPATH=. exec $(call IN,test)/python bench/click_to_usable_cluster.py

bench-gateway: ## the gateway beside jupyter-server-proxy, configurable-http-proxy and none
	@$(BUILD) --quiet test portal proxy bench
	@PYTHONPATH=. exec $(call IN,test)/python bench/gateway.py $(ARGS)

bench-home: ## the home page with one session and with 200
	@$(BUILD) --quiet test portal proxy
	@PYTHONPATH=. exec $(call IN,test)/python bench/home.py $(ARGS)

bench-kinds: ## from click to usable for each kind of session that runs on this machine
	@$(BUILD) --quiet test portal proxy carta-frontend notebook desktop marimo webterminal
	@PYTHONPATH=. exec $(call IN,test)/python bench/kinds.py $(ARGS)

bench-pages: ## the launch form with 500 images, beside stock KubeSpawner's
	@$(BUILD) --quiet test portal proxy
	@PYTHONPATH=. exec $(call IN,test)/python bench/pages.py $(ARGS)

bench-storage: ## folders of 10 to 100,000 files, beside jupyter_server's contents API
	@$(BUILD) --quiet test notebook
	@PYTHONPATH=. exec $(call IN,test)/python bench/storage.py $(ARGS)

bench-storage-panel: ## the same folders in JupyterLab's panel and in its own browser, in Chromium
	@$(BUILD) --quiet test portal proxy notebook
	@PYTHONPATH=. exec $(call IN,test)/python bench/storage_panel.py $(ARGS)

bench-transfers: ## copies, uploads and downloads beside cp and a plain tornado handler
	@$(BUILD) --quiet test notebook
	@PYTHONPATH=. exec $(call IN,test)/python bench/transfers.py $(ARGS)

bench-sessions: ## the session manager: lists of 10 to 1,000, creates beside the hub's REST, memory
	@$(BUILD) --quiet test portal proxy client
	@PYTHONPATH=. exec $(call IN,test)/python bench/sessions.py
