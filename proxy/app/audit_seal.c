#include "proxy/app/audit_command.h"

#include "policy/policy.h"
#include "proxy/audit/segment.h"

#include <inttypes.h>
#include <stdio.h>

int
pv_audit_seal(const struct pv_audit_options *options)
{
    const struct pv_config *config = options->config;
    const struct pv_seal_options seal = {.is_now = true,
                                         .segment_bytes = config->segment_bytes,
                                         .retention_bytes = config->retention_bytes,
                                         .retention_age_ms = config->retention_age_ms,
                                         .is_file_shipped = config->ship_file != NULL,
                                         .is_syslog_shipped = config->ship_syslog != NULL};
    struct pv_seal_result result;
    char error[PV_AUDIT_ERROR_SIZE];

    if (pv_log_seal(config->state_path, &seal, &result, error, sizeof(error)) != PV_OK)
        return pv_audit_failed(error);
    if (result.sealed == 0)
        (void) printf("nothing to seal\n");
    else
        (void) printf("sealed %" PRIu64 " records, up to record %" PRIu64 "\n", result.records, result.last_seq);
    if (result.retired > 0)
        (void) printf("retired %" PRIu64 " segment%s\n", result.retired, result.retired == 1 ? "" : "s");
    return fflush(stdout) == 0 ? DONE : pv_audit_failed("cannot write to standard output");
}
