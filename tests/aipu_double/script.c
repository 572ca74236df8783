/* Control file and call counters of the double. */
#include "double.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const FUNCTIONS[F_COUNT] = {
    "init", "deinit", "message", "config_global", "load_graph", "load_graph_helper", "unload",
    "tensor_count", "descriptor", "create", "config_job", "load_tensor", "finish", "flush",
    "status", "get_tensor", "clean", "target", "device_status", "ioctl"};

static const char *const ACTIONS[] = {"none", "return", "late", "never", "exception", "error",
                                      "corrupt", "die", "wide", "overrun", "hang", "size"};

static uint64_t private_counters[64];
static uint64_t *counters;

const char *double_path(char *buffer, size_t size, const char *name) {
  const char *folder = getenv("AIPU_DOUBLE_DIR");
  if (folder == NULL) return NULL;
  const int length = snprintf(buffer, size, "%s/%s", folder, name);
  return length > 0 && (size_t)length < size ? buffer : NULL;
}

static void map_counters(void) {
  char path[512];
  counters = private_counters;
  if (double_path(path, sizeof path, "counters") == NULL) return;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *shared = mmap(NULL, sizeof private_counters, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (shared != MAP_FAILED) counters = shared;
}

void count(int counter, int64_t change) {
  if (counters == NULL) map_counters();
  __atomic_fetch_add(&counters[counter], (uint64_t)change, __ATOMIC_RELAXED);
}

static struct order find(FILE *file, const char *function, uint64_t index) {
  char line[160], name[32], at[24], action[24];
  struct order order = {A_NONE, 0};
  while (fgets(line, sizeof line, file) != NULL) {
    char value[24] = "0";
    if (sscanf(line, "%31s %23s %23s %23s", name, at, action, value) < 3) continue;
    if (strcmp(name, function) != 0) continue;
    if (strcmp(at, "*") != 0 && strtoull(at, NULL, 10) != index) continue;
    for (unsigned i = 0; i < sizeof ACTIONS / sizeof *ACTIONS; i++) {
      if (strcmp(action, ACTIONS[i]) == 0) {
        order.action = (enum action)i;
        order.value = (uint32_t)strtoul(value, NULL, 0);
      }
    }
  }
  return order;
}

struct order next_order(enum function function) {
  const struct order none = {A_NONE, 0};
  char path[512];
  if (counters == NULL) map_counters();
  const uint64_t index = __atomic_fetch_add(&counters[function], 1, __ATOMIC_RELAXED);
  if (double_path(path, sizeof path, "script") == NULL) return none;
  FILE *file = fopen(path, "re");
  if (file == NULL) return none;
  const struct order order = find(file, FUNCTIONS[function], index);
  fclose(file);
  if (order.action == A_DIE) abort();
  if (order.action == A_HANG) {
    for (;;) pause();
  }
  return order;
}
