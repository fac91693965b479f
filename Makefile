# Praetor. `make` builds ./praetor; `make help` lists the rest.

GO       ?= go
FUZZTIME ?= 5000x
# Asked for only when a target builds, so that the others need no git.
REVISION ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)

# state/iradix is a module of its own, in the place of the tree that go-memdb asks for.
PACKAGES = ./... github.com/hashicorp/go-immutable-radix

.DEFAULT_GOAL := build
.PHONY: build run test long check fuzz-short corruption planted chaos drill chaos-processes acceptance bench bench-watch bench-coordination bench-recovery bench-peers etcd microbench cluster clean help

build: ## build the binary ./praetor
	$(GO) build -buildvcs=false -ldflags '-X praetor/agent.Revision=$(REVISION)' -o praetor .

run: build ## build and run one server on 127.0.0.1, data in ./data
	./praetor agent -server -bootstrap -bind 127.0.0.1 -data-dir ./data

test: ## run all tests with the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 10m $(PACKAGES)

long: ## run the story of 100,000 changes, which the race detector makes too long for "test"
	$(GO) test -count 1 -run TestFeedMissesNothing ./testutil/cluster

check: ## gofmt, go vet and staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet $(PACKAGES)
	$(GO) tool staticcheck $(PACKAGES)

# A number of inputs, since go test at times fails with "context deadline exceeded" when a time is up.
# Minimizing of interesting inputs is off: left on, it takes up all of a short run (21 executions in 40 s, not 280,000).
fuzz-short: ## run every fuzz target for FUZZTIME (5000 inputs, or a time such as 5s)
	@ran=0; failed=0; \
	for file in $$(grep -rlE --include='*_test.go' '^func Fuzz' . | sort); do \
		for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$$file"); do \
			ran=$$((ran + 1)); \
			echo "$$target in $$file"; \
			$(GO) test -C "$$(dirname "$$file")" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x . || failed=$$((failed + 1)); \
		done; \
	done; \
	if [ $$ran = 0 ] || [ $$failed != 0 ]; then echo "$$((ran - failed)) passed, $$failed failed"; fi; \
	[ $$failed = 0 ]

corruption: ## damage the raft directory in 200 ways with each log store and see that nothing wrong is served (about 20 seconds)
	CORRUPTION_SEEDS=200 $(GO) test -count=1 -run 'TestCorruption|TestForeignFiles' ./testutil/cluster

# SEED=n tries one seed and prints its plan and what was done; with SEEDS=m, seeds n to n+m-1; COUNT=n tries each n times, since goroutines do not run in the same order twice.
chaos: ## whole clusters under faults in virtual time, SEEDS of them (200, about 3 minutes) from SEED on, or SEED alone, COUNT times
	CHAOS_SEEDS=$(or $(SEEDS),$(if $(SEED),1,200)) CHAOS_SEED=$(SEED) CHAOS_COUNT=$(COUNT) $(GO) test $(if $(SEED),-v) -count=1 -timeout 30m -run '^TestChaos$$' ./testutil/chaos

# FAULT=name plants one; go run ./testutil/planted -list says what there is. As root it has the instruments on real processes too.
planted: ## plant faults, one at a time, and show which test finds each (about 15 minutes)
	$(GO) run ./testutil/planted -fault '$(FAULT)'

drill: ## lose real servers under load: recovery of a lost quorum, everything back from backups (about 2 minutes)
	PRAETOR_DRILLS=1 $(GO) test -count=1 -timeout 8m -run '^TestDrill$$|^TestRecoverByCommand$$' ./testutil

# The faults come from the seed, which is printed; what they hit is up to the machine. For longer: RUNS=10 LASTS=10m.
RUNS  ?= 3
LASTS ?= 60s
chaos-processes: ## real servers in network namespaces: kills, losses of power, cut links, full disks (root; about 5 minutes; SEED= repeats one)
	PRAETOR_CHAOS_RUNS=$(RUNS) PRAETOR_CHAOS_LASTS=$(LASTS) PRAETOR_CHAOS_SEED=$(SEED) \
		$(GO) test -count=1 -v -timeout 2h -run '^TestChaos$$$(if $(SEED),,|^TestFullDiskHeals$$|^TestPowerLossAfterA)' ./testutil/netns

# ACCEPTANCE=-allow-known makes it succeed when only the tests fail that are known to.
acceptance: ## run the official Go client's own tests and write the table of docs/compatibility.md (about 2 minutes)
	$(GO) run ./testutil/acceptance $(ACCEPTANCE)

bench: ## measure against the floor and print the table of docs/performance.md (about 2 minutes)
	$(GO) test -run '^$$' -bench Table -benchtime 1x ./testutil/bench

bench-watch: ## measure 10,000 watchers, as blocking queries and as feeds (about 2 minutes)
	$(GO) test -run '^$$' -bench Watch -benchtime 1x ./testutil/bench

bench-coordination: ## measure transactions, locks and sessions beside plain writes (about a minute)
	$(GO) test -run '^$$' -bench Coordination -benchtime 1x ./testutil/bench

bench-recovery: ## measure save, restore and start-up at 1,000,000 keys (about 3 minutes)
	$(GO) test -run '^$$' -bench Recovery -benchtime 1x -timeout 30m ./testutil/bench

# ROWS=put,get runs only those rows, QUICK=1 one short round of each, PROFILE=dir writes CPU profiles of our servers.
bench-peers: etcd ## measure our servers beside Debian's etcd (about 15 minutes)
	ETCD="$$(command -v etcd || echo $(CURDIR)/data/etcd/usr/bin/etcd)" ROWS="$(ROWS)" QUICK="$(QUICK)" PROFILE="$(abspath $(PROFILE))" \
		$(GO) test -C testutil/bench/peers -run '^$$' -bench Peers -benchtime 1x -timeout 60m .

# The package is unpacked, not installed: nothing starts, and nobody need be root if apt knows its packages.
etcd: ## see that there is an etcd: the one on the path, or Debian's etcd-server in ./data/etcd
	@command -v etcd >/dev/null || [ -x data/etcd/usr/bin/etcd ] || { \
		mkdir -p data/etcd && cd data/etcd && \
		{ apt-get download etcd-server || { apt-get update && apt-get download etcd-server; }; } && \
		dpkg-deb -x etcd-server_*.deb . && rm etcd-server_*.deb; } || \
		{ echo "bench-peers: no etcd on the path, and apt-get cannot fetch Debian's etcd-server: install it, or put an etcd on the path"; exit 1; }

microbench: ## run the benchmarks of single functions
	$(GO) test -run '^$$' -bench . -benchmem ./agent/... ./fsm/... ./rpcserver/... ./state/... ./structs/...

cluster: build ## run three servers on loopback, data in ./data/cluster; ctrl-C stops them
	docs/deploy/local-cluster ./praetor ./data/cluster

clean: ## remove the binary and ./data
	rm -rf praetor data

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
