# make demo: first look, with a simulated server.   make test: everything.   Both set up all they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Simulated media is made with PyAV; these are what the mount and its tests need of the system.
SYSTEM_PACKAGES := fuse3 libfuse3-dev pkg-config gcc python3-dev python3-venv
TEST_PACKAGES   := acl attr bzip2 curl ed ffmpeg file gawk gnupg groff hashdeep iproute2 less libglib2.0-bin man-db moreutils nano \
    openssh-client openssh-sftp-server p7zip-full poppler-utils rclone rsync strace vim zip
# Real players and viewers, which tests/players runs on a mount.
PLAYER_PACKAGES := chromium ffmpeg ffmpegthumbnailer gstreamer1.0-libav gstreamer1.0-plugins-bad gstreamer1.0-plugins-base \
    gstreamer1.0-plugins-base-apps gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly gstreamer1.0-tools \
    imagemagick mpv poppler-utils vlc

# Servers of others that tests/servers puts before the simulator: C++ gRPC, nginx; Node's comes from npm.
SERVER_PACKAGES := g++ libgrpc++-dev libprotobuf-dev protobuf-compiler-grpc
ifdef CI
# Elsewhere not unasked: these come with services that are started.
SERVER_PACKAGES += nginx-light
# Servers that tests/gateway puts on a mount.
SERVER_PACKAGES += libnfs-utils nfs-ganesha nfs-ganesha-vfs openssh-server python3-samba samba smbclient
endif
NODE_SERVER     := tests/servers/node/node_modules/.ready
# axe-core, which looks at pages for what people with disabilities stumble over.
NODE_AXE        := tests/pages/node/node_modules/.ready

.PHONY: demo test test-fast test-machines lint deep stops bench soak team deb lock clean test-system

demo: $(READY)
	@$(BIN)/axxon-exportfs demo

# Side by side, in three workers more than there are processors: two thirds of it wait for programs and servers.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 1); echo $$((n + 3)))

test: test-system $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

# What is run while one works: no mount, and a minute or so on two processors.
test-fast: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) -m "not mount and not slow" tests/unit tests/docs $(PYTEST_ARGS)

# On bare Debian 12 and 13, made with debootstrap; as root. EXPORTFS_MACHINES=whole runs the whole suite there.
test-machines: $(READY)
	$(BIN)/python -m pytest -n 2 -m bare -o faulthandler_timeout=0 tests/machines $(PYTEST_ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python -m pytest -q -n0 tests/docs/test_words.py
	$(BIN)/lint-imports --no-logo

# What differs from run to run, each test again and again for a minute, with another seed each time: hypothesis' and those
# marked `deep`. EXPORTFS_DEEP=600 DEEP_ARGS=tests/unit/rpc: longer, in a part; EXPORTFS_SEED: what a failure told.
deep: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) -p tests.support.deep -o faulthandler_timeout=0 \
	    -o tmp_path_retention_policy=failed $(DEEP_ARGS)

# The suite while its processes are stopped at random; STOPS_ARGS="--longest 1.2 tests/tree" goes further, in a part.
stops: test-system $(READY)
	$(BIN)/python -m tests.stops -n $(WORKERS) $(STOPS_ARGS)

bench: $(READY)
	$(BIN)/python -m bench $(BENCH_ARGS)

soak: $(READY)
	$(BIN)/python -m tests.soak $(SOAK_ARGS)

team: $(READY)
	$(BIN)/python -m tests.team $(TEAM_ARGS)

$(READY): requirements.lock pyproject.toml hatch_build.py $(shell find protos -name '*.proto')
	@sh .ci/system-packages $(SYSTEM_PACKAGES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# A package for the Debian release that this is, in dist/.
deb: $(READY)
	@sh .ci/system-packages binutils dpkg-dev
	$(BIN)/python package/deb.py

test-system: $(NODE_SERVER) $(NODE_AXE)
	@sh .ci/system-packages $(TEST_PACKAGES) $(PLAYER_PACKAGES) $(SERVER_PACKAGES)

# Node may be somebody else's package, with an npm of its own in it.
$(NODE_SERVER) $(NODE_AXE): %/node_modules/.ready: %/package-lock.json
	@command -v node >/dev/null && command -v npm >/dev/null || sh .ci/system-packages nodejs npm
	@if command -v npm >/dev/null; then cd $* && \
	    npm ci --omit=optional --ignore-scripts --no-audit --no-fund --silent && touch node_modules/.ready; fi

# After a change of dependencies in pyproject.toml.
lock:
	$(PYTHON) -m venv .tools && .tools/bin/pip install --quiet uv
	.tools/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
	    --no-header pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .tools exportfs/wire/axxonsoft dist
