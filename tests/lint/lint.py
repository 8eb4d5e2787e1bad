#!/usr/bin/python3
"""
Checks that the code keeps to the tables beside this file: tests/lint/lint.py [BUILD] (default build). One line a check,
its breaches above it; the last line counts them. Exit status 1 when a check fails.
"""
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
LINES_MAX = 700
FORMATTED = ["proxy/base"]
# Words that name the place where somebody worked, in pieces so that this file does not match itself.
PLACES = re.compile("/ho" "me/|/ro" "ot/|/wo" "rk/|/tmp/b" "-|[.]lib" "rary|/Us" "ers/")
HOSTS = re.compile("docker[.]i" "o|gh" "cr[.]io|qu" "ay[.]io|gc" "r[.]io|pkg[.]d" "ev|deb[.]deb" "ian|pypi[.]o" "rg|npmjs[.]c" "om")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def table(name):
    """(key, words) of each row of a table file."""
    with open(os.path.join(HERE, name)) as source:
        for line in source:
            line = line.strip()
            if line and not line.startswith("#"):
                key, _, rest = line.partition(":")
                yield key.strip(), rest.strip()


LAYERS = {folder: rest.split() for folder, rest in table("layers.txt")}


def read(path):
    with open(os.path.join(TOP, path), errors="replace") as source:
        return source.read()


def sources(*kinds):
    for folder in LAYERS:
        where = os.path.join(TOP, folder)
        for name in sorted(os.listdir(where)) if os.path.isdir(where) else []:
            if name.endswith(kinds):
                yield folder, "%s/%s" % (folder, name)


def tracked():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True)
    return [path for path in done.stdout.split("\0") if path and os.path.isfile(os.path.join(TOP, path))]


def blank(text):
    """C source with comments and the contents of literals blanked, line numbers kept."""
    def spaces(match):
        piece = match.group(0)
        return re.sub(r"[^\n]", " ", piece) if piece.startswith("/") else piece[0] + " " * (len(piece) - 2) + piece[-1]
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', spaces, text, flags=re.S)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def check_layers():
    """folders include only doors of the folders that layers.txt names"""
    for folder, path in sources(".c", ".h"):
        text = read(path)
        for match in INCLUDE.finditer(text):
            if match.group(1) == "<":
                continue
            target = match.group(2)
            home, name = os.path.split(target)
            if home not in LAYERS:
                if not os.path.isdir("/usr/include/postgresql") or home.split("/")[0] in ("proxy", "policy", "tests"):
                    yield "%s:%d: includes %s, which is in no layer" % (path, line_of(text, match.start()), target)
            elif home != folder and home not in LAYERS[folder]:
                yield "%s:%d: includes %s; %s may not look there" % (path, line_of(text, match.start()), target, folder)
            elif home != folder and name.endswith("_int.h"):
                yield "%s:%d: includes %s, which is for %s alone" % (path, line_of(text, match.start()), target, home)


def check_libraries():
    """third-party headers are included by their owners only"""
    owners = [(prefix, rest.split()) for prefix, rest in table("libraries.txt")]
    for folder, path in sources(".c", ".h"):
        text = read(path)
        for match in INCLUDE.finditer(text):
            target = match.group(2)
            if os.path.split(target)[0] in LAYERS and match.group(1) == '"':
                continue
            for prefix, who in owners:
                if target.startswith(prefix) and folder not in who and path not in who:
                    yield "%s:%d: includes %s, owned by %s" % (path, line_of(text, match.start()), target, " ".join(who) or "nobody")


def check_banned():
    """no banned call"""
    allowed = {key for key, _ in table("allowed.txt")}
    instead = dict(table("banned.txt"))
    call = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(map(re.escape, instead)))
    for _, path in sources(".c", ".h"):
        text = blank(read(path))
        for match in call.finditer(text):
            if "%s %s" % (path, match.group(1)) not in allowed:
                yield "%s:%d: calls %s; use %s" % (path, line_of(text, match.start()), match.group(1), instead[match.group(1)])


def check_allowances():
    """every row of allowed.txt and libraries.txt is still needed"""
    for key, _ in table("allowed.txt"):
        path, name = key.split()
        if not os.path.exists(os.path.join(TOP, path)):
            yield "allowed.txt: %s is gone" % path
        elif not re.search(r"(?<![\w.>])%s\s*\(" % name, blank(read(path))):
            yield "allowed.txt: %s does not call %s" % (path, name)


def check_guards():
    """every header has an include guard PV_..._H of its own"""
    seen = {}
    for _, path in sources(".h"):
        match = re.search(r"^#ifndef (\w+)\n#define (\w+)$", blank(read(path)), re.M)
        if not match or match.group(1) != match.group(2) or not re.fullmatch(r"PV_\w+_H", match.group(1)):
            yield "%s: no include guard PV_..._H" % path
        elif match.group(1) in seen:
            yield "%s: its guard %s is that of %s" % (path, match.group(1), seen[match.group(1)])
        else:
            seen[match.group(1)] = path


def check_headers():
    """every header compiles alone"""
    include = next((p for p in ("/usr/include/postgresql/15/server",) if os.path.isdir(p)), "/usr/include")

    def compile_one(path):
        done = subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-I.", "-isystem", include, "-isystem", "/usr/include/postgresql",
                               "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c", "-"], cwd=TOP, text=True,
                              input='#include "%s"\nint pv_lint_unit;\n' % path, capture_output=True)
        return None if done.returncode == 0 else "%s: %s" % (path, done.stderr.strip().split("\n")[0])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from filter(None, pool.map(compile_one, [path for _, path in sources(".h")]))


def check_symbols(build):
    """external symbols begin pv_"""
    objects = [os.path.join(root, name) for folder in LAYERS
               for root, _, names in os.walk(os.path.join(build, "obj", folder)) for name in names if name.endswith(".o")]
    objects = [path for path in objects if os.path.exists(os.path.join(TOP, os.path.relpath(path, os.path.join(build, "obj"))[:-2] + ".c"))]
    if not objects:
        yield "no objects in %s/obj: build first" % build
        return
    done = subprocess.run(["nm", "-A", "-g", "--defined-only", *objects], capture_output=True, text=True)
    for line in done.stdout.splitlines():
        name = line.split()[-1]
        if not name.startswith(("pv_", "__asan", "__odr_asan", "__sanitizer", "__sancov")) and name != "main":
            yield "%s: %s" % (os.path.relpath(line.split(":")[0], build), name)


def check_places():
    """tracked files name no machine, no one's folder, no registry host"""
    for path in tracked():
        if path.endswith((".pem", ".bin", ".der")) or "/corpus/" in path or path == "tests/lint/lint.py":
            continue
        for number, line in enumerate(read(path).splitlines(), 1):
            found = PLACES.search(line) or HOSTS.search(line)
            if found:
                yield "%s:%d: %s" % (path, number, found.group(0))


def check_whitespace():
    """no tabs in C, no trailing blanks, a newline at the end"""
    for _, path in sources(".c", ".h"):
        text = read(path)
        if text and not text.endswith("\n"):
            yield "%s: no newline at the end" % path
        for number, line in enumerate(text.splitlines(), 1):
            if "\t" in line or line != line.rstrip():
                yield "%s:%d: tab or trailing blank" % (path, number)


def check_reasons():
    """every reason of a denial stands in docs/reasons.md, in the same words"""
    source, page = read("policy/decide.h"), read("docs/reasons.md")
    ours = dict(re.findall(r'X\([A-Z_]+, "([a-z_]+)", "([^"]+)"\)', source))
    theirs = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]+?) \|", page, re.M))
    if not ours:
        yield "policy/decide.h: no reasons found"
    for code in sorted(set(ours) | set(theirs)):
        if ours.get(code) != theirs.get(code):
            yield "docs/reasons.md: `%s` is %r there and %r in policy/decide.h" % (code, theirs.get(code), ours.get(code))


def check_documented():
    """every setting, key of a room and metric stands in docs"""
    pages = {"docs/settings.md": ["config", "upstream", "users", "token"],
             "docs/rooms.md": ["room", "dataset", "rule", "question", "param", "mask"]}
    for page, parts in pages.items():
        text = read(page)
        for source in ("policy/load_%s.c" % part for part in parts):
            keys = set(re.findall(r'(?:GROUP\(|KEY\((?:[\w.]+, )+|\{)"([a-z_]+)", (?:PV_J_|SCALAR)', read(source)))
            if not keys and source != "policy/load_mask.c":
                yield "%s: no keys found" % source
            for key in sorted(keys):
                if not re.search(r'[`".]%s[`".]' % key, text):
                    yield "%s: `%s` of %s is not there" % (page, key, source)
    text = read("docs/settings.md")
    for name in re.findall(r'^    \{"([a-z_]+)", PV_SETTING_', read("policy/settings.c"), re.M):
        if "`%s`" % name not in text:
            yield "docs/settings.md: what a client may SET or SHOW: `%s` is not there" % name
    metrics = re.findall(r'X\(\w+, "([a-z_]+)", "(?:gauge|counter)"', read("proxy/net/counters.h"))
    metrics += re.findall(r'(?:one|head|histogram)\(out, "([a-z_]+)"', read("proxy/console/metrics.c"))
    if not metrics:
        yield "proxy/net/counters.h, proxy/console/metrics.c: no metrics found"
    for name in metrics:
        if "`pgveil_%s`" % name not in text:
            yield "docs/settings.md: the metric `pgveil_%s` is not there" % name
    for name in sorted(set(re.findall(r"`pgveil_([a-z_]+)`", text)) - set(metrics)):
        yield "docs/settings.md: there is no metric `pgveil_%s`" % name


def check_tour():
    """README's tour names every source file, and none that is not there"""
    tour = read("README.md")
    tour = tour[tour.index("\n## The code, in reading order"):tour.index("\n## Tests")]
    named = {}
    for part in re.split(r"^\*\*([\w/]+)\*\*", tour, flags=re.M)[1:]:
        if re.fullmatch(r"[\w/]+", part):
            folder = part
        else:
            named[folder] = {re.sub(r"\.[ch]$", "", name) for cell in re.findall(r"^\| (`[^|]*) \|", part, re.M)
                             for name in re.findall(r"`([\w.]+)`", cell)}
    for folder in LAYERS:
        there = {os.path.basename(path) for where, path in sources(".c", ".h") if where == folder}
        stems = {re.sub(r"\.[ch]$", "", name) for name in there}
        ours = {stem for stem in stems if not (stem.endswith("_int") and stem[:-4] in stems)}
        for stem in sorted(ours - named.get(folder, set())):
            yield "README.md: %s/%s is not in the tour" % (folder, stem)
        for stem in sorted(named.get(folder, set()) - stems):
            yield "README.md: there is no %s/%s" % (folder, stem)


def check_format():
    """clang-format has nothing to say"""
    files = [path for folder, path in sources(".c", ".h") if folder in FORMATTED]
    done = subprocess.run(["clang-format", "--dry-run", *files], cwd=TOP, capture_output=True, text=True)
    yield from (line for line in done.stderr.splitlines() if "warning:" in line)


def main():
    build = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(TOP, "build"))
    checks = [(check_layers, ()), (check_libraries, ()), (check_banned, ()), (check_allowances, ()), (check_guards, ()),
              (check_headers, ()), (check_symbols, (build,)), (check_places, ()), (check_whitespace, ()), (check_reasons, ()),
              (check_documented, ()), (check_tour, ()), (check_format, ())]
    failed = 0
    for check, args in checks:
        breaches = list(check(*args))
        for breach in breaches:
            print("  " + breach)
        print("%s: %s" % ("FAILED" if breaches else "ok", check.__doc__))
        failed += bool(breaches)
    for _, path in sources(".c", ".h"):
        lines = read(path).count("\n")
        if lines > LINES_MAX:
            print("warning: %s has %d lines; perhaps more than one subject" % (path, lines))
    print("%d passed, %d failed" % (len(checks) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
