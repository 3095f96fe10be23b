/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiles only if our layouts are NVIDIA's:
 *   gcc -std=c11 -fsyntax-only -I DIRECTORY_OF_NVML_H abi_check.c
 */
#include <nvml.h>
#include <stddef.h>

#include "abi.h"

#define SAME_SIZE(ours, theirs) _Static_assert(sizeof(ours) == sizeof(theirs), #theirs)
#define SAME_PLACE(ours, our_name, theirs, their_name)                                             \
    _Static_assert(offsetof(ours, our_name) == offsetof(theirs, their_name), #their_name)
#define SAME_NUMBER(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)

SAME_SIZE(handle_t, nvmlDevice_t);
SAME_SIZE(memory_t, nvmlMemory_t);
SAME_PLACE(memory_t, used, nvmlMemory_t, used);
SAME_SIZE(memory_v2_t, nvmlMemory_v2_t);
SAME_PLACE(memory_v2_t, reserved, nvmlMemory_v2_t, reserved);
SAME_PLACE(memory_v2_t, used, nvmlMemory_v2_t, used);
SAME_SIZE(utilization_t, nvmlUtilization_t);
SAME_SIZE(pci_info_t, nvmlPciInfo_t);
SAME_PLACE(pci_info_t, bus_id, nvmlPciInfo_t, busId);
SAME_SIZE(field_value_t, nvmlFieldValue_t);
SAME_PLACE(field_value_t, value_type, nvmlFieldValue_t, valueType);
SAME_PLACE(field_value_t, code, nvmlFieldValue_t, nvmlReturn);
SAME_PLACE(field_value_t, value, nvmlFieldValue_t, value);
SAME_SIZE(process_info_t, nvmlProcessInfo_t);
SAME_PLACE(process_info_t, used_bytes, nvmlProcessInfo_t, usedGpuMemory);
SAME_SIZE(event_data_t, nvmlEventData_t);
SAME_PLACE(event_data_t, event_data, nvmlEventData_t, eventData);
SAME_SIZE(temperature_v1_t, nvmlTemperature_v1_t);
SAME_PLACE(temperature_v1_t, temperature, nvmlTemperature_v1_t, temperature);
SAME_SIZE(margin_v1_t, nvmlMarginTemperature_v1_t);
SAME_SIZE(violation_time_t, nvmlViolationTime_t);

SAME_NUMBER(UNINITIALIZED, NVML_ERROR_UNINITIALIZED);
SAME_NUMBER(INVALID_ARGUMENT, NVML_ERROR_INVALID_ARGUMENT);
SAME_NUMBER(NOT_SUPPORTED, NVML_ERROR_NOT_SUPPORTED);
SAME_NUMBER(NO_PERMISSION, NVML_ERROR_NO_PERMISSION);
SAME_NUMBER(NOT_FOUND, NVML_ERROR_NOT_FOUND);
SAME_NUMBER(INSUFFICIENT_SIZE, NVML_ERROR_INSUFFICIENT_SIZE);
SAME_NUMBER(DRIVER_NOT_LOADED, NVML_ERROR_DRIVER_NOT_LOADED);
SAME_NUMBER(TIMEOUT, NVML_ERROR_TIMEOUT);
SAME_NUMBER(GPU_IS_LOST, NVML_ERROR_GPU_IS_LOST);
SAME_NUMBER(RESET_REQUIRED, NVML_ERROR_RESET_REQUIRED);
SAME_NUMBER(LIB_RM_VERSION_MISMATCH, NVML_ERROR_LIB_RM_VERSION_MISMATCH);
SAME_NUMBER(ARGUMENT_VERSION_MISMATCH, NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
SAME_NUMBER(UNKNOWN, NVML_ERROR_UNKNOWN);
SAME_NUMBER(AS_DOUBLE, NVML_VALUE_TYPE_DOUBLE);
SAME_NUMBER(AS_UINT, NVML_VALUE_TYPE_UNSIGNED_INT);
SAME_NUMBER(AS_ULL, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG);
SAME_NUMBER(AS_SIGNED_INT, NVML_VALUE_TYPE_SIGNED_INT);
_Static_assert(EVENT_XID == nvmlEventTypeXidCriticalError, "nvmlEventTypeXidCriticalError");
