# Builds Orrery: one shared module per Lua version, a static library for host programs, specs, checks, packages.
# `make help` lists the targets. Versions differ only in the folder of lua.h, so every build lives in its own
# build/NAME and several can stand side by side.

LUA = 5.4
PREFIX = /usr/local
ALL_LUAS = 5.4 5.3 5.2 5.1 luajit

OUT = build/$(LUA)
LUA_INCDIR = $(firstword $(wildcard $(addsuffix /$(LUA_FOLDER),/usr/include /usr/local/include)))
LUA_FOLDER = $(if $(filter luajit,$(LUA)),luajit-2.1,lua$(LUA))

# make's own default is cc, which need not exist where only clang does.
ifeq ($(origin CC),default)
CC := $(notdir $(firstword $(shell command -v gcc || command -v clang) cc))
endif

# CFLAGS is the caller's (luarocks and distributions set it); what the sources need is always added.
CFLAGS = -O2 -g
WARNINGS = -Wall -Wextra -Wpedantic $(if $(filter true,$(CI)),-Werror)
# Assertions vanish from release builds only: make ASSERT=1, asan and valgrind keep them.
DEFINES = $(if $(ASSERT),,-DNDEBUG)
SANITIZERS = $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
INCLUDES = -I$(LUA_INCDIR) $(if $(SQLITE_INCDIR),-I$(SQLITE_INCDIR)) -Ibuild
STD = c11
# Functions begin on a cache line: else a change anywhere before them makes the small ones faster or slower by a tenth.
LAYOUT = -falign-functions=64
COMPILE = $(CC) -std=$(STD) $(CFLAGS) $(LAYOUT) -fPIC -fvisibility=hidden $(WARNINGS) $(DEFINES) $(SANITIZERS) $(INCLUDES)
LIBFLAG = -shared
LIBS = $(if $(SQLITE_LIBDIR),-L$(SQLITE_LIBDIR)) -lsqlite3 -lm

SOURCES = $(sort $(wildcard src/core/*.c src/driver/*.c src/lua/*.c))
OBJECTS = $(SOURCES:src/%.c=$(OUT)/%.o)
CHUNKS = $(shell sed 's,.*,lua/orrery/&.lua,' lua/orrery/ORDER)

Q = $(if $(V),,@)# make V=1 shows the commands
BOOTSTRAP = scripts/bootstrap
MAKEFLAGS += --no-print-directory

.PHONY: all library modules demo test test-all asan valgrind lint fault fuzz concurrency coverage mutation soak check bench annotations embed-example install install-rock \
        clean help FORCE
.DELETE_ON_ERROR:

all: $(OUT)/orrery.so $(OUT)/liborrery.a $(if $(filter build/5.4,$(OUT)),orrery.so) ## the module and the static library for Lua 5.4 (LUA=5.1, 5.2, 5.3, luajit: for that one)

library: $(OUT)/orrery.so

# Versions side by side: make modules LUAS="5.4 5.1".
LUAS = $(ALL_LUAS)
modules: $(LUAS:%=module-%)
module-%: FORCE
	@$(MAKE) LUA=$* all

# A script run in the checkout finds the module by Lua's default "./?.so".
orrery.so: build/5.4/orrery.so
	@ln -sf $< $@

$(OUT)/orrery.so: $(OBJECTS)
	$(if $(V),,@echo "ld  $@")
	$(Q)$(CC) $(LIBFLAG) $(LDFLAGS) $(SANITIZERS) -o $@ $(OBJECTS) $(LIBS)

$(OUT)/liborrery.a: $(OBJECTS)
	@rm -f $@
	$(Q)$(AR) rcs $@ $(OBJECTS)

$(OUT)/%.o: src/%.c $(OUT)/flags
	@test -f "$(LUA_INCDIR)/lua.h" || { echo "no lua.h for Lua $(LUA): run scripts/bootstrap, or give LUA_INCDIR" >&2; exit 1; }
	@mkdir -p $(@D)
	$(if $(V),,@echo "cc  $@")
	$(Q)$(COMPILE) -MMD -MP -c -o $@ $<

# Rewritten only when the command changes, so that another compiler, version or flag rebuilds everything.
$(OUT)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(COMPILE)' | cmp -s - $@ || echo '$(COMPILE)' > $@

# The sources serve where this machine has no interpreter of that version, and in states that are of another make.
LUA_PROGRAM = $(firstword $(foreach name,$(if $(filter luajit,$(LUA)),luajit,lua$(LUA)),$(shell command -v $(name))))
$(OUT)/lua/orrery.o: build/embedded.h $(OUT)/lua/precompiled.h
$(OUT)/lua/orrery.o: INCLUDES += -I$(OUT)/lua
$(OUT)/lua/precompiled.h: scripts/precompile lua/orrery/ORDER $(CHUNKS)
	@mkdir -p $(@D)
	$(Q)if [ -n "$(LUA_PROGRAM)" ]; then $(LUA_PROGRAM) scripts/precompile lua/orrery > $@; else echo '#define ORR_NO_CODE' > $@; fi
build/embedded.h: scripts/embed lua/orrery/ORDER $(CHUNKS)
	@mkdir -p $(@D)
	$(Q)scripts/embed > $@.$$$$ && mv $@.$$$$ $@

# What editors know of the library.
build/annotations/orrery.lua: scripts/annotate lua/orrery/ORDER $(CHUNKS)
	@mkdir -p $(@D)
	$(Q)$(LUA_PROGRAM) scripts/annotate lua/orrery > $@
annotations: build/annotations/orrery.lua ## build/annotations/orrery.lua, by which editors complete and check scripts

# ---- what one runs ----
# Targets that install packages start a second make, since the first one looked for compilers and headers already.

demo: ## installs what is missing, builds, runs the portfolio example (CHINOOK=file: also that one)
	@$(BOOTSTRAP)
	@$(MAKE) all
	@rm -f build/demo.db
	lua5.4 examples/portfolio.lua build/demo.db
	$(if $(CHINOOK),lua5.4 examples/chinook.lua "$(CHINOOK)")

test: ## every spec on Lua 5.4, a shorter run on 5.1 and LuaJIT (SPEC=file or folder: only that)
	@$(BOOTSTRAP)
	@$(MAKE) modules LUAS="5.4 5.1 luajit"
	@scripts/run-specs all:5.4 short:5.1 short:luajit

test-all: ## every spec on every Lua
	@$(BOOTSTRAP) --all
	@$(MAKE) modules
	@scripts/run-specs $(ALL_LUAS:%=all:%)

asan: ## specs under address, undefined-behaviour and leak sanitizers
	@$(BOOTSTRAP) --check
	@$(MAKE) library CC=gcc OUT=build/asan ASSERT=1 CFLAGS="-O1 -g" SANITIZE=address,undefined,float-cast-overflow
	@scripts/run-specs --asan build/asan all:5.4

valgrind: ## specs under valgrind
	@$(BOOTSTRAP) --check
	@$(MAKE) library OUT=build/valgrind ASSERT=1 CFLAGS="-O1 -g"
	@scripts/run-specs --valgrind build/valgrind short:5.4

lint: ## warnings of every compiler, luacheck, and the rules on who may use what
	@$(BOOTSTRAP) --check
	@scripts/lint

fault: ## every allocation, file call, write and commit made to fail (FAULT=quick: a sample, FAULT=full: every point)
	@$(BOOTSTRAP)
	@scripts/fault $(FAULT)

fuzz: ## libFuzzer on URLs, text(), hostile schemas, expressions, rows, object lives (FUZZ_SECONDS=60 each)
	@$(BOOTSTRAP) --check
	@scripts/fuzz

concurrency: ## processes, sessions and threads on one database at once (UNITS=500, HISTORIES=10000)
	@$(BOOTSTRAP) --check
	@$(MAKE) all
	@scripts/concurrency

coverage: ## which C branches and Lua lines the specs reach, file by file, and which spec reaches which line
	@$(BOOTSTRAP) --check
	@scripts/coverage

mutation: ## small changes to the C code: do the specs notice? (after coverage; COUNT=240, 0: every one)
	@$(BOOTSTRAP) --check
	@scripts/mutation $(COUNT)

check: ## all of it, before a change goes in
	@for step in test asan valgrind fuzz concurrency lint; do $(MAKE) $$step || exit 1; done

soak: all ## a million units of work in one process, whose memory and files must not grow (UNITS=1000000)
	@scripts/soak $(UNITS)

bench: all ## the measurements of bench/
	@test -x bench/run || { echo "there is no bench/run" >&2; exit 1; }
	bench/run

embed-example: all ## the C host program of examples/embed
	@$(MAKE) -C examples/embed CC=$(CC)

# ---- installing ----

LIBDIR = $(PREFIX)/lib
INST_LIBDIR = $(LIBDIR)/lua/$(if $(filter luajit,$(LUA)),5.1,$(LUA))

install: all $(if $(LUA_PROGRAM),build/annotations/orrery.lua) ## into PREFIX=/usr/local (DESTDIR is honoured)
	install -d "$(DESTDIR)$(INST_LIBDIR)" "$(DESTDIR)$(LIBDIR)" "$(DESTDIR)$(PREFIX)/include" "$(DESTDIR)$(PREFIX)/share/orrery"
	install -m 755 $(OUT)/orrery.so "$(DESTDIR)$(INST_LIBDIR)/orrery.so"
	install -m 644 $(OUT)/liborrery.a "$(DESTDIR)$(LIBDIR)/liborrery.a"
	install -m 644 src/orrery.h "$(DESTDIR)$(PREFIX)/include/orrery.h"
	$(if $(LUA_PROGRAM),install -m 644 build/annotations/orrery.lua "$(DESTDIR)$(PREFIX)/share/orrery/orrery.lua")

# Only the module: orrery-scm-1.rockspec says where.
install-rock: library
	install -d "$(INST_LIBDIR)"
	install -m 755 $(OUT)/orrery.so "$(INST_LIBDIR)/orrery.so"

clean: ## everything that was built
	rm -rf build orrery.so

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

-include $(OBJECTS:.o=.d)
