/*
 * pgveil's front: finds the config and the command, and runs that on a thread whose
 * stack has room for parsing.
 */
#include "policy/policy.h"
#include "proxy/app/commands.h"
#include "proxy/base/limits.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct call {
    int (*run)(const char *config_path, int argc, char **argv);
    const char *config_path;
    int argc;
    char **argv;
    int exit_code;
};

/* The query log is found through the config, which therefore has to be sound. */
static int
run_audit(const char *config_path, int argc, char **argv)
{
    struct pv_faults *faults;
    struct pv_policy *policy = NULL;
    int exit_code = 2;

    if (pv_command_audit_is_alone(argc, argv))
        return pv_command_audit(NULL, argc, argv);
    faults = pv_faults_new();
    if (faults == NULL || pv_policy_load(config_path, faults, &policy) != PV_OK) {
        for (size_t i = 0; faults != NULL && i < pv_faults_total(faults); i++) {
            const struct pv_fault *fault = pv_faults_at(faults, i);

            (void) fprintf(stderr, "%s:%u:%u: %s\n", fault->file, fault->line, fault->column, fault->message);
        }
        (void) fprintf(stderr, "pgveil audit: the config cannot be used, so it does not say where the log is\n");
    } else {
        exit_code = pv_command_audit(&policy->config, argc, argv);
        pv_policy_unref(policy);
    }
    pv_faults_free(faults);
    return exit_code;
}

static const struct {
    const char *name;
    int (*run)(const char *config_path, int argc, char **argv);
} commands[] = {
    {"serve", pv_command_serve},
    {"check", pv_command_check},
    {"provision", pv_command_provision},
    {"explain", pv_command_explain},
    {"audit", run_audit},
    {"approve", pv_command_approve},
    {"approvals", pv_command_approvals},
    {"consent", pv_command_consent},
    {"passwd", pv_command_passwd},
    {"help", pv_command_help},
    {"--help", pv_command_help},
    {"-h", pv_command_help},
    {"--version", pv_command_version},
    {"-V", pv_command_version},
};

/* `pgveil COMMAND --help`, and that of what `audit` does: no command takes it for anything else there. */
static bool
asks_for_help(int argc, char **argv)
{
    for (int i = 2; i < argc && (i == 2 || (i == 3 && strcmp(argv[1], "audit") == 0)); i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static void *
run_call(void *context)
{
    struct call *call = context;

    call->exit_code = call->run(call->config_path, call->argc, call->argv);
    return NULL;
}

static int
run_on_large_stack(struct call *call)
{
    pthread_attr_t attributes;
    pthread_t thread;

    if (pthread_attr_init(&attributes) != 0 || pthread_attr_setstacksize(&attributes, PV_PARSE_STACK_BYTES) != 0 ||
        pthread_create(&thread, &attributes, run_call, call) != 0) {
        (void) fprintf(stderr, "pgveil: cannot start a thread\n");
        return 2;
    }
    (void) pthread_attr_destroy(&attributes);
    (void) pthread_join(thread, NULL);
    return call->exit_code;
}

/* Takes `-c FILE` out of the words, wherever it stands before `--`; false when FILE is missing. */
static bool
take_config(int *argc, char **argv, const char **path)
{
    int kept = 1;
    bool is_over = false;

    for (int i = 1; i < *argc; i++) {
        is_over = is_over || strcmp(argv[i], "--") == 0;
        if (is_over || strcmp(argv[i], "-c") != 0) {
            argv[kept++] = argv[i];
            continue;
        }
        if (i + 1 == *argc)
            return false;
        *path = argv[++i];
    }
    argv[kept] = NULL;
    *argc = kept;
    return true;
}

int
main(int argc, char **argv)
{
    struct call call = {.config_path = "pgveil.json"};

    if (!take_config(&argc, argv, &call.config_path)) {
        (void) fprintf(stderr, "pgveil: -c needs the name of a config file\n");
        return 2;
    }
    if (argc < 2) {
        pv_usage_print();
        return 2;
    }
    for (size_t i = 0; i < PV_COUNT_OF(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            call.run = commands[i].run;
    if (call.run == NULL) {
        (void) fprintf(stderr, "pgveil: unknown command \"%s\"\n\n", argv[1]);
        pv_usage_print();
        return 2;
    }
    call.argc = argc - 2;
    call.argv = argv + 2;
    if (call.run != pv_command_help && call.run != pv_command_version && asks_for_help(argc, argv)) {
        call.run = pv_command_help;
        call.argc = 1;
        call.argv = argv + 1;
    }
    return run_on_large_stack(&call);
}
