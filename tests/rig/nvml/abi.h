/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What crosses the border between a program and libnvidia-ml.so.1: error codes and the layouts of
 * the few structures that the simulated library fills. Written for this project; abi_check.c
 * compares each layout with NVIDIA's own header where that is installed.
 */
#ifndef NVSIM_ABI_H
#define NVSIM_ABI_H

#define EXPORT __attribute__((visibility("default")))

enum code {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    TIMEOUT = 10,
    GPU_IS_LOST = 15,
    RESET_REQUIRED = 16,
    LIB_RM_VERSION_MISMATCH = 18,
    ARGUMENT_VERSION_MISMATCH = 25,
    UNKNOWN = 999
};

/* nvmlFieldValue_t.valueType */
enum value_type { AS_DOUBLE = 0, AS_UINT = 1, AS_ULL = 3, AS_SIGNED_INT = 5 };

enum { EVENT_XID = 0x8, NO_INSTANCE = 0xffffffff };

typedef struct gpu_handle *handle_t;

typedef struct {
    unsigned long long total, free, used;
} memory_t;

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} memory_v2_t;

typedef struct {
    unsigned gpu, memory;
} utilization_t;

typedef struct {
    char bus_id_legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} pci_info_t;

typedef struct {
    unsigned field_id, scope_id;
    long long timestamp, latency_us;
    int value_type;
    int code;
    union {
        double as_double;
        int as_int;
        unsigned as_uint;
        unsigned long long as_ull;
    } value;
} field_value_t;

typedef struct {
    unsigned pid;
    unsigned long long used_bytes;
    unsigned gpu_instance, compute_instance;
} process_info_t;

typedef struct {
    handle_t device;
    unsigned long long event_type, event_data;
    unsigned gpu_instance, compute_instance;
} event_data_t;

typedef struct {
    unsigned version;
    int sensor, temperature;
} temperature_v1_t;

typedef struct {
    unsigned version;
    int margin;
} margin_v1_t;

typedef struct {
    unsigned long long reference_time_us, violation_time_ns;
} violation_time_t;

/* NVML marks a structure's layout by its size and a number. */
#define STRUCT_VERSION(type, number) ((unsigned)(sizeof(type) | (number) << 24))

#endif
