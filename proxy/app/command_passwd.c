#include "proxy/app/commands.h"
#include "proxy/crypto/mac.h"
#include "proxy/crypto/scram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* PostgreSQL's own default. */
#define ITERATIONS 4096u
/* One more than the longest password and its line's end, so that a longer one is seen. */
#define LINE_SIZE (PV_SCRAM_PASSWORD_BYTES_MAX + 3u)

/* One line of standard input without its end, byte by byte so that nothing is left in a library's buffer. -1: no line. */
static ssize_t
read_line(char *line)
{
    size_t len = 0;
    ssize_t got;
    char c;

    while ((got = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n') {
        if (len >= LINE_SIZE)
            break;
        line[len++] = c;
    }
    if (got < 0 || (got == 0 && len == 0))
        return -1;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    return (ssize_t) len;
}

static ssize_t
ask(const char *prompt, char *line)
{
    struct termios before, quiet;
    bool has_terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    ssize_t len;

    if (!has_terminal)
        return read_line(line);
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t) ECHO;
    fprintf(stderr, "%s", prompt);
    (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    len = read_line(line);
    (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fprintf(stderr, "\n");
    return len;
}

/* From a pipe once; at a terminal twice, which must agree. -1 after words on standard error. */
static ssize_t
read_password(char *password)
{
    char again[LINE_SIZE];
    ssize_t len = ask("Password: ", password);
    ssize_t again_len;
    bool is_equal = true;

    if (len < 0) {
        fprintf(stderr, "pgveil passwd: no password on standard input\n");
        return -1;
    }
    if (isatty(STDIN_FILENO)) {
        again_len = ask("The same again: ", again);
        is_equal = again_len == len && memcmp(password, again, (size_t) len) == 0;
        pv_wipe(again, sizeof(again));
    }
    if (!is_equal) {
        fprintf(stderr, "pgveil passwd: the two are not the same\n");
        return -1;
    }
    return len;
}

static enum pv_status
make_verifier(struct pv_slice password, struct pv_buf *text)
{
    uint8_t salt[PV_SCRAM_SALT_BYTES];
    struct pv_scram_verifier verifier;
    enum pv_status status = pv_random_bytes(salt, sizeof(salt));

    if (status == PV_OK)
        status = pv_scram_verifier_make(password, ITERATIONS, pv_slice_of(salt, sizeof(salt)), &verifier);
    if (status == PV_OK)
        status = pv_scram_verifier_format(&verifier, text);
    pv_wipe(&verifier, sizeof(verifier));
    return status;
}

/* --user names whose password it is, for whoever reads the command; the verifier does not hang on it. */
static bool
are_arguments_usable(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *user = NULL, *word = argv[i];
        bool is_user = pv_option_take("--user", argc, argv, &i, &user);

        if (user == NULL) {
            (void) pv_option_refuse("passwd", word, is_user, "passwd [--user U]");
            return false;
        }
    }
    return true;
}

int
pv_command_passwd(const char *config_path, int argc, char **argv)
{
    char password[LINE_SIZE];
    struct pv_buf text = {0};
    ssize_t len;
    enum pv_status status;
    int exit_code = 2;

    (void) config_path;
    if (!are_arguments_usable(argc, argv))
        return 2;
    len = read_password(password);
    if (len < 0)
        goto done;
    status = make_verifier(pv_slice_of(password, (size_t) len), &text);
    if (status == PV_INVALID)
        fprintf(stderr, "pgveil passwd: a password is 1 to %u bytes of UTF-8\n", PV_SCRAM_PASSWORD_BYTES_MAX);
    else if (status != PV_OK || pv_buf_text(&text) == NULL)
        fprintf(stderr, "pgveil passwd: %s\n", pv_status_words(status == PV_OK ? PV_NOMEM : status));
    else
        exit_code = printf("%s\n", pv_buf_text(&text)) < 0 ? 2 : 0;
    if (exit_code == 0 && fflush(stdout) != 0)
        exit_code = 2;
done:
    pv_wipe(password, sizeof(password));
    pv_buf_clear(&text);
    return exit_code;
}
