#include "policy/settings.h"

#include "proxy/base/limits.h"

#include <pthread.h>
#include <regex.h>
#include <string.h>
#include <strings.h>

#define UTF8_SPELLINGS "utf8|utf-8|unicode|'utf-8'|'utf8'|\"utf8\"|auto"
#define ON_SPELLINGS "on|true|yes|1|t|y"
/* Debug levels and `log` would show rewritten statements and plans. */
#define MESSAGE_LEVELS "notice|info|warning|error"

/* In place of a list of values. */
static const char zones[] = "a time zone";

static const struct pv_setting settings[] = {
    {"application_name", PV_SETTING_FORWARD, NULL, NULL},
    {"array_nulls", PV_SETTING_SHOWN, NULL, NULL},
    {"backslash_quote", PV_SETTING_FIXED, "safe_encoding|off", NULL},
    {"block_size", PV_SETTING_SHOWN, NULL, NULL},
    {"bytea_output", PV_SETTING_FORWARD, NULL, NULL},
    {"check_function_bodies", PV_SETTING_IGNORED, NULL, NULL},
    {"client_encoding", PV_SETTING_FIXED, UTF8_SPELLINGS, NULL},
    {"client_min_messages", PV_SETTING_FORWARD, MESSAGE_LEVELS, NULL},
    {"datestyle", PV_SETTING_FORWARD, NULL, NULL},
    {"default_table_access_method", PV_SETTING_IGNORED, NULL, NULL},
    {"default_tablespace", PV_SETTING_IGNORED, NULL, NULL},
    {"default_transaction_deferrable", PV_SETTING_FORWARD, NULL, NULL},
    {"default_transaction_isolation", PV_SETTING_FORWARD, NULL, NULL},
    {"default_transaction_read_only", PV_SETTING_IGNORED, NULL, NULL},
    {"enable_bitmapscan", PV_SETTING_FORWARD, NULL, NULL},
    {"enable_hashjoin", PV_SETTING_FORWARD, NULL, NULL},
    {"enable_indexscan", PV_SETTING_FORWARD, NULL, NULL},
    {"enable_mergejoin", PV_SETTING_FORWARD, NULL, NULL},
    {"enable_nestloop", PV_SETTING_FORWARD, NULL, NULL},
    {"enable_seqscan", PV_SETTING_FORWARD, NULL, NULL},
    {"enable_sort", PV_SETTING_FORWARD, NULL, NULL},
    {"escape_string_warning", PV_SETTING_IGNORED, NULL, NULL},
    {"extra_float_digits", PV_SETTING_FORWARD, NULL, NULL},
    {"geqo", PV_SETTING_FORWARD, NULL, NULL},
    {"idle_in_transaction_session_timeout", PV_SETTING_FORWARD, NULL, NULL},
    {"idle_session_timeout", PV_SETTING_FORWARD, NULL, NULL},
    {"in_hot_standby", PV_SETTING_SHOWN, NULL, NULL},
    {"integer_datetimes", PV_SETTING_SHOWN, NULL, NULL},
    {"intervalstyle", PV_SETTING_FORWARD, NULL, NULL},
    {"is_superuser", PV_SETTING_SHOWN, NULL, NULL},
    {"jit", PV_SETTING_FORWARD, NULL, NULL},
    {"lc_collate", PV_SETTING_SHOWN, NULL, NULL},
    {"lc_ctype", PV_SETTING_SHOWN, NULL, NULL},
    {"lc_messages", PV_SETTING_IGNORED, NULL, NULL},
    {"lc_monetary", PV_SETTING_SHOWN, NULL, NULL},
    {"lc_numeric", PV_SETTING_SHOWN, NULL, NULL},
    {"lc_time", PV_SETTING_SHOWN, NULL, NULL},
    {"lock_timeout", PV_SETTING_FORWARD, NULL, NULL},
    {"max_function_args", PV_SETTING_SHOWN, NULL, NULL},
    {"max_identifier_length", PV_SETTING_SHOWN, NULL, NULL},
    {"max_index_keys", PV_SETTING_SHOWN, NULL, NULL},
    {PV_SETTING_END_USER, PV_SETTING_USER, NULL, NULL},
    {"row_security", PV_SETTING_FIXED, ON_SPELLINGS, NULL},
    {"search_path", PV_SETTING_PATH, NULL, NULL},
    {"server_encoding", PV_SETTING_SHOWN, NULL, NULL},
    {"server_version", PV_SETTING_SHOWN, NULL, NULL},
    {"server_version_num", PV_SETTING_SHOWN, NULL, NULL},
    {"session_authorization", PV_SETTING_FIXED, "default", NULL},
    {"role", PV_SETTING_FIXED, "none", "none"},
    {"ssl", PV_SETTING_SHOWN, NULL, NULL},
    {"standard_conforming_strings", PV_SETTING_FIXED, ON_SPELLINGS, NULL},
    {"statement_timeout", PV_SETTING_FORWARD, NULL, NULL},
    {"synchronize_seqscans", PV_SETTING_IGNORED, NULL, NULL},
    {"synchronous_commit", PV_SETTING_IGNORED, NULL, NULL},
    {"tcp_keepalives_idle", PV_SETTING_IGNORED, NULL, NULL},
    {"timezone", PV_SETTING_FORWARD, zones, NULL},
    {"transaction_deferrable", PV_SETTING_SHOWN, NULL, NULL},
    {"transaction_isolation", PV_SETTING_FORWARD, NULL, NULL},
    {"transaction_read_only", PV_SETTING_SHOWN, NULL, NULL},
    {"transform_null_equals", PV_SETTING_FIXED, "off|false|no|0|f|n", NULL},
    {"work_mem", PV_SETTING_IGNORED, NULL, NULL},
    {"xmloption", PV_SETTING_IGNORED, NULL, NULL},
};

const struct pv_setting *
pv_setting_find(const char *name)
{
    for (size_t i = 0; i < PV_COUNT_OF(settings); i++)
        if (strcasecmp(settings[i].name, name) == 0)
            return &settings[i];
    return NULL;
}

bool
pv_setting_is_zone(const struct pv_setting *setting)
{
    return setting->values == zones;
}

static regex_t zone_regex;
static bool is_zone_regex_made;

static void
make_zone_regex(void)
{
    is_zone_regex_made = regcomp(&zone_regex, "^(" PV_ZONE_PATTERN ")$", REG_EXTENDED | REG_ICASE | REG_NOSUB) == 0;
}

static bool
is_zone(const char *value)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void) pthread_once(&once, make_zone_regex);
    return is_zone_regex_made && strlen(value) < PV_NAME_BYTES_MAX && regexec(&zone_regex, value, 0, NULL, 0) == 0;
}

bool
pv_setting_value_is_allowed(const struct pv_setting *setting, const char *value)
{
    size_t len = strlen(value);

    if (setting->values == NULL)
        return true;
    if (pv_setting_is_zone(setting))
        return is_zone(value);
    for (const char *at = setting->values; at != NULL;) {
        const char *bar = strchr(at, '|');
        size_t word = bar == NULL ? strlen(at) : (size_t) (bar - at);

        if (word == len && strncasecmp(at, value, len) == 0)
            return true;
        at = bar == NULL ? NULL : bar + 1;
    }
    return false;
}

size_t
pv_setting_count(void)
{
    return PV_COUNT_OF(settings);
}

const struct pv_setting *
pv_setting_at(size_t i)
{
    return &settings[i];
}
