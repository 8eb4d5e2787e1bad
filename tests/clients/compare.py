"""
How a client is judged: the same steps through pgveil and against the plain database give the same. A step whose name
begins `veil.` is one that pgveil refuses by intent; it runs there alone and has an expected result of its own.
"""
import subprocess

# Every client tries these: a write, a temporary table, a table that is no question, all of them with the session going on.
REFUSED = {
    "veil.temp": "42501 then 1",
    "veil.insert": "42501 then 1",
    "veil.table": "42501 then 1",
    "veil.transaction": "42501 25P02 then 1",
}


def run(command, end, cwd=None, timeout=300, **env):
    """A client program's steps: lines `name<TAB>value` on its standard output."""
    done = subprocess.run(command, env=dict(end.env, VEILED="1" if end.is_veiled else "", **env), cwd=cwd, timeout=timeout,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, "%s ended with %d: %s" % (command, done.returncode, done.stdout[-1500:] + done.stderr[-3000:])
    steps = {}
    for line in done.stdout.splitlines():
        name, tab, value = line.partition("\t")
        assert tab, "no step: %r" % line
        assert name not in steps, "twice: " + name
        steps[name] = value
    return steps


def check(veiled, plain, expected=None, minimum=5):
    """`veiled` and `plain` map a step to its result; `expected` is of the steps that are pgveil's alone."""
    ours = {name: value for name, value in veiled.items() if not name.startswith("veil.")}
    assert list(ours) == list(plain), (sorted(set(ours) ^ set(plain)))
    assert len(ours) >= minimum
    different = {name: (value, plain[name]) for name, value in ours.items() if value != plain[name]}
    assert not different, "through pgveil, plain: %r" % different
    refused = {name: value for name, value in veiled.items() if name.startswith("veil.")}
    assert refused == (REFUSED if expected is None else expected), refused
