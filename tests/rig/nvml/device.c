/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <time.h>

#include "state.h"

static struct gpu_handle handles[MAX_GPUS];

handle_t device_of_section(int section) {
    handles[section].section = section;
    return &handles[section];
}

void wait_milliseconds(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    nanosleep(&time, 0);
}

static int trouble(const char *function, int gpu) {
    long long ignored;
    if (!state_has(gpu)) return GPU_IS_LOST;
    long delay = (long)state_number_or(gpu, "delay_ms", 0);
    if (delay > 0) wait_milliseconds(delay); /* even a sleep of nothing takes 50 us */
    while (state_number_or(gpu, "hang", 0)) {
        wait_milliseconds(50);
        state_refresh();
    }
    if (state_number_or(gpu, "lost", 0)) return GPU_IS_LOST;
    if (state_number_or(gpu, "reset_required", 0)) return RESET_REQUIRED;
    int code = state_number(gpu, function, &ignored);
    if (code == NOT_SUPPORTED) code = state_number(SYSTEM, function, &ignored);
    /* NOT_SUPPORTED says that no error is set for this function; !3 cannot be told from it. */
    return code == NOT_SUPPORTED ? SUCCESS : code;
}

int device_enter(const char *function, handle_t device, int *gpu) {
    *gpu = SYSTEM;
    state_refresh();
    int code = library_ready();
    if (code != SUCCESS) return code;
    if (device < &handles[0] || device > &handles[MAX_GPUS - 1]) return INVALID_ARGUMENT;
    *gpu = device->section;
    return trouble(function, *gpu);
}

int device_ull(const char *function, handle_t device, const char *key, unsigned long long *out) {
    int gpu;
    long long value = 0;
    int code = device_enter(function, device, &gpu);
    if (code == SUCCESS) code = state_number(gpu, key, &value);
    if (code == SUCCESS) *out = (unsigned long long)value;
    return state_log(function, gpu, code);
}

int device_uint(const char *function, handle_t device, const char *key, unsigned *out) {
    unsigned long long value;
    int code = device_ull(function, device, key, &value);
    if (code == SUCCESS) *out = (unsigned)value;
    return code;
}

int device_int(const char *function, handle_t device, const char *key, int *out) {
    unsigned long long value;
    int code = device_ull(function, device, key, &value);
    if (code == SUCCESS) *out = (int)value;
    return code;
}

int device_text(const char *function, handle_t device, const char *key, char *out, unsigned size) {
    int gpu;
    int code = device_enter(function, device, &gpu);
    if (code == SUCCESS) code = state_text(gpu, key, out, size);
    return state_log(function, gpu, code);
}
