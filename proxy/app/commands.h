/*
 * One function a command. Each gets the words after the command's own and gives the
 * exit status of INTERFACE 1: 0 yes or done, 1 the answer is no, 2 it could not run.
 */
#ifndef PV_COMMANDS_H
#define PV_COMMANDS_H

#include <stdbool.h>

#define PV_VERSION "0.1.0"

struct pv_config; /* policy/policy.h */

/* `config` may be NULL where pv_command_audit_is_alone. */
int pv_command_audit(const struct pv_config *config, int argc, char **argv);
/* Whether this is about an export and a key that are given, so that no config is needed. */
bool pv_command_audit_is_alone(int argc, char **argv);
/* argv: after `provision`: --room R, --plan, --drop. */
int pv_command_provision(const char *config_path, int argc, char **argv);
int pv_command_check(const char *config_path, int argc, char **argv);
/* argv: after `passwd`: --user U. The config is not read. */
int pv_command_passwd(const char *config_path, int argc, char **argv);
/* argv: after `help`: the name of a command, or nothing. The config is not read. */
int pv_command_help(const char *config_path, int argc, char **argv);
int pv_command_version(const char *config_path, int argc, char **argv);
/* argv: after `serve`: --conformance ROOM. Ends when a signal has asked for it and every session is gone. */
int pv_command_serve(const char *config_path, int argc, char **argv);
/* argv: after `explain`: --room R, --user U, --json, the SQL or `-`. */
int pv_command_explain(const char *config_path, int argc, char **argv);
/* argv: after `approve`: --room R, --question Q, --party P, --key FILE, --print. */
int pv_command_approve(const char *config_path, int argc, char **argv);
/* argv: after `approvals`: --room R, --json. */
int pv_command_approvals(const char *config_path, int argc, char **argv);
/* argv: after `consent`: --room R, --question Q or --dataset D, --party P, --key FILE, withdraw or grant. */
int pv_command_consent(const char *config_path, int argc, char **argv);
/*
 * True where argv[*at] is the option `name`, as `name VALUE` or `name=VALUE`; *at is moved to its last word. *value is NULL
 * where there is none.
 */
bool pv_option_take(const char *name, int argc, char **argv, int *at, const char **value);
/* Words on standard error for argv[at], which a command does not take or which lacks its value; usage behind them. Always 2. */
int pv_option_refuse(const char *command, const char *word, bool is_without_value, const char *usage);
/* The list of commands on standard error, for a call that names none or an unknown one. */
void pv_usage_print(void);

#endif
