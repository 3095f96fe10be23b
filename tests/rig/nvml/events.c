/* SPDX-License-Identifier: Apache-2.0 */
/* Events: each raise of a GPU's `xid_count` is one Xid, `xid`, for every set that watches it. */
#include <stdlib.h>

#include "device.h"
#include "state.h"

struct event_set {
    unsigned long long watched[MAX_GPUS];
    long long told[MAX_GPUS];
};

EXPORT int nvmlEventSetCreate(struct event_set **out) {
    state_refresh();
    int code = library_ready();
    if (code == SUCCESS && !(*out = calloc(1, sizeof **out))) code = UNKNOWN;
    return state_log(__func__, SYSTEM, code);
}

EXPORT int nvmlEventSetFree(struct event_set *set) {
    free(set);
    return state_log(__func__, SYSTEM, SUCCESS);
}

EXPORT int nvmlDeviceGetSupportedEventTypes(handle_t device, unsigned long long *out) {
    return device_ull(__func__, device, "event_types", out);
}

EXPORT int nvmlDeviceRegisterEvents(handle_t device, unsigned long long types,
                                    struct event_set *set) {
    int gpu;
    int code = device_enter(__func__, device, &gpu);
    if (code == SUCCESS && types & ~(unsigned long long)state_number_or(gpu, "event_types", 0))
        code = NOT_SUPPORTED;
    if (code == SUCCESS) {
        set->watched[gpu] |= types;
        set->told[gpu] = state_number_or(gpu, "xid_count", 0); /* nothing from before now */
    }
    return state_log(__func__, gpu, code);
}

static int next_event(struct event_set *set, event_data_t *out) {
    for (int gpu = 0; gpu < MAX_GPUS; gpu++) {
        if (!(set->watched[gpu] & EVENT_XID)) continue;
        long long raised = state_number_or(gpu, "xid_count", 0);
        if (raised < set->told[gpu]) set->told[gpu] = raised; /* the machine was set up anew */
        if (raised <= set->told[gpu]) continue;
        set->told[gpu]++;
        *out = (event_data_t){device_of_section(gpu), EVENT_XID,
                              (unsigned long long)state_number_or(gpu, "xid", 0), NO_INSTANCE,
                              NO_INSTANCE};
        return 1;
    }
    return 0;
}

static int wait_for_event(const char *function, struct event_set *set, event_data_t *out,
                          unsigned milliseconds) {
    for (unsigned waited = 0;; waited += 20) {
        state_refresh();
        int code = library_ready();
        if (code != SUCCESS) return state_log(function, SYSTEM, code);
        if (next_event(set, out)) return state_log(function, SYSTEM, SUCCESS);
        if (waited >= milliseconds) return state_log(function, SYSTEM, TIMEOUT);
        wait_milliseconds(20);
    }
}

EXPORT int nvmlEventSetWait_v2(struct event_set *set, event_data_t *out, unsigned milliseconds) {
    return wait_for_event(__func__, set, out, milliseconds);
}

EXPORT int nvmlEventSetWait(struct event_set *set, event_data_t *out, unsigned milliseconds) {
    return wait_for_event(__func__, set, out, milliseconds);
}
