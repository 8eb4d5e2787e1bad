/* For this folder alone: reading keys. */
#ifndef PV_KEY_INT_H
#define PV_KEY_INT_H

/* The library's question for the passphrase of a key (pem_password_cb of OpenSSL): there is nobody to ask. */
int pv_no_passphrase(char *buffer, int size, int is_written, void *unused);

#endif
