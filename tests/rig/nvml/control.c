/* SPDX-License-Identifier: Apache-2.0 */
/* What changes a GPU: the value goes back into the state, so that every process sees it. */
#include <stdio.h>
#include <string.h>

#include "device.h"
#include "state.h"

enum { CAP_SYS_ADMIN_BIT = 21 };

/* The driver asks for the capability, not for the uid. */
static int permitted(void) {
    char line[256];
    unsigned long long effective = 0;
    FILE *file = fopen("/proc/self/status", "re");
    if (!file) return NO_PERMISSION;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "CapEff: %llx", &effective) == 1) break;
    fclose(file);
    return effective >> CAP_SYS_ADMIN_BIT & 1 ? SUCCESS : NO_PERMISSION;
}

static int enter_to_change(const char *function, handle_t device, int *gpu) {
    int code = device_enter(function, device, gpu);
    return code == SUCCESS ? permitted() : code;
}

EXPORT int nvmlDeviceSetPowerManagementLimit(handle_t device, unsigned milliwatts) {
    int gpu;
    long long low = 0, high = 0;
    int code = enter_to_change(__func__, device, &gpu);
    if (code == SUCCESS) code = state_number(gpu, "power_min_mw", &low);
    if (code == SUCCESS) code = state_number(gpu, "power_max_mw", &high);
    if (code == SUCCESS && (milliwatts < low || milliwatts > high)) code = INVALID_ARGUMENT;
    /* Some cards say yes and go on as before. */
    if (code == SUCCESS && !state_number_or(gpu, "power_set_ignored", 0))
        code = state_store(gpu, "power_limit_mw", milliwatts);
    return state_log(__func__, gpu, code);
}

EXPORT int nvmlDeviceSetPersistenceMode(handle_t device, unsigned mode) {
    int gpu;
    long long now;
    int code = enter_to_change(__func__, device, &gpu);
    if (code == SUCCESS) code = state_number(gpu, "persistence", &now);
    if (code == SUCCESS) code = state_store(gpu, "persistence", mode);
    return state_log(__func__, gpu, code);
}

static int lock_clocks(const char *function, handle_t device, unsigned low, unsigned high) {
    int gpu;
    long long now;
    int code = enter_to_change(function, device, &gpu);
    if (code == SUCCESS) code = state_number(gpu, "clock_graphics", &now);
    if (code == SUCCESS) code = state_store(gpu, "locked_clock_min", low);
    if (code == SUCCESS) code = state_store(gpu, "locked_clock_max", high);
    return state_log(function, gpu, code);
}

EXPORT int nvmlDeviceSetGpuLockedClocks(handle_t device, unsigned low, unsigned high) {
    return low > high ? INVALID_ARGUMENT : lock_clocks(__func__, device, low, high);
}

EXPORT int nvmlDeviceResetGpuLockedClocks(handle_t device) {
    return lock_clocks(__func__, device, 0, 0);
}
