# pgveil. `make` builds build/pgveil; `make demo` and `make test` set up what they need.
# BUILD names the output folder; FLAVOR is release, debug, asan, tsan or fuzz.

FLAVOR ?= release
BUILD  ?= build$(if $(filter-out release,$(FLAVOR)),/$(FLAVOR))$(if $(findstring clang,$(CC)),/clang)
PG_SERVER_INCLUDE ?= $(firstword $(wildcard /usr/include/postgresql/15/server))

# The layers, lowest first: tests/lint/layers.txt holds the same order with what each may include.
FOLDERS := proxy/base proxy/crypto proxy/wire parser policy proxy/audit proxy/session proxy/net proxy/console proxy/app

WARNINGS := -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wcast-qual -Wformat=2 -Wswitch-enum -Wvla \
            -Wnull-dereference -Wstrict-prototypes -Wmissing-prototypes -Werror
CFLAGS_release := -O2 -g -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
CFLAGS_debug   := -O0 -g
CFLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_tsan    := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
LDFLAGS_asan   := -fsanitize=address,undefined
LDFLAGS_tsan   := -fsanitize=thread
LDFLAGS_fuzz   := -fsanitize=address,undefined

override CFLAGS += -std=gnu17 -D_GNU_SOURCE -I. -isystem $(PG_SERVER_INCLUDE) -isystem /usr/include/postgresql \
                   $(WARNINGS) $(CFLAGS_$(FLAVOR)) -fPIE -pthread -MMD -MP
override LDFLAGS += -pie -pthread -Wl,-z,relro,-z,now $(LDFLAGS_$(FLAVOR))
comma := ,
# The parser goes in with the program where the archive is there: its calls and its variables of a thread are then reached
# without a detour, an eighth of a parse, and none of its names can stand in for another library's.
PG_QUERY := $(filter /%,$(shell $(CC) -print-file-name=libpg_query.a))
LDLIBS := $(if $(PG_QUERY),$(PG_QUERY) -Wl$(comma)--exclude-libs$(comma)libpg_query.a,-lpg_query) -levent -levent_openssl -levent_pthreads -lssl -lcrypto -ljansson -lsqlite3 -lpq -lm

# The page's charting library goes into the binary; CHART_JS names another copy of it (Chart.js 3).
CHART_JS ?= /usr/share/javascript/chart.js/chart.min.js

MAIN_SRC := proxy/app/main.c
folder_src = $(filter-out $(MAIN_SRC),$(wildcard $(1)/*.c))
folder_obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(call folder_src,$(1)))
# A folder with everything below it, so that a unit test links its own layer and nothing above.
upto = $(if $(filter $(firstword $(2)),$(1)),$(firstword $(2)),$(firstword $(2)) $(call upto,$(1),$(wordlist 2,99,$(2))))
upto_obj = $(foreach f,$(call upto,$(1),$(FOLDERS)),$(call folder_obj,$(f)))
ALL_OBJ := $(foreach f,$(FOLDERS),$(call folder_obj,$(f)))

.PHONY: all clean
all: $(BUILD)/pgveil

$(BUILD)/pgveil: $(patsubst %.c,$(BUILD)/obj/%.o,$(MAIN_SRC)) $(ALL_OBJ)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

$(BUILD)/obj/proxy/console/assets.o: CFLAGS += -DPV_CHART_JS='"$(CHART_JS)"'
$(BUILD)/obj/proxy/console/assets.o: $(wildcard proxy/console/page/*) $(wildcard $(CHART_JS))

# Unit tests: tests/unit/<folder>/test_*.c, each a cmocka program. `make unit-wire` runs one folder.
UNIT_FOLDERS := base crypto wire parser policy audit session net console app
layer_of = $(firstword $(filter %/$(1) $(1),$(FOLDERS)))
define unit_rules
UNIT_BIN_$(1) := $(patsubst tests/unit/$(1)/%.c,$(BUILD)/unit/$(1)/%,$(wildcard tests/unit/$(1)/test_*.c))
$(BUILD)/unit/$(1)/%: tests/unit/$(1)/%.c $(call upto_obj,$(call layer_of,$(1)))
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$(filter %.c %.o,$$^) $$(LDLIBS) -lcmocka
.PHONY: unit-$(1)
unit-$(1): $$(UNIT_BIN_$(1))
	@set -e; for t in $$^; do echo "== $$$$t"; $$$$t; done
endef
$(foreach f,$(UNIT_FOLDERS),$(eval $(call unit_rules,$(f))))
.PHONY: unit
unit: $(addprefix unit-,$(UNIT_FOLDERS))

-include tests/tests.mk

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
