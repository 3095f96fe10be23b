/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated host: sections [system] and [gpu N] of `key = value` lines in one file, which a
 * test replaces (by rename) while programs run. Every function here may be called by any thread.
 */
#ifndef NVSIM_STATE_H
#define NVSIM_STATE_H

#include <stddef.h>

enum { SYSTEM = -1, MAX_GPUS = 16, TEXT_SIZE = 512 };

/* Reads the file again if it was replaced; every NVML call begins with it. */
void state_refresh(void);

/* Whether there is a file with a [system]: without one no driver is loaded. */
int state_is_there(void);

/*
 * Copies a value out and returns SUCCESS; NOT_SUPPORTED where the key is absent, the error that it
 * names where the value is !NAME or !NUMBER, INSUFFICIENT_SIZE where it does not fit.
 */
int state_text(int gpu, const char *key, char *out, size_t size);
int state_number(int gpu, const char *key, long long *out);

/* The number, or `otherwise` where there is none. */
long long state_number_or(int gpu, const char *key, long long otherwise);

/* GPUs are numbered by their section; NVML's index counts those that are there. */
int state_count(void);
int state_gpu_at(unsigned index);
int state_index_of(int gpu);
int state_has(int gpu);

/* Writes a value back into the file, so that every process sees it. */
int state_store(int gpu, const char *key, long long value);

/* Appends "seconds pid function gpu|- code" to $NVSIM_LOG; returns the code. */
int state_log(const char *function, int gpu, int code);

/* What nvmlErrorString says. */
const char *state_error_text(int code);

#endif
