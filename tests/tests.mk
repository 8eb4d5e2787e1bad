# Targets that set up, show and test. Each installs what it needs first; `make test` ends with `N passed, N failed`.

PYTHON := /usr/bin/python3
PYTEST := $(PYTHON) -m pytest -p no:cacheprovider -rfE --tb=short --color=no
JOBS := -j$(shell nproc)
FUZZ_SECONDS ?= 10
FUZZ_BUILD := build/fuzz

.PHONY: setup-build setup-demo setup-test setup-clients setup-docker
setup-build setup-demo setup-test setup-clients setup-docker: setup-%:
	@tests/setup build $*

.PHONY: demo
demo:
	@tests/setup build demo
	@$(MAKE) -s --no-print-directory $(JOBS) all
	@demo/run

# One step after another: the counts of each, then the sum.
.PHONY: test
test:
	@tests/setup build test
	@tests/tally "build=$(MAKE) -s --no-print-directory $(JOBS) all" \
	    "lint=$(MAKE) -s --no-print-directory lint" \
	    "unit=$(MAKE) -s --no-print-directory -k $(JOBS) -Otarget unit" \
	    "clang=$(MAKE) -s --no-print-directory -k $(JOBS) CC=clang all unit-programs" \
	    "unit-asan=$(MAKE) -s --no-print-directory -k $(JOBS) -Otarget FLAVOR=asan all unit" \
	    "integration=$(MAKE) -s --no-print-directory integration" \
	    "pooled=$(MAKE) -s --no-print-directory integration-pooled" \
	    "clients=$(PYTEST) -q tests/clients" \
	    "limits=$(PYTEST) -q tests/limits" \
	    "fuzz=$(MAKE) -s --no-print-directory fuzz"

.PHONY: lint
lint:
	@$(PYTHON) tests/lint/lint.py $(BUILD)

.PHONY: unit-programs
unit-programs: $(foreach f,$(UNIT_FOLDERS),$(UNIT_BIN_$(f)))

# The binary under test is $PGVEIL_BIN (default build/pgveil); TESTS narrows what runs, ARGS goes to pytest.
TESTS ?= tests/integration
.PHONY: integration
integration:
	@$(PYTEST) -q $(ARGS) $(TESTS)

# What clients do, once more over server connections that they share (pool.mode transaction).
POOLED_TESTS := $(addprefix tests/integration/test_,protocol.py copy_cursor.py denials.py engine.py)
.PHONY: integration-pooled
integration-pooled:
	@PGVEIL_POOL_MODE=transaction $(PYTEST) -q $(ARGS) $(POOLED_TESTS)

# The same suite against the sanitized binary.
.PHONY: integration-asan
integration-asan:
	@$(MAKE) -s --no-print-directory $(JOBS) FLAVOR=asan all
	@PGVEIL_BIN=build/asan/pgveil $(MAKE) -s --no-print-directory integration

# Transcripts over the session engine (tests/wire/*.txt), replayed by a program of its unit tests.
.PHONY: wire
wire: $(BUILD)/unit/session/test_wire
	@$<

# Fuzz targets: tests/fuzz/fuzz_*.c with seeds in tests/fuzz/corpus/*; needs clang. tests/fuzz/run says how each went.
.PHONY: fuzz fuzz-programs
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(FUZZ_BUILD)/bin/%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz:
	@$(MAKE) -s --no-print-directory $(JOBS) FLAVOR=fuzz CC=clang BUILD=$(FUZZ_BUILD) fuzz-programs
	@tests/fuzz/run $(FUZZ_BUILD)/bin $(FUZZ_SECONDS)
fuzz-programs: $(FUZZ_BIN)
# The highest layer that each links, so that a lower target does not wait for the whole.
FUZZ_LAYER_must_crash := proxy/base
FUZZ_LAYER_frame := proxy/wire
FUZZ_LAYER_sql_print := parser
FUZZ_LAYER_gate := policy
define fuzz_rule
$(FUZZ_BUILD)/bin/fuzz_$(1): tests/fuzz/fuzz_$(1).c $(call upto_obj,$(or $(FUZZ_LAYER_$(1)),proxy/session))
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(LDFLAGS) -fsanitize=fuzzer -o $$@ $$(filter %.c %.o,$$^) $$(LDLIBS)
endef
$(foreach f,$(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)),$(eval $(call fuzz_rule,$(f))))

# The clients of `make test` and those that it leaves out for time, each asked through the proxy.
.PHONY: test-clients
test-clients:
	@tests/setup build test clients
	@$(MAKE) -s --no-print-directory $(JOBS) all
	@tests/tally "clients=CLIENTS=all $(PYTEST) -q tests/clients"

# Other people's suites at a server and, at its twin, through `serve --conformance`: about ten minutes, most of them the compiling
# of Go's on the first run. PGREGRESS=DIR runs the scripts of PostgreSQL's own src/test/regress in place of those that npm has.
.PHONY: test-conformance
test-conformance:
	@tests/setup build conformance
	@$(MAKE) -s --no-print-directory $(JOBS) all
	@tests/tally "conformance=$(PYTEST) -q -s $(ARGS) tests/conformance"

# The limits of `make test` at the sizes that docs/settings.md states: 5,000 clients, 1 GB to a slow reader, a million
# statements, valgrind; about ten minutes.
.PHONY: test-limits
test-limits:
	@tests/setup build test limits
	@$(MAKE) -s --no-print-directory $(JOBS) all
	@tests/tally "limits=LIMITS=full $(PYTEST) -q tests/limits"

# An upstream of several servers: what `make test` asks of it, and a dead machine and a storm of logins; two minutes.
.PHONY: test-hosts
test-hosts:
	@tests/setup build test
	@$(MAKE) -s --no-print-directory $(JOBS) all
	@tests/tally "hosts=HOSTS=all $(PYTEST) -q tests/integration/test_hosts.py"

# What a statement costs beside others' proxies: a quarter of an hour; BENCH_LONG=1 for more rounds, BENCH_ONLY for a part.
.PHONY: bench
bench:
	@tests/setup build test bench
	@$(MAKE) -s --no-print-directory $(JOBS) all
	@$(PYTHON) tests/bench/bench.py

# The container image, built and started; slow, so not part of `make test`.
.PHONY: test-docker
test-docker:
	@tests/setup docker
	@tests/docker/run

# A log of a million statements: what it costs its readers.
.PHONY: bench-log
bench-log: $(BUILD)/pgveil $(BUILD)/bench/fill_log
	@$(PYTHON) tests/bench/log.py $(BUILD)/bench/fill_log $(BUILD)/pgveil $(COUNT)
# What a durable log costs at 1, 8, 32 and 256 sessions; some minutes.
.PHONY: bench-durability
bench-durability:
	@tests/setup build test bench
	@$(MAKE) -s --no-print-directory $(JOBS) all
	@$(PYTHON) tests/bench/durability.py $(ROUNDS)
# What the first sight of a statement costs beyond PostgreSQL's parser.
.PHONY: bench-judge
bench-judge: $(BUILD)/bench/bench_judge
	@$(PYTHON) tests/bench/judge.py $<
$(BUILD)/bench/bench_judge: tests/bench/bench_judge.c $(call upto_obj,policy)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/bench/fill_log: tests/bench/fill_log.c $(call upto_obj,proxy/audit)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
