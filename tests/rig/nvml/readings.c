/* SPDX-License-Identifier: Apache-2.0 */
/* What a GPU tells of itself, one value or one structure a call. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "device.h"
#include "state.h"

/* ---- who it is ---- */

EXPORT int nvmlDeviceGetIndex(handle_t device, unsigned *out) {
    int gpu;
    int code = device_enter(__func__, device, &gpu);
    if (code == SUCCESS) *out = (unsigned)state_index_of(gpu);
    return state_log(__func__, gpu, code);
}

EXPORT int nvmlDeviceGetMinorNumber(handle_t device, unsigned *out) {
    int gpu;
    int code = device_enter(__func__, device, &gpu);
    if (code == SUCCESS) *out = (unsigned)gpu;
    return state_log(__func__, gpu, code);
}

#define TEXT_CALL(function, key)                                                                   \
    EXPORT int function(handle_t device, char *out, unsigned size) {                               \
        return device_text(#function, device, key, out, size);                                     \
    }

TEXT_CALL(nvmlDeviceGetName, "name")
TEXT_CALL(nvmlDeviceGetUUID, "uuid")
TEXT_CALL(nvmlDeviceGetSerial, "serial")
TEXT_CALL(nvmlDeviceGetVbiosVersion, "vbios")
TEXT_CALL(nvmlDeviceGetGspFirmwareVersion, "gsp_version")

EXPORT int nvmlDeviceGetPciInfo_v3(handle_t device, pci_info_t *out) {
    char id[TEXT_SIZE];
    int code = device_text(__func__, device, "pci_bus_id", id, sizeof id);
    if (code != SUCCESS) return code;
    memset(out, 0, sizeof *out);
    if (sscanf(id, "%x:%x:%x", &out->domain, &out->bus, &out->device) != 3) return UNKNOWN;
    snprintf(out->bus_id, sizeof out->bus_id, "%08X:%02X:%02X.0", out->domain, out->bus & 0xff,
             out->device & 0xff);
    snprintf(out->bus_id_legacy, sizeof out->bus_id_legacy, "%04X:%02X:%02X.0",
             out->domain & 0xffff, out->bus & 0xff, out->device & 0xff);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetCudaComputeCapability(handle_t device, int *major, int *minor) {
    char value[TEXT_SIZE];
    int code = device_text(__func__, device, "compute_capability", value, sizeof value);
    if (code != SUCCESS) return code;
    return sscanf(value, "%d.%d", major, minor) == 2 ? SUCCESS : UNKNOWN;
}

/* ---- one number ---- */

#define UINT_CALL(function, key)                                                                   \
    EXPORT int function(handle_t device, unsigned *out) {                                          \
        return device_uint(#function, device, key, out);                                           \
    }
#define ULL_CALL(function, key)                                                                    \
    EXPORT int function(handle_t device, unsigned long long *out) {                                \
        return device_ull(#function, device, key, out);                                            \
    }

UINT_CALL(nvmlDeviceGetPowerUsage, "power_mw")
UINT_CALL(nvmlDeviceGetPowerManagementLimit, "power_limit_mw")
UINT_CALL(nvmlDeviceGetPowerManagementDefaultLimit, "power_default_mw")
UINT_CALL(nvmlDeviceGetFanSpeed, "fan")
UINT_CALL(nvmlDeviceGetNumFans, "fans")
UINT_CALL(nvmlDeviceGetPerformanceState, "pstate")
UINT_CALL(nvmlDeviceGetPowerState, "pstate")
UINT_CALL(nvmlDeviceGetPersistenceMode, "persistence")
UINT_CALL(nvmlDeviceGetComputeMode, "compute_mode")
UINT_CALL(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation")
UINT_CALL(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_generation_max")
UINT_CALL(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
UINT_CALL(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max")
UINT_CALL(nvmlDeviceGetPcieReplayCounter, "pcie_replays")
UINT_CALL(nvmlDeviceGetBrand, "brand")
UINT_CALL(nvmlDeviceGetArchitecture, "architecture")
UINT_CALL(nvmlDeviceGetRetiredPagesPendingStatus, "retired_pending")
ULL_CALL(nvmlDeviceGetTotalEnergyConsumption, "energy_mj")
ULL_CALL(nvmlDeviceGetCurrentClocksEventReasons, "reasons")
ULL_CALL(nvmlDeviceGetCurrentClocksThrottleReasons, "reasons")
ULL_CALL(nvmlDeviceGetSupportedClocksEventReasons, "reasons_supported")
ULL_CALL(nvmlDeviceGetSupportedClocksThrottleReasons, "reasons_supported")

/* ---- power, temperature, clocks ---- */

EXPORT int nvmlDeviceGetEnforcedPowerLimit(handle_t device, unsigned *out) {
    int gpu;
    long long value = 0;
    int code = device_enter(__func__, device, &gpu);
    if (code == SUCCESS) code = state_number(gpu, "power_enforced_mw", &value);
    /* Nothing else limits the card: what was asked for is in force. */
    if (code == NOT_SUPPORTED) code = state_number(gpu, "power_limit_mw", &value);
    if (code == SUCCESS) *out = (unsigned)value;
    return state_log(__func__, gpu, code);
}

EXPORT int nvmlDeviceGetPowerManagementLimitConstraints(handle_t device, unsigned *low,
                                                        unsigned *high) {
    int gpu;
    long long least = 0, most = 0;
    int code = device_enter(__func__, device, &gpu);
    if (code == SUCCESS) code = state_number(gpu, "power_min_mw", &least);
    if (code == SUCCESS) code = state_number(gpu, "power_max_mw", &most);
    if (code == SUCCESS) *low = (unsigned)least, *high = (unsigned)most;
    return state_log(__func__, gpu, code);
}

EXPORT int nvmlDeviceGetTemperature(handle_t device, int sensor, unsigned *out) {
    return sensor ? INVALID_ARGUMENT : device_uint(__func__, device, "temperature", out);
}

EXPORT int nvmlDeviceGetTemperatureV(handle_t device, temperature_v1_t *out) {
    if (out->version != STRUCT_VERSION(temperature_v1_t, 1)) return ARGUMENT_VERSION_MISMATCH;
    if (out->sensor) return INVALID_ARGUMENT;
    return device_int(__func__, device, "temperature", &out->temperature);
}

EXPORT int nvmlDeviceGetTemperatureThreshold(handle_t device, int which, unsigned *out) {
    static const char *const KEYS[] = {
        "threshold_shutdown",     "threshold_slowdown",         "threshold_memory_max",
        "threshold_gpu_max",      "threshold_acoustic_minimum", "threshold_acoustic_current",
        "threshold_acoustic_max", "threshold_gps_current"};
    if (which < 0 || which >= (int)(sizeof KEYS / sizeof *KEYS)) return INVALID_ARGUMENT;
    return device_uint(__func__, device, KEYS[which], out);
}

EXPORT int nvmlDeviceGetMarginTemperature(handle_t device, margin_v1_t *out) {
    if (out->version != STRUCT_VERSION(margin_v1_t, 1)) return ARGUMENT_VERSION_MISMATCH;
    return device_int(__func__, device, "margin", &out->margin);
}

static int clock_of(const char *function, handle_t device, int type, const char *form,
                    unsigned *out) {
    static const char *const DOMAINS[] = {"graphics", "sm", "memory", "video"};
    char key[40];
    if (type < 0 || type > 3) return INVALID_ARGUMENT;
    snprintf(key, sizeof key, form, DOMAINS[type]);
    return device_uint(function, device, key, out);
}

EXPORT int nvmlDeviceGetClockInfo(handle_t device, int type, unsigned *out) {
    return clock_of(__func__, device, type, "clock_%s", out);
}

EXPORT int nvmlDeviceGetMaxClockInfo(handle_t device, int type, unsigned *out) {
    return clock_of(__func__, device, type, "clock_%s_max", out);
}

EXPORT int nvmlDeviceGetViolationStatus(handle_t device, int policy, violation_time_t *out) {
    static const char *const KEYS[] = {"time_sw_power_cap_ns", "time_thermal_ns",
                                       "time_sync_boost_ns",   "time_board_limit_ns",
                                       "time_low_util_ns",     "time_reliability_ns"};
    struct timespec now;
    if (policy < 0 || policy >= (int)(sizeof KEYS / sizeof *KEYS)) return NOT_SUPPORTED;
    clock_gettime(CLOCK_REALTIME, &now);
    out->reference_time_us =
        (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000;
    return device_ull(__func__, device, KEYS[policy], &out->violation_time_ns);
}

/* ---- work and memory ---- */

EXPORT int nvmlDeviceGetUtilizationRates(handle_t device, utilization_t *out) {
    int gpu;
    long long work = 0, memory = 0;
    int code = device_enter(__func__, device, &gpu);
    if (code == SUCCESS) code = state_number(gpu, "utilization", &work);
    if (code == SUCCESS) code = state_number(gpu, "memory_utilization", &memory);
    if (code == SUCCESS) out->gpu = (unsigned)work, out->memory = (unsigned)memory;
    return state_log(__func__, gpu, code);
}

static int sampled(const char *function, handle_t device, const char *key, unsigned *out,
                   unsigned *period_us) {
    *period_us = 166666;
    return device_uint(function, device, key, out);
}

EXPORT int nvmlDeviceGetEncoderUtilization(handle_t device, unsigned *out, unsigned *period_us) {
    return sampled(__func__, device, "encoder_utilization", out, period_us);
}

EXPORT int nvmlDeviceGetDecoderUtilization(handle_t device, unsigned *out, unsigned *period_us) {
    return sampled(__func__, device, "decoder_utilization", out, period_us);
}

static int memory_of(const char *function, handle_t device, memory_v2_t *out) {
    int gpu;
    long long total = 0, used = 0;
    int code = device_enter(function, device, &gpu);
    if (code == SUCCESS) code = state_number(gpu, "memory_total", &total);
    if (code == SUCCESS) code = state_number(gpu, "memory_used", &used);
    if (code == SUCCESS) {
        out->total = (unsigned long long)total;
        out->used = (unsigned long long)used;
        out->reserved = (unsigned long long)state_number_or(gpu, "memory_reserved", 0);
        out->free = out->total - out->used - out->reserved;
        if (out->used + out->reserved > out->total) out->free = 0;
    }
    return state_log(function, gpu, code);
}

EXPORT int nvmlDeviceGetMemoryInfo(handle_t device, memory_t *out) {
    memory_v2_t memory = {0};
    int code = memory_of(__func__, device, &memory);
    if (code != SUCCESS) return code;
    /* The old call knows no reserve: it counts it as used. */
    *out = (memory_t){memory.total, memory.free, memory.used + memory.reserved};
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(handle_t device, memory_v2_t *out) {
    if (out->version != STRUCT_VERSION(memory_v2_t, 2)) return ARGUMENT_VERSION_MISMATCH;
    return memory_of(__func__, device, out);
}

EXPORT int nvmlDeviceGetPcieThroughput(handle_t device, int counter, unsigned *out) {
    wait_milliseconds(20); /* the real call measures for 20 ms */
    return device_uint(__func__, device, counter ? "pcie_rx_kb" : "pcie_tx_kb", out);
}

/* ---- health ---- */

static int now_and_pending(const char *function, handle_t device, const char *key, unsigned *now,
                           unsigned *pending) {
    int code = device_uint(function, device, key, now);
    if (code == SUCCESS) *pending = *now;
    return code;
}

EXPORT int nvmlDeviceGetEccMode(handle_t device, unsigned *now, unsigned *pending) {
    return now_and_pending(__func__, device, "ecc", now, pending);
}

EXPORT int nvmlDeviceGetMigMode(handle_t device, unsigned *now, unsigned *pending) {
    return now_and_pending(__func__, device, "mig", now, pending);
}

EXPORT int nvmlDeviceIsMigDeviceHandle(handle_t device, unsigned *out) {
    int gpu;
    int code = device_enter(__func__, device, &gpu);
    if (code == SUCCESS) *out = 0;
    return state_log(__func__, gpu, code);
}

EXPORT int nvmlDeviceGetTotalEccErrors(handle_t device, int severity, int counter,
                                       unsigned long long *out) {
    static const char *const KEYS[2][2] = {
        {"ecc_corrected_volatile", "ecc_corrected_aggregate"},
        {"ecc_uncorrected_volatile", "ecc_uncorrected_aggregate"}};
    if (severity < 0 || severity > 1 || counter < 0 || counter > 1) return INVALID_ARGUMENT;
    return device_ull(__func__, device, KEYS[severity][counter], out);
}

EXPORT int nvmlDeviceGetRemappedRows(handle_t device, unsigned *corrected, unsigned *uncorrected,
                                     unsigned *pending, unsigned *failed) {
    unsigned *const OUT[] = {corrected, uncorrected, pending, failed};
    static const char *const KEYS[] = {"remap_corrected", "remap_uncorrected", "remap_pending",
                                       "remap_failed"};
    int gpu;
    int code = device_enter(__func__, device, &gpu);
    for (int i = 0; i < 4 && code == SUCCESS; i++) {
        long long value = 0;
        code = state_number(gpu, KEYS[i], &value);
        *OUT[i] = (unsigned)value;
    }
    return state_log(__func__, gpu, code);
}

EXPORT int nvmlDeviceGetRetiredPages(handle_t device, int cause, unsigned *count,
                                     unsigned long long *out) {
    int gpu;
    long long pages = 0;
    int code = device_enter(__func__, device, &gpu);
    if (code == SUCCESS)
        code = state_number(gpu, cause ? "retired_double_bit" : "retired_single_bit", &pages);
    if (code == SUCCESS && pages > (out ? (long long)*count : 0)) code = INSUFFICIENT_SIZE;
    for (long long i = 0; code == SUCCESS && i < pages; i++) out[i] = (unsigned long long)i << 12;
    if (code == SUCCESS || code == INSUFFICIENT_SIZE) *count = (unsigned)pages;
    return state_log(__func__, gpu, code);
}
