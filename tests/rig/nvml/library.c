/* SPDX-License-Identifier: Apache-2.0 */
/* Start and end, versions, and how programs get from an index, UUID or bus id to a GPU. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "device.h"
#include "state.h"

static int users;
static char loaded_version[TEXT_SIZE]; /* of the library, as it was when this process loaded it */

/* The library on disk is replaced by an upgrade; this process keeps the one that it mapped. */
__attribute__((constructor)) static void remember_version(void) {
    state_refresh();
    if (state_text(SYSTEM, "library_version", loaded_version, sizeof loaded_version))
        state_text(SYSTEM, "driver_version", loaded_version, sizeof loaded_version);
}

/* Whether the loaded module is another version than our library; an unknown one matches. */
static int mismatched(void) {
    char module[TEXT_SIZE];
    if (state_text(SYSTEM, "driver_version", module, sizeof module)) return 0;
    if (!*loaded_version) strcpy(loaded_version, module);
    return strcmp(module, loaded_version) != 0;
}

int library_ready(void) {
    if (__atomic_load_n(&users, __ATOMIC_SEQ_CST) <= 0) return UNINITIALIZED;
    if (!state_is_there()) return DRIVER_NOT_LOADED;
    /* Another module than at init: it was unloaded in between, and our handles died with it. */
    return mismatched() ? UNINITIALIZED : SUCCESS;
}

static int init(void) {
    long long ignored;
    state_refresh();
    while (state_number_or(SYSTEM, "hang", 0)) {
        wait_milliseconds(50);
        state_refresh();
    }
    if (!state_is_there()) return DRIVER_NOT_LOADED;
    int code = state_number(SYSTEM, "init", &ignored);
    if (code != NOT_SUPPORTED && code != SUCCESS) return code;
    return mismatched() ? LIB_RM_VERSION_MISMATCH : SUCCESS;
}

EXPORT int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = init();
    if (code == SUCCESS) __atomic_add_fetch(&users, 1, __ATOMIC_SEQ_CST);
    return state_log(__func__, SYSTEM, code);
}

EXPORT int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
EXPORT int nvmlInit(void) { return nvmlInitWithFlags(0); }

EXPORT int nvmlShutdown(void) {
    if (__atomic_load_n(&users, __ATOMIC_SEQ_CST) <= 0)
        return state_log(__func__, SYSTEM, UNINITIALIZED);
    __atomic_sub_fetch(&users, 1, __ATOMIC_SEQ_CST);
    return state_log(__func__, SYSTEM, SUCCESS);
}

EXPORT const char *nvmlErrorString(int code) { return state_error_text(code); }

static int system_text(const char *function, const char *key, char *out, unsigned size) {
    state_refresh();
    int code = library_ready();
    if (code == SUCCESS) code = state_text(SYSTEM, key, out, size);
    return state_log(function, SYSTEM, code);
}

EXPORT int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    return system_text(__func__, "driver_version", out, size);
}

EXPORT int nvmlSystemGetNVMLVersion(char *out, unsigned size) {
    return system_text(__func__, "nvml_version", out, size);
}

static int cuda_version(const char *function, int *out) {
    long long value = 0;
    state_refresh();
    int code = library_ready();
    if (code == SUCCESS) code = state_number(SYSTEM, "cuda_version", &value);
    if (code == SUCCESS) *out = (int)value;
    return state_log(function, SYSTEM, code);
}

EXPORT int nvmlSystemGetCudaDriverVersion(int *out) { return cuda_version(__func__, out); }
EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *out) { return cuda_version(__func__, out); }

EXPORT int nvmlSystemGetProcessName(unsigned pid, char *out, unsigned size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/comm", pid);
    FILE *file = fopen(path, "re");
    if (!file) return state_log(__func__, SYSTEM, NOT_FOUND);
    if (!fgets(out, (int)size, file)) *out = 0;
    out[strcspn(out, "\n")] = 0;
    fclose(file);
    return state_log(__func__, SYSTEM, SUCCESS);
}

EXPORT int nvmlDeviceGetCount_v2(unsigned *out) {
    long long ignored;
    state_refresh();
    int code = library_ready();
    if (code == SUCCESS) code = state_number(SYSTEM, __func__, &ignored);
    if (code == NOT_SUPPORTED) code = SUCCESS;
    if (code == SUCCESS) *out = (unsigned)state_count();
    return state_log(__func__, SYSTEM, code);
}

static int handle_of(const char *function, int section, handle_t *out) {
    int gpu;
    int code = library_ready();
    if (code == SUCCESS && section == SYSTEM) code = INVALID_ARGUMENT;
    if (code == SUCCESS) code = device_enter(function, device_of_section(section), &gpu);
    if (code == SUCCESS) *out = device_of_section(section);
    return state_log(function, section, code);
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, handle_t *out) {
    state_refresh();
    return handle_of(__func__, state_gpu_at(index), out);
}

static int handle_by(const char *function, const char *key, const char *wanted, handle_t *out) {
    char found[TEXT_SIZE];
    state_refresh();
    for (int gpu = 0; gpu < MAX_GPUS; gpu++)
        if (state_has(gpu) && !state_text(gpu, key, found, sizeof found) &&
            !strcasecmp(found, wanted))
            return handle_of(function, gpu, out);
    return state_log(function, SYSTEM, NOT_FOUND);
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, handle_t *out) {
    return handle_by(__func__, "uuid", uuid, out);
}

EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, handle_t *out) {
    return handle_by(__func__, "pci_bus_id", bus_id, out);
}
