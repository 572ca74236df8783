/* Test double of the driver library libaipudrv.so: NOT a driver, no silicon, no vendor code.
 *
 * It has the exported functions, numbers, states and failure behaviours that the backend relies on,
 * written from public notes on the API. What it proves is that the backend keeps its side of them;
 * that a real library and a real processor behave so is not proven by it.
 *
 * The folder in AIPU_DOUBLE_DIR scripts it:
 *   script    lines "FUNCTION INDEX ACTION [VALUE]"; INDEX counts the calls of a function over all
 *             processes from 0, or is "*"
 *   counters  64 uint64: calls by function, then live objects; shared by all processes
 *   socket    if there: a Unix stream socket that computes a job's outputs
 */
#ifndef AIPU_DOUBLE_H
#define AIPU_DOUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

enum { MAX_TENSORS = 64, MAX_GRAPHS = 8, MAX_JOBS = 16, GUARD_BYTES = 32 };

enum {
  OK = 0, NULL_POINTER = 1, INVALID_CONTEXT = 2, OPEN_DEVICE = 3, ABNORMAL = 4,
  VERSION_UNSUPPORTED = 8, INVALID_GRAPH = 9, TARGET_NOT_FOUND = 0xA, INVALID_GRAPH_ID = 0xB,
  OPEN_FILE = 0xC, INVALID_JOB_ID = 0x10, JOB_EXCEPTION = 0x11, INVALID_OPERATION = 0x14,
  ALLOCATION = 0x16, TENSOR_ID = 0x1A, TENSOR_TYPE = 0x1E, TIMED_OUT = 0x23, DISPATCH = 0x37
};

enum function {
  F_INIT, F_DEINIT, F_MESSAGE, F_CONFIG_GLOBAL, F_LOAD_GRAPH, F_LOAD_GRAPH_HELPER, F_UNLOAD,
  F_TENSOR_COUNT, F_DESCRIPTOR, F_CREATE, F_CONFIG_JOB, F_LOAD_TENSOR, F_FINISH, F_FLUSH, F_STATUS,
  F_GET_TENSOR, F_CLEAN, F_TARGET, F_DEVICE_STATUS, F_IOCTL, F_COUNT,
  /* Live objects, not calls. */
  LIVE_CONTEXTS = 32, LIVE_GRAPHS, LIVE_JOBS, NONNULL_CONFIGS
};

enum action {
  A_NONE, A_RETURN, A_LATE, A_NEVER, A_EXCEPTION, A_ERROR, A_CORRUPT, A_DIE, A_WIDE, A_OVERRUN,
  A_HANG, A_SIZE
};

struct order {
  enum action action;
  uint32_t value;
};

struct tensor {
  uint32_t size;
  uint32_t type;
  float scale;
  int32_t zero_point;
};

struct graph {
  uint64_t id; /* 0: free */
  uint32_t inputs, outputs;
  struct tensor input[MAX_TENSORS], output[MAX_TENSORS];
};

enum job_phase { CREATED, RUNNING, DONE, BROKEN, DEAD };

struct job {
  uint64_t id; /* 0: free */
  struct graph *graph;
  enum job_phase phase;
  uint64_t ends_ns; /* 0: never */
  uint32_t result;  /* status that finish will give at the end */
  uint8_t *input[MAX_TENSORS], *output[MAX_TENSORS]; /* each followed by guard bytes */
};

/* script.c */
struct order next_order(enum function function);
void count(int counter, int64_t change);
const char *double_path(char *buffer, size_t size, const char *name);

/* graph.c */
int parse_graph(const uint8_t *data, size_t size, struct graph *graph);

/* compute.c */
void compute(const struct job *job);

/* core.c */
uint64_t now_ns(void);
void core_start(struct job *job, struct order order);
void core_orphan(const struct job *job);
int core_wait(struct job *job, int32_t timeout_ms);

#endif
