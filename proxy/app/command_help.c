#include "proxy/app/commands.h"

#include "proxy/base/base.h"

#include <stdio.h>
#include <string.h>

/* One command: its name, how it is called, what it does in a line, and the rest. */
struct page {
    const char *name;
    const char *usage;
    const char *summary;
    const char *text;
};

static const struct page pages[] = {
    {"serve", "pgveil serve [-c FILE] [--conformance ROOM]", "run the proxy in the foreground",
     "Listens where the config says until SIGTERM or SIGINT, then drains: idle clients are\n"
     "disconnected at once, busy ones when their transaction ends or after limits.drain_timeout.\n"
     "SIGHUP loads config, users and rooms again, all or nothing.\n"
     "\n"
     "With \"tokens\" in the config, users who have no password or certificate of their own log in by\n"
     "bearer token (JWT), over TLS alone:\n"
     "  \"tokens\": {\"jwks\": \"jwks.json\", \"issuer\": \"...\", \"audience\": \"...\", \"clock_skew\": \"60s\",\n"
     "             \"user_claim\": \"sub\", \"roles_claim\": \"roles\", \"attributes_claim\": \"attributes\",\n"
     "             \"method\": \"password\", \"scope\": \"openid\"}\n"
     "The first three are required. The method \"password\" (the default) takes the token as the\n"
     "password, which every client can send; \"oauthbearer\" is SASL OAUTHBEARER, for clients of\n"
     "PostgreSQL 18. The key set is read again within seconds when its file changes. A room admits a\n"
     "token user by name or by a member \"role:NAME\". A session ends clock_skew after its token does.\n"
     "\n"
     "A user among the room's trusted_services asks for another member after SET pgveil.user = 'NAME',\n"
     "or with that setting in the startup packet; RESET pgveil.user, RESET ALL and DISCARD ALL end it.\n"
     "\n"
     "  --conformance ROOM  for tests only: this room answers every statement. Refused unless\n"
     "                      every listen address is a loopback one.\n"},
    {"check", "pgveil check [-c FILE]", "validate config, users and rooms",
     "Touches no network. Prints every fault as FILE:LINE:COLUMN: message, and what deserves\n"
     "a look as FILE:LINE:COLUMN: warning: message. Exits 1 when there is a fault.\n"},
    {"provision", "pgveil provision [-c FILE] [--room R] [--plan] [--drop]",
     "make roles, schemas and masked views in the database",
     "Run again, it changes what differs and nothing else.\n"
     "\n"
     "  --room R  this room alone\n"
     "  --plan    print the SQL that it would run, and change nothing\n"
     "  --drop    remove all that it made, and nothing else\n"},
    {"explain", "pgveil explain [-c FILE] --room R --user U [--json] SQL",
     "say what would be decided about a statement",
     "Needs no database. SQL is one argument, or - to read it from standard input; -- before it ends the\n"
     "options. With $1 in it, it is judged as when a driver prepares it. Prints decision, question,\n"
     "reason, hint, the SQL that would be forwarded, data sets and columns.\n"
     "Exits 1 when the statement would be denied.\n"
     "\n"
     "  --room R  the room that is asked\n"
     "  --user U  the member who asks\n"
     "  --json    print one JSON object\n"},
    {"audit", "pgveil audit [-c FILE] list|show|query|verify|head|seal|export ...", "read the query log",
     "  list                  the newest records first\n"
     "    --room R --user U --decision allowed|denied --since TIME --limit N --json\n"
     "    TIME: 2026-01-31T12:00:00Z, 2026-01-31, or how long ago: 90s, 30min, 12h, 7d\n"
     "  show SEQ              one record whole\n"
     "  query SQL             read-only SQL over the view query_log\n"
     "  verify [--head FILE]  check the hash chain, and against a head that was kept elsewhere\n"
     "  head                  print the newest signed head\n"
     "  seal                  move records into a sealed segment now\n"
     "  verify --export FILE [--key PUBLIC_KEY]  check an export of records, without the log\n"
     "  export --format jsonl|csv|records\n"
     "  --mask                list, show, query, export: statements without their literals\n"
     "\n"
     "verify exits 1 when the log was tampered with.\n"},
    {"approve",
     "pgveil approve [-c FILE] --room R --question Q --party P --key FILE\n"
     "       pgveil approve [-c FILE] --room R --question Q --print",
     "sign a question for a party",
     "Records the signature of a party under a question as it stands: its text, its output\n"
     "controls and the definition of every data set it reads. A change to any of them makes the\n"
     "approval stale. FILE is the party's Ed25519 private key in PEM; a key that does not belong to\n"
     "the party's public_key in the room is refused, with exit status 1.\n"
     "\n"
     "  --print  print what would be signed, word for word, and sign nothing; no key is needed\n"},
    {"approvals", "pgveil approvals [-c FILE] --room R [--json]", "list the approvals of a room",
     "Prints each approval that a question needs with its state: valid, missing, or stale. Of a\n"
     "stale one it shows what has changed since it was signed.\n"
     "\n"
     "  --room R  the room\n"
     "  --json    print one JSON array\n"},
    {"consent", "pgveil consent [-c FILE] --room R [--question Q | --dataset D] --party P --key FILE withdraw|grant",
     "withdraw a party's consent, or grant it again",
     "Withdrawn consent stops the question, the data set or the whole room within a second, running\n"
     "queries included, without a restart. FILE is the party's Ed25519 private key in PEM.\n"},
    {"passwd", "pgveil passwd [--user U]", "make a password's verifier",
     "Reads a password from standard input and prints its SCRAM-SHA-256 verifier, which is what\n"
     "the users' file holds.\n"
     "\n"
     "  --user U  whose password it is, for whoever reads the command; the verifier does not hang on it\n"},
    {"help", "pgveil help [COMMAND]", "say this, or what a command does", "pgveil --version prints the version.\n"},
};

static int
print_overview(FILE *to)
{
    fprintf(to, "pgveil %s, a PostgreSQL proxy that turns a database into a data clean room\n\n", PV_VERSION);
    fprintf(to, "usage: pgveil [-c FILE] COMMAND ...\n\n");
    for (size_t i = 0; i < PV_COUNT_OF(pages); i++)
        fprintf(to, "  %-10s %s\n", pages[i].name, pages[i].summary);
    fprintf(to, "\n-c FILE names the config, before or after the command; the default is pgveil.json.\n"
                "`pgveil help COMMAND` says more.\n\n"
                "Exit status: 0 yes or done; 1 the answer is no; 2 it could not run.\n");
    return fflush(to) == 0 ? 0 : 2;
}

static const struct page *
find_page(const char *name)
{
    for (size_t i = 0; i < PV_COUNT_OF(pages); i++)
        if (strcmp(pages[i].name, name) == 0)
            return &pages[i];
    return NULL;
}

int
pv_command_help(const char *config_path, int argc, char **argv)
{
    const struct page *page;

    (void) config_path;
    if (argc == 0)
        return print_overview(stdout);
    page = find_page(argv[0]);
    if (argc > 1 || page == NULL) {
        fprintf(stderr, "pgveil help: no command \"%s\"; `pgveil help` lists them\n", argv[argc > 1 ? 1 : 0]);
        return 2;
    }
    printf("%s - %s\n\nusage: %s\n\n%s", page->name, page->summary, page->usage, page->text);
    return fflush(stdout) == 0 ? 0 : 2;
}

int
pv_command_version(const char *config_path, int argc, char **argv)
{
    (void) config_path;
    (void) argc;
    (void) argv;
    return printf("pgveil %s\n", PV_VERSION) < 0 || fflush(stdout) != 0 ? 2 : 0;
}

bool
pv_option_take(const char *name, int argc, char **argv, int *at, const char **value)
{
    size_t len = strlen(name);

    if (strncmp(argv[*at], name, len) != 0 || (argv[*at][len] != '\0' && argv[*at][len] != '='))
        return false;
    if (argv[*at][len] == '=')
        *value = argv[*at] + len + 1;
    else
        *value = *at + 1 < argc ? argv[++*at] : NULL;
    if (*value != NULL && **value == '\0')
        *value = NULL;
    return true;
}

int
pv_option_refuse(const char *command, const char *word, bool is_without_value, const char *usage)
{
    (void) fprintf(stderr, "pgveil %s: %s: %s\nusage: pgveil %s\n", command,
                   is_without_value ? "an option needs a value" : "not known here", word, usage);
    return 2;
}

void
pv_usage_print(void)
{
    (void) print_overview(stderr);
}
