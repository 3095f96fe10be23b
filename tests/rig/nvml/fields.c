/* SPDX-License-Identifier: Apache-2.0 */
/* nvmlDeviceGetFieldValues: many values in one call, each with an outcome of its own. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "device.h"
#include "state.h"

static const struct {
    unsigned id;
    int type;
    const char *key;
} FIELDS[] = {
    {74, AS_ULL, "time_sw_power_cap_ns"},
    {75, AS_ULL, "time_thermal_ns"},
    {76, AS_ULL, "time_sync_boost_ns"},
    {77, AS_ULL, "time_board_limit_ns"},
    {78, AS_ULL, "time_low_util_ns"},
    {79, AS_ULL, "time_reliability_ns"},
    {82, AS_UINT, "memory_temperature"},
    {83, AS_ULL, "energy_mj"},
    {94, AS_UINT, "pcie_replays"},
    {142, AS_UINT, "remap_corrected"},
    {143, AS_UINT, "remap_uncorrected"},
    {144, AS_UINT, "remap_pending"},
    {145, AS_UINT, "remap_failed"},
    {185, AS_UINT, "power_mw"},
    {186, AS_UINT, "power_instant_mw"},
    {187, AS_UINT, "power_min_mw"},
    {188, AS_UINT, "power_max_mw"},
    {189, AS_UINT, "power_default_mw"},
    {190, AS_UINT, "power_enforced_mw"},
    {191, AS_ULL, "energy_mj"},
    {192, AS_UINT, "power_limit_mw"},
    {193, AS_SIGNED_INT, "margin_shutdown"},
    {194, AS_SIGNED_INT, "margin_slowdown"},
    {195, AS_SIGNED_INT, "margin_memory_max"},
    {196, AS_SIGNED_INT, "margin_gpu_max"},
    {230, AS_UINT, "recovery_action"},
};
enum { FIELD_COUNT = sizeof FIELDS / sizeof *FIELDS, ENFORCED_LIMIT = 190 };

static const char *const THERMAL_TIMES[] = {"time_sw_thermal_ns", "time_hw_thermal_ns",
                                            "time_hw_power_brake_ns"};

/* The first of three ids that moved: none up to 570, 251 in 575 and 580 before 580.82, then 269. */
static unsigned first_thermal_id(void) {
    char version[TEXT_SIZE];
    int major = 0, minor = 0;
    if (state_text(SYSTEM, "driver_version", version, sizeof version) == SUCCESS)
        sscanf(version, "%d.%d", &major, &minor);
    if (major < 575) return 0;
    return major < 580 || (major == 580 && minor < 82) ? 251 : 269;
}

static int key_of(unsigned id, unsigned thermal, char *key, size_t size) {
    for (int i = 0; i < FIELD_COUNT; i++)
        if (FIELDS[i].id == id) {
            snprintf(key, size, "%s", FIELDS[i].key);
            return FIELDS[i].type;
        }
    if (thermal && id >= thermal && id < thermal + 3)
        snprintf(key, size, "%s", THERMAL_TIMES[id - thermal]);
    else
        snprintf(key, size, "field_%u", id); /* whatever else a test wants to set */
    return AS_ULL;
}

static void fill(int gpu, unsigned thermal, field_value_t *field) {
    char key[40];
    long long value = 0;
    field->value_type = key_of(field->field_id, thermal, key, sizeof key);
    field->code = state_number(gpu, key, &value);
    if (field->field_id == ENFORCED_LIMIT && field->code == NOT_SUPPORTED)
        field->code = state_number(gpu, "power_limit_mw", &value);
    memset(&field->value, 0, sizeof field->value);
    if (field->code != SUCCESS) return;
    switch (field->value_type) {
    case AS_SIGNED_INT:
        field->value.as_int = (int)value;
        break;
    case AS_UINT:
        field->value.as_uint = (unsigned)value;
        break;
    default:
        field->value.as_ull = (unsigned long long)value;
    }
}

EXPORT int nvmlDeviceGetFieldValues(handle_t device, int count, field_value_t *fields) {
    int gpu;
    struct timespec now;
    int code = device_enter(__func__, device, &gpu);
    if (code != SUCCESS) return state_log(__func__, gpu, code);
    /* Very old drivers refuse the whole batch for one id that they do not know. */
    long long highest = state_number_or(SYSTEM, "highest_field", 0);
    for (int i = 0; i < count; i++)
        if (highest && fields[i].field_id > highest) return state_log(__func__, gpu, INVALID_ARGUMENT);
    unsigned thermal = first_thermal_id();
    clock_gettime(CLOCK_REALTIME, &now);
    for (int i = 0; i < count; i++) {
        fields[i].timestamp = (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
        fields[i].latency_us = 1;
        fill(gpu, thermal, &fields[i]);
    }
    return state_log(__func__, gpu, SUCCESS);
}
