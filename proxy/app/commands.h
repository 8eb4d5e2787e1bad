/*
 * One function a command. Each gets the words after the command's own and gives the
 * exit status of INTERFACE 1: 0 yes or done, 1 the answer is no, 2 it could not run.
 */
#ifndef PV_COMMANDS_H
#define PV_COMMANDS_H

int pv_command_audit(const char *state_path, int argc, char **argv);
/* argv: after `provision`: --room R, --plan, --drop. */
int pv_command_provision(const char *config_path, int argc, char **argv);

#endif
