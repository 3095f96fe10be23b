/* SPDX-License-Identifier: Apache-2.0 */
/* Processes on a GPU: `processes = PID:BYTES PID:BYTES`, no bytes where they are not available. */
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "state.h"

static const unsigned long long NOT_AVAILABLE = ~0ull;

static int processes(const char *function, handle_t device, const char *key, unsigned *room,
                     process_info_t *out) {
    char list[TEXT_SIZE], *rest = list, *word;
    unsigned count = 0;
    int gpu;
    int code = device_enter(function, device, &gpu);
    if (code == SUCCESS) code = state_text(gpu, key, list, sizeof list);
    if (code == NOT_SUPPORTED) code = (*list = 0, SUCCESS);
    if (code != SUCCESS) return state_log(function, gpu, code);
    while ((word = strsep(&rest, " "))) {
        if (!*word) continue;
        char *colon = strchr(word, ':');
        if (out && count < *room)
            out[count] = (process_info_t){
                (unsigned)strtoul(word, NULL, 10),
                colon ? strtoull(colon + 1, NULL, 10) : NOT_AVAILABLE,
                NO_INSTANCE,
                NO_INSTANCE,
            };
        count++;
    }
    if (count > (out ? *room : 0)) code = INSUFFICIENT_SIZE;
    *room = count;
    return state_log(function, gpu, code);
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(handle_t device, unsigned *count,
                                                   process_info_t *out) {
    return processes(__func__, device, "processes", count, out);
}

EXPORT int nvmlDeviceGetGraphicsRunningProcesses_v3(handle_t device, unsigned *count,
                                                    process_info_t *out) {
    return processes(__func__, device, "graphics_processes", count, out);
}

EXPORT int nvmlDeviceGetProcessUtilization(handle_t device, void *out, unsigned *count,
                                           unsigned long long since) {
    int gpu;
    (void)out, (void)count, (void)since;
    int code = device_enter(__func__, device, &gpu);
    return state_log(__func__, gpu, code == SUCCESS ? NOT_FOUND : code); /* no samples */
}
