"""
The recipes of docs/tools.md, as they are written there: each code block is taken out of the document, given what stands
around it in a program of its language, and run at the demo's room. What a recipe prints holds what the question answers.
"""
import os
import re
import subprocess
from urllib.parse import quote

import psycopg
import pytest

from tests.clients.conftest import End
from tests.clients.test_programs import JDBC, npm
from tests.lib.pgveil import TOP

GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "-p=2"}
# A block of several lines in a fence, under its section; `tried` ones are programs that the packages of tests/setup run.
BLOCK = re.compile(r"^## (?P<section>[^\n]*)$|^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)


def blocks():
    """(section, language, text) in the document's order."""
    with open(os.path.join(TOP, "docs", "tools.md")) as source:
        document = source.read()
    found, section = [], ""
    for match in BLOCK.finditer(document):
        if match.group("section") is not None:
            section = match.group("section")
        else:
            found.append((section, match.group("language"), match.group("text")))
    return found


BLOCKS = blocks()


def block(language, needle):
    found = [text for _, kind, text in BLOCKS if kind == language and needle in text]
    assert len(found) == 1, (language, needle, len(found))
    return found[0]


GO_MAIN = """package main
import (%s)
func main() {
    %s
    %s
    if err != nil { panic(err) }
    for rows.Next() {
        var campaign string
        var sales any
        if err := rows.Scan(&campaign, &sales); err != nil { panic(err) }
        fmt.Println(campaign, sales)
    }
    if err := rows.Err(); err != nil { panic(err) }
}
"""
JAVA_MAIN = """public class Recipe { public static void main(String[] a) throws Exception {
    String password = System.getenv("PASSWORD");
    %s
    var r = p.executeQuery();
    while (r.next()) System.out.println(r.getString("campaign"));
} }
"""
# name: (language, what is in the block, file, what stands around it, command, part of `make test-clients` alone)
RECIPES = {
    "psql": ("sh", "sales_by_campaign(channel => 'video')\"\npsql", "recipe.sh", "set -e\n%s", ["bash", "recipe.sh"], False),
    "psycopg 3": ("python", "import os, psycopg\n", "recipe.py", "%s", ["/usr/bin/python3", "recipe.py"], False),
    "psycopg 2": ("python", "import os, psycopg2", "recipe.py", "%s", ["/usr/bin/python3", "recipe.py"], False),
    "pandas": ("python", "import os, pandas", "recipe.py", "%s", ["/usr/bin/python3", "recipe.py"], False),
    "jdbc": ("java", "DriverManager", "Recipe.java", JAVA_MAIN, ["java", "-cp", JDBC, "Recipe.java"], False),
    "odbc": ("sh", "isql", "recipe.sh", "set -e\n%s", ["bash", "recipe.sh"], False),
    "node": ("js", "require('pg')", "recipe.js", "(async () => {\n%s\nconsole.log(rows); await client.end(); })();", ["node", "recipe.js"], False),
    "grafana": ("sql", "AS \"time\"", "recipe.sql", "%s", ["psql", "-X", "", "-f", "recipe.sql"], False),
    "r": ("r", "RPostgreSQL", "recipe.R", "%s", ["Rscript", "recipe.R"], True),
    "lib/pq": ("go", "sql.Open", "main.go", GO_MAIN % ('"database/sql"; "fmt"; "os"; _ "github.com/lib/pq"', "", "%s"), ["go", "run", "main.go"], True),
    "pgx": ("go", "pgx.Connect", "main.go", GO_MAIN % ('"context"; "fmt"; "os"; "github.com/jackc/pgx/v4"', "ctx := context.Background()", "%s"), ["go", "run", "main.go"], True),
    "perl": ("perl", "DBI->connect", "recipe.pl", "use strict; use DBI; my $password = $ENV{PASSWORD};\n%s\nprint join(\" \", @$_), \"\\n\" for @$rows;\n", ["perl", "recipe.pl"], True),
    "php": ("php", "new PDO", "recipe.php", "<?php $password = getenv('PASSWORD');\n%s\nforeach ($rows as $row) echo implode(' ', $row), \"\\n\";\n", ["php", "recipe.php"], True),
    "ruby": ("ruby", "PG.connect", "recipe.rb", "require 'pg'\n%s\nputs rows.values.inspect\n", ["ruby", "recipe.rb"], True),
}


@pytest.fixture(scope="module")
def demo(stand):
    return End(stand[1].tap.port, True, dbname="retail_media")


@pytest.fixture(scope="module")
def room(demo):
    return "postgresql://%s:%s@127.0.0.1:%d/%s" % (demo.user, quote(demo.password), demo.port, demo.dbname)


def test_every_block_is_a_recipe():
    """None is left untried but the line that sets ROOM."""
    tried = [block(language, needle) for language, needle, *_ in RECIPES.values()]
    assert len(set(tried)) == len(RECIPES)
    assert [text for _, _, text in BLOCKS if text not in tried] == ["export ROOM='postgresql://alice:PASSWORD@127.0.0.1:6432/retail_media'\n"]


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name, demo, room, tmp_path):
    language, needle, path, around, command, is_extra = RECIPES[name]
    if is_extra and os.environ.get("CLIENTS") != "all":
        pytest.skip("part of `make test-clients`")
    text = block(language, needle).replace("6432", str(demo.port)).replace("PASSWORD", demo.password)
    (tmp_path / path).write_text(around.replace("%s", text))
    env = dict(os.environ, ROOM=room, PASSWORD=demo.password, LC_ALL="C.UTF-8", XDG_CACHE_HOME=str(tmp_path), **(GO if language == "go" else {}))
    if language == "go":
        env["GOCACHE"] = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "pgveil-clients", "gocache")
    if language == "js":
        env["NODE_PATH"] = npm("pg@8")
    command = [room if argument == "" else argument for argument in command]
    done = subprocess.run(command, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-2500:]
    with psycopg.connect(room, sslmode="disable") as conn:
        campaigns = conn.execute("SELECT campaign FROM questions.sales_by_campaign(channel => 'video')").fetchall()
        people = conn.execute("SELECT count(*) FROM questions.segment(region => 'North')").fetchone()[0]
    assert len(campaigns) > 1 and people > 10
    if name == "psycopg 2":
        assert done.stdout.count("**'") == 10, done.stdout
    else:
        assert [c for c, in campaigns if c not in done.stdout] == [], done.stdout + done.stderr
    if name == "psycopg 3":
        assert done.stdout.strip().endswith(str(people))
    if name == "psql":
        assert len((tmp_path / "segment.csv").read_text().splitlines()) == people + 1
