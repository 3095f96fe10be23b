/* SPDX-License-Identifier: Apache-2.0 */
/* What every call on a GPU does first, and the common shapes of calls. */
#ifndef NVSIM_DEVICE_H
#define NVSIM_DEVICE_H

#include "abi.h"

struct gpu_handle {
    int section;
};

/* Whether nvmlInit has succeeded in this process; UNINITIALIZED or what else is wrong if not. */
int library_ready(void);

handle_t device_of_section(int section);
void wait_milliseconds(long milliseconds);

/*
 * Takes the call: the handle must be one, the GPU there; then delay_ms, hang, lost, reset_required
 * and an error that the state has under the function's name. Sets *gpu even when it fails.
 */
int device_enter(const char *function, handle_t device, int *gpu);

/* A whole call that gives one value of the state, with its line in the log. */
int device_uint(const char *function, handle_t device, const char *key, unsigned *out);
int device_ull(const char *function, handle_t device, const char *key, unsigned long long *out);
int device_int(const char *function, handle_t device, const char *key, int *out);
int device_text(const char *function, handle_t device, const char *key, char *out, unsigned size);

#endif
