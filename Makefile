# make          bin/sigmad, bin/sigmactl, bin/versitygw, bin/procs/*
# make run      the main job: a word count on three nodes, verified (as root)
# make test     everything that CI runs (as root)
# make test-long  the same and more at full length: counts, durations, footprint; and fuzz
# make fuzz     a minute for each decoder of what procs and networks send
# make test-probes  hostile procs: a row per probe, then again with each layer off
# make test-faults SEED=n  the fault schedule on a cluster of four machines
# make test-mutants  plants a defect after the other and has its test find it
# make test-race  the same under the race detector, the nodes that tests start, too
# make test-vm  on Debian 12's own kernel in qemu: cgroup v2 alone, AppArmor (under 15 minutes)
# make vuln     govulncheck over everything (needs its database's server)
# make lint     staticcheck over everything (downloads it once)
# make generate the embedded PID 1 and probe again (needs gcc, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross)

GO      ?= go
CC      ?= cc
RUSTC   ?= rustc
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unversioned)
LDFLAGS := -s -w -X main.version=$(VERSION)

STATICCHECK ?= v0.8.2
GOVULNCHECK ?= v1.9.0

export CGO_ENABLED = 0

.PHONY: all build procs store run test test-faulty test-faulty-1-2 test-stories test-packages test-long fuzz test-probes test-faults test-mutants test-race test-vm vet lint vuln generate clean
all: build

build: procs store
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/sigmad .
	ln -sf sigmad bin/sigmactl

# The S3 server that a fresh cluster brings: a module of its own, with what it
# needs. Without it a cluster works, but for /s3 in realms that have no store set.
store:
	@echo $(GO) build -o bin/versitygw ./naming/s3/store; \
	$(GO) build -C naming/s3/store -trimpath -ldflags '-s -w' -o $(CURDIR)/bin/versitygw . || \
		echo 'bin/versitygw is not built: a fresh cluster has no S3 server, and its tests are skipped'

# The versions in C and Rust are built where their compilers are.
procs:
	@mkdir -p bin/procs
	$(GO) build -trimpath -ldflags '-s -w' -o bin/procs/hello ./apps/hello/go
	@for p in benchproc testproc echo eptest grpchealth img imgtest memfs mr mrcheck mrtest pgtest; do \
		echo $(GO) build -o bin/procs/$$p ./apps/$$p; $(GO) build -trimpath -ldflags '-s -w' -o bin/procs/$$p ./apps/$$p || exit 1; done
	@if command -v $(CC) >/dev/null; then \
		$(CC) -O2 -static -o bin/procs/hello-c apps/hello/c/hello.c; \
		$(CC) -O2 -static -o bin/procs/echo-c apps/echo/c/echo.c; \
		$(CC) -Os -static -nostdlib -ffreestanding -fno-stack-protector -Wl,--build-id=none -Wl,-z,noseparate-code -s -o bin/procs/hello-raw apps/hello/raw/hello.c; \
		$(CC) -O2 -static -nostdlib -ffreestanding -fno-stack-protector -Wall -Wextra -o bin/procs/probe roles/doctor/attack/probe/*.c; \
	else echo 'no C compiler: bin/procs/hello-c, echo-c and probe are not built'; fi
	@if command -v $(RUSTC) >/dev/null; then \
		$(RUSTC) -O -C target-feature=+crt-static -C panic=abort -o bin/procs/hello-rust apps/hello/rust/hello.rs; \
		$(RUSTC) -O -C target-feature=+crt-static -C panic=abort -o bin/procs/echo-rust apps/echo/rust/echo.rs; \
	else echo 'no Rust compiler: bin/procs/hello-rust and echo-rust are not built'; fi

# Real text is fetched once; without a network a small part of it will do.
run: build
	@apps/mr/run.sh

vet:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet ./...

# JOBS of four parts at a time, the longest first: they wait more than they work, for
# time-outs above all. Whatever fails, the rest is run, too. (docs/TESTS.md)
JOBS ?= 3
test: vet
	@$(MAKE) --no-print-directory -k -j $(JOBS) --output-sync=target test-faulty test-stories test-faulty-1-2 test-packages

test-faulty test-faulty-1-2 test-stories test-packages: build

test-faulty:
	$(GO) test -timeout 30m -run '^TestFAULTS_' -skip '^TestFAULTS_F[12]' ./test

test-faulty-1-2:
	$(GO) test -timeout 30m -run '^TestFAULTS_F[12]' ./test

test-stories:
	$(GO) test -timeout 30m -skip '^TestFAULTS_' ./test

test-packages:
	@list=$$($(GO) list ./...) || exit 1; list=$$(echo "$$list" | grep -v '^sigmaos/test$$'); \
	echo $(GO) test -p 1 -timeout 15m '$$(go list ./... | grep -v ^sigmaos/test$$)'; $(GO) test -p 1 -timeout 15m $$list

test-long: build vet
	SIGMA_LONG=1 $(GO) test -p 1 -count 1 -timeout 4h ./...
	$(MAKE) fuzz

# A minute for each decoder of what procs and networks send.
fuzz:
	test/fuzz.sh

# The rows on a node as it is, then on nodes without seccomp, without Landlock and
# AppArmor, without namespaces: the table of what each layer catches.
test-probes: build
	$(GO) test -count 1 ./roles/doctor/attack
	$(GO) test -count 1 -run 'TestDoctorAttackPrints' ./test
	SIGMA_LAYERS=1 $(GO) test -count 1 -timeout 30m -v -run 'TestPROBES_Rule10' ./test
	$(GO) test -count 1 -timeout 30m -run 'TestPROBES' ./test

# The whole fault schedule: SEED decides what happens when, every kind of fault is in
# each round of three to four minutes. ROUNDS=10 is half an hour.
SEED ?= 1
ROUNDS ?= 1
test-faults: build
	SIGMA_LONG=1 $(GO) test -count 1 -timeout 2h -v -run 'TestFAULTS_Schedule$$' ./test -seed $(SEED) -fault-rounds $(ROUNDS)

# MUTANTS is an expression for their names.
MUTANTS ?= .
test-mutants: build
	SIGMA_MUTANTS='$(MUTANTS)' $(GO) test -count 1 -timeout 2h -v ./test/mutants

# Outside go.mod: no dependency of ours.
lint: vet
	$(GO) run honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK) ./...

# One package at a time: the race detector takes ten times the memory and time. The
# nodes that tests start are built with it, too; a find fails the test whose node
# said it. Procs are not: they run in a jail without a C library. RACE is what to run;
# all of it takes hours on two cores.
RACE ?= ./...
test-race: build
	@mkdir -p bin/race
	CGO_ENABLED=1 $(GO) build -race -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/race/sigmad .
	@ln -sf sigmad bin/race/sigmactl; ln -sfn ../procs bin/race/procs; ln -sf ../versitygw bin/race/versitygw
	CGO_ENABLED=1 SIGMA_BIN=$(CURDIR)/bin/race $(GO) test -race -exec 'env CGO_ENABLED=0' -p 1 -timeout 60m $(RACE)

# Known defects of what we build on, as far as the database can be reached.
vuln:
	$(GO) run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK) ./...

# Debian 12's own kernel in a virtual machine emulated in software.
test-vm: build
	test/vm/run.sh

generate:
	$(GO) generate ./runtime/slot ./roles/doctor/attack

clean:
	rm -rf bin
