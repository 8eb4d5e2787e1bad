#include "policy/policy.h"
#include "proxy/app/commands.h"

#include <stdio.h>

static void
print_faults(const struct pv_faults *faults, FILE *to)
{
    for (size_t i = 0; i < pv_faults_total(faults); i++) {
        const struct pv_fault *fault = pv_faults_at(faults, i);

        fprintf(to, "%s:%u:%u: %s%s\n", fault->file, fault->line, fault->column, fault->is_warning ? "warning: " : "",
                fault->message);
    }
}

static void
print_sound(const char *config_path, const struct pv_policy *policy)
{
    printf("%s: ok: %zu %s, %zu %s\n", config_path, policy->room_count, policy->room_count == 1 ? "room" : "rooms",
           policy->user_count, policy->user_count == 1 ? "user" : "users");
}

int
pv_command_check(const char *config_path, int argc, char **argv)
{
    struct pv_faults *faults;
    struct pv_policy *policy = NULL;
    enum pv_status status;
    int exit_code;

    if (argc > 0) {
        fprintf(stderr, "pgveil check: unexpected argument \"%s\"\n", argv[0]);
        return 2;
    }
    faults = pv_faults_new();
    if (faults == NULL) {
        fprintf(stderr, "pgveil check: %s\n", pv_status_words(PV_NOMEM));
        return 2;
    }
    status = pv_policy_load(config_path, faults, &policy);
    if (status == PV_OK || status == PV_INVALID)
        print_faults(faults, stdout);
    else if (status == PV_IO)
        print_faults(faults, stderr);
    else
        fprintf(stderr, "pgveil check: %s\n", pv_status_words(status));
    if (status == PV_OK) {
        print_sound(config_path, policy);
        pv_policy_unref(policy);
    }
    exit_code = status == PV_OK ? 0 : status == PV_INVALID ? 1 : 2;
    pv_faults_free(faults);
    if (fflush(stdout) != 0) {
        fprintf(stderr, "pgveil check: cannot write the answer\n");
        return 2;
    }
    return exit_code;
}
