/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "abi.h"

enum { MAX_KEYS = 128, PATH_SIZE = 4096 };

static const char DEFAULT_PATH[] = "/dev/shm/nvsim/state";

struct section {
    int present, count;
    struct {
        const char *key, *value;
    } entries[MAX_KEYS];
};

static struct section sections[MAX_GPUS + 1]; /* [system] first */
static char *text;                            /* the file; the sections point into it */
static struct stat seen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const struct {
    int code;
    const char *name, *text;
} ERRORS[] = {
    {0, "SUCCESS", "Success"},
    {1, "UNINITIALIZED", "Uninitialized"},
    {2, "INVALID_ARGUMENT", "Invalid Argument"},
    {3, "NOT_SUPPORTED", "Not Supported"},
    {4, "NO_PERMISSION", "Insufficient Permissions"},
    {6, "NOT_FOUND", "Not Found"},
    {7, "INSUFFICIENT_SIZE", "Insufficient Size"},
    {9, "DRIVER_NOT_LOADED", "Driver Not Loaded"},
    {10, "TIMEOUT", "Timeout"},
    {13, "FUNCTION_NOT_FOUND", "Function Not Found"},
    {15, "GPU_IS_LOST", "GPU is lost"},
    {16, "RESET_REQUIRED", "GPU requires reset"},
    {18, "LIB_RM_VERSION_MISMATCH", "Driver/library version mismatch"},
    {19, "IN_USE", "In use by another client"},
    {20, "MEMORY", "Insufficient Memory"},
    {25, "ARGUMENT_VERSION_MISMATCH", "API version mismatch"},
    {27, "NOT_READY", "System is not in ready state"},
    {28, "GPU_NOT_FOUND", "No GPUs were found"},
    {999, "UNKNOWN", "Unknown Error"},
};
enum { ERROR_COUNT = sizeof ERRORS / sizeof *ERRORS };

const char *state_error_text(int code) {
    for (int i = 0; i < ERROR_COUNT; i++)
        if (ERRORS[i].code == code) return ERRORS[i].text;
    return "Unknown Error";
}

static int error_by_name(const char *name) {
    if (*name >= '0' && *name <= '9') return atoi(name);
    for (int i = 0; i < ERROR_COUNT; i++)
        if (!strcmp(ERRORS[i].name, name)) return ERRORS[i].code;
    return UNKNOWN;
}

static const char *path_of_state(void) {
    const char *path = getenv("NVSIM_STATE");
    return path && *path ? path : DEFAULT_PATH;
}

static char *trimmed(char *word) {
    word += strspn(word, " \t");
    char *end = word + strlen(word);
    while (end > word && strchr(" \t\r\n", end[-1])) *--end = 0;
    return word;
}

static struct section *section_named(const char *line) {
    int gpu;
    if (!strcmp(line, "[system]")) return &sections[0];
    if (sscanf(line, "[gpu %d]", &gpu) == 1 && gpu >= 0 && gpu < MAX_GPUS) return &sections[gpu + 1];
    return NULL;
}

static void forget(void) {
    for (int i = 0; i <= MAX_GPUS; i++) sections[i].present = sections[i].count = 0;
    free(text);
    text = NULL;
    memset(&seen, 0, sizeof seen);
}

static void parse(void) {
    struct section *current = NULL;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n"))) {
        char *word = trimmed(line), *equals;
        if (*word == '[') {
            current = section_named(word);
            if (current) current->present = 1;
        } else if (current && *word != '#' && current->count < MAX_KEYS &&
                   (equals = strchr(word, '='))) {
            *equals = 0;
            current->entries[current->count].key = trimmed(word);
            current->entries[current->count++].value = trimmed(equals + 1);
        }
    }
}

static void read_file(const struct stat *found) {
    FILE *file = fopen(path_of_state(), "re");
    if (!file) return;
    char *fresh = calloc(1, (size_t)found->st_size + 1);
    if (fresh && fread(fresh, 1, (size_t)found->st_size, file) == (size_t)found->st_size) {
        forget();
        text = fresh;
        parse();
        seen = *found;
    } else {
        free(fresh);
    }
    fclose(file);
}

void state_refresh(void) {
    struct stat found;
    pthread_mutex_lock(&lock);
    if (stat(path_of_state(), &found)) {
        if (errno == ENOENT) forget();
    } else if (found.st_ino != seen.st_ino || found.st_size != seen.st_size ||
               found.st_mtim.tv_sec != seen.st_mtim.tv_sec ||
               found.st_mtim.tv_nsec != seen.st_mtim.tv_nsec) {
        read_file(&found);
    }
    pthread_mutex_unlock(&lock);
}

int state_is_there(void) { return sections[0].present; }

int state_text(int gpu, const char *key, char *out, size_t size) {
    int code = NOT_SUPPORTED;
    pthread_mutex_lock(&lock);
    const struct section *section = &sections[gpu + 1];
    for (int i = 0; i < section->count; i++) {
        if (strcmp(section->entries[i].key, key)) continue;
        const char *value = section->entries[i].value;
        if (*value == '!')
            code = error_by_name(value + 1);
        else if (strlen(value) + 1 > size)
            code = INSUFFICIENT_SIZE;
        else
            code = (strcpy(out, value), SUCCESS);
        break;
    }
    pthread_mutex_unlock(&lock);
    return code;
}

int state_number(int gpu, const char *key, long long *out) {
    char value[TEXT_SIZE];
    int code = state_text(gpu, key, value, sizeof value);
    if (code == SUCCESS) *out = (long long)strtoull(value, NULL, 0);
    return code;
}

long long state_number_or(int gpu, const char *key, long long otherwise) {
    long long value;
    return state_number(gpu, key, &value) == SUCCESS ? value : otherwise;
}

int state_has(int gpu) { return gpu >= 0 && gpu < MAX_GPUS && sections[gpu + 1].present; }

int state_count(void) {
    int count = 0;
    for (int gpu = 0; gpu < MAX_GPUS; gpu++) count += state_has(gpu);
    return count;
}

int state_gpu_at(unsigned index) {
    for (int gpu = 0; gpu < MAX_GPUS; gpu++)
        if (state_has(gpu) && index-- == 0) return gpu;
    return SYSTEM;
}

int state_index_of(int gpu) {
    int index = 0;
    for (int before = 0; before < gpu; before++) index += state_has(before);
    return index;
}

/* Copies the file, with one line of one section replaced or added to it. */
static int copy_with(FILE *in, FILE *out, const char *header, const char *key, long long value) {
    char line[TEXT_SIZE * 2], word[TEXT_SIZE * 2];
    int inside = 0, done = 0;
    while (fgets(line, sizeof line, in)) {
        strcpy(word, line);
        char *begin = trimmed(word), *equals = strchr(begin, '=');
        if (*begin == '[') {
            if (inside && !done) done = fprintf(out, "%s = %lld\n", key, value) > 0;
            inside = !strcmp(begin, header);
        } else if (inside && equals) {
            *equals = 0;
            if (!strcmp(trimmed(begin), key)) continue;
        }
        fputs(line, out);
    }
    if (inside && !done) done = fprintf(out, "%s = %lld\n", key, value) > 0;
    return done;
}

int state_store(int gpu, const char *key, long long value) {
    const char *path = path_of_state();
    char fresh[PATH_SIZE], guard[PATH_SIZE], header[32];
    int done = 0;
    snprintf(fresh, sizeof fresh, "%s.%d.new", path, (int)getpid());
    snprintf(guard, sizeof guard, "%s.lock", path);
    snprintf(header, sizeof header, "[gpu %d]", gpu);
    int held = open(guard, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (held < 0) return UNKNOWN;
    flock(held, LOCK_EX);
    FILE *in = fopen(path, "re"), *out = in ? fopen(fresh, "we") : NULL;
    if (out) {
        done = copy_with(in, out, header, key, value);
        done = !fclose(out) && done && !rename(fresh, path);
    }
    if (in) fclose(in);
    close(held);
    return done ? SUCCESS : UNKNOWN;
}

int state_log(const char *function, int gpu, int code) {
    const char *path = getenv("NVSIM_LOG");
    char line[160], where[16] = "-";
    struct timespec now;
    if (!path || !*path) return code;
    if (gpu != SYSTEM) snprintf(where, sizeof where, "%d", gpu);
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(line, sizeof line, "%ld.%03ld %d %s %s %d\n", (long)now.tv_sec,
                          now.tv_nsec / 1000000, (int)getpid(), function, where, code);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0) return code;
    if (write(file, line, (size_t)length) != length) code = UNKNOWN;
    close(file);
    return code;
}
