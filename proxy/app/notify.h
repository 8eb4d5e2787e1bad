/*
 * Tells the service manager how we are (systemd's sd_notify protocol: a datagram to the
 * Unix socket that NOTIFY_SOCKET names). Without that variable it does nothing.
 */
#ifndef PV_NOTIFY_H
#define PV_NOTIFY_H

/* `state` is lines as sd_notify(3) has them: READY=1, RELOADING=1, STOPPING=1, STATUS=words. */
void pv_notify(const char *state);
/* RELOADING=1 with the time that the manager wants beside it (Type=notify-reload). */
void pv_notify_reloading(void);

#endif
