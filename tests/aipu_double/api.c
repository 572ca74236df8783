/* The exported functions of the double, with the state rules of the real library. */
#include "double.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef OLD_API
EXPORT int AIPU_init_ctx(void **context);
int AIPU_init_ctx(void **context) {
  (void)context;
  return OPEN_DEVICE;
}
#else

struct descriptor {
  uint32_t id, size;
  float scale;
  int32_t zero_point;
  int32_t type;
};

static const uint64_t FIRST_GRAPH = 0x100000000u;
static const uint64_t FIRST_JOB = 0x100000001u;

static int device = -1;
static int opened; /* its address is the context */
static struct graph graphs[MAX_GRAPHS];
static struct job jobs[MAX_JOBS];
/* Libraries 6.x keep this lock for ever after the unload of an unknown graph. */
static pthread_mutex_t graph_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

__attribute__((destructor)) static void leave(void) {
  for (int i = 0; i < MAX_GRAPHS; i++) {
    if (graphs[i].id != 0) {
      fputs("pure virtual method called\n", stderr);
      abort();
    }
  }
}

static struct graph *graph_of(uint64_t id) {
  for (int i = 0; i < MAX_GRAPHS; i++) {
    if (id != 0 && graphs[i].id == id) return &graphs[i];
  }
  return NULL;
}

static struct job *job_of(uint64_t id) {
  for (int i = 0; i < MAX_JOBS; i++) {
    if (id != 0 && jobs[i].id == id) return &jobs[i];
  }
  return NULL;
}

static int enter(const void *context) {
  pthread_mutex_lock(&graph_lock);
  pthread_mutex_unlock(&graph_lock);
  return context == &opened && opened ? OK : INVALID_CONTEXT;
}

#define ENTER(function)                                               \
  const struct order order = next_order(function);                    \
  if (order.action == A_RETURN) return (int)order.value;              \
  do {                                                                \
    const int entered = enter(context);                               \
    if (entered != OK) return entered;                                \
  } while (0)

EXPORT int aipu_init_context(void **context) {
  const struct order order = next_order(F_INIT);
  const char *level = getenv("UMD_LOG_LEVEL");
  if (context == NULL) return NULL_POINTER;
  *context = NULL;
  if (level == NULL || atoi(level) < 6) {
    printf("[double] this is a test double, not a driver\n");
    fflush(stdout);
  }
  if (order.action == A_RETURN) {
    if (order.value == OPEN_DEVICE) fputs("backtrace: aipu_init_context\n", stderr);
    return (int)order.value;
  }
  device = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (device < 0) return OPEN_DEVICE;
  opened = 1;
  *context = &opened;
  count(LIVE_CONTEXTS, 1);
  return OK;
}

static void free_job(struct job *job) {
  for (uint32_t i = 0; i < MAX_TENSORS; i++) {
    free(job->input[i]);
    free(job->output[i]);
  }
  memset(job, 0, sizeof *job);
  count(LIVE_JOBS, -1);
}

static void free_graph(struct graph *graph) {
  for (int i = 0; i < MAX_JOBS; i++) {
    if (jobs[i].id != 0 && jobs[i].graph == graph) free_job(&jobs[i]);
  }
  graph->id = 0;
  count(LIVE_GRAPHS, -1);
}

EXPORT int aipu_deinit_context(const void *context) {
  ENTER(F_DEINIT);
  for (int i = 0; i < MAX_GRAPHS; i++) {
    if (graphs[i].id != 0) free_graph(&graphs[i]);
  }
  close(device);
  opened = 0;
  count(LIVE_CONTEXTS, -1);
  return OK;
}

EXPORT int aipu_get_error_message(const void *context, int status, const char **message) {
  next_order(F_MESSAGE);
  (void)status;
  *message = context == NULL ? "null pointer" : "message of the double";
  return OK;
}

EXPORT int aipu_config_global(const void *context, uint64_t types, const void *config) {
  (void)types, (void)config;
  count(NONNULL_CONFIGS, 1);
  ENTER(F_CONFIG_GLOBAL);
  return OK;
}

EXPORT int aipu_load_graph_helper(const void *context, const void *data, uint32_t size,
                                  uint64_t *id, const void *config) {
  ENTER(F_LOAD_GRAPH_HELPER);
  if (config != NULL) count(NONNULL_CONFIGS, 1);
  for (int i = 0; i < MAX_GRAPHS; i++) {
    if (graphs[i].id != 0) continue;
    memset(&graphs[i], 0, sizeof graphs[i]);
    const int status = parse_graph(data, size, &graphs[i]);
    if (status != OK) return status;
    graphs[i].id = *id = FIRST_GRAPH + ((uint64_t)i << 32);
    count(LIVE_GRAPHS, 1);
    return OK;
  }
  return ALLOCATION;
}

EXPORT int aipu_load_graph(const void *context, const char *file, uint64_t *id,
                           const void *config) {
  ENTER(F_LOAD_GRAPH);
  struct stat facts;
  const int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return OPEN_FILE;
  if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    close(fd);
    return VERSION_UNSUPPORTED;
  }
  uint8_t *data = malloc((size_t)facts.st_size + 1);
  const ssize_t got = data == NULL ? -1 : read(fd, data, (size_t)facts.st_size);
  close(fd);
  const int status =
      got < 0 ? ALLOCATION : aipu_load_graph_helper(context, data, (uint32_t)got, id, config);
  free(data);
  return status;
}

EXPORT int aipu_unload_graph(const void *context, uint64_t id) {
  ENTER(F_UNLOAD);
  pthread_mutex_lock(&graph_lock);
  struct graph *graph = graph_of(id);
  if (graph == NULL) return INVALID_GRAPH_ID; /* with the lock held */
  free_graph(graph);
  pthread_mutex_unlock(&graph_lock);
  return OK;
}

static const struct graph *graph_for(uint64_t id) {
  const struct job *job = job_of(id);
  return job != NULL ? job->graph : graph_of(id);
}

EXPORT int aipu_get_tensor_count(const void *context, uint64_t id, int type, uint32_t *number) {
  ENTER(F_TENSOR_COUNT);
  const struct graph *graph = graph_for(id);
  if (graph == NULL) return INVALID_GRAPH_ID;
  *number = type == 0 ? graph->inputs : type == 1 ? graph->outputs : 0;
  return OK;
}

EXPORT int aipu_get_tensor_descriptor(const void *context, uint64_t id, int type, uint32_t index,
                                      void *out) {
  ENTER(F_DESCRIPTOR);
  const struct graph *graph = graph_for(id);
  if (graph == NULL) return INVALID_GRAPH_ID;
  if (type != 0 && type != 1) return TENSOR_TYPE;
  if (index >= (type == 0 ? graph->inputs : graph->outputs)) return TENSOR_ID;
  const struct tensor *tensor = type == 0 ? &graph->input[index] : &graph->output[index];
  const struct descriptor descriptor = {
      .id = index,
      .size = order.action == A_SIZE ? order.value : tensor->size,
      .scale = tensor->scale,
      .zero_point = tensor->zero_point,
      .type = (int32_t)tensor->type};
  memcpy(out, &descriptor, sizeof descriptor);
  /* Another release with a longer structure. */
  if (order.action == A_WIDE) memset((uint8_t *)out + sizeof descriptor, 0xEE, 64);
  return OK;
}

static uint8_t *guarded(uint32_t size) {
  uint8_t *data = malloc((size_t)size + GUARD_BYTES);
  if (data != NULL) memset(data, 0xC3, (size_t)size + GUARD_BYTES);
  return data;
}

static void check_guard(const uint8_t *data, uint32_t size) {
  for (uint32_t i = 0; i < GUARD_BYTES; i++) {
    if (data[size + i] != 0xC3) abort();
  }
}

EXPORT int aipu_create_job(const void *context, uint64_t id, uint64_t *job_id,
                           const void *config) {
  ENTER(F_CREATE);
  if (config != NULL) count(NONNULL_CONFIGS, 1);
  struct graph *graph = graph_of(id);
  if (graph == NULL) return INVALID_GRAPH_ID;
  for (int i = 0; i < MAX_JOBS; i++) {
    struct job *job = &jobs[i];
    if (job->id != 0) continue;
    job->id = *job_id = FIRST_JOB + (uint64_t)i;
    job->graph = graph;
    for (uint32_t k = 0; k < graph->inputs; k++) job->input[k] = guarded(graph->input[k].size);
    for (uint32_t k = 0; k < graph->outputs; k++) job->output[k] = guarded(graph->output[k].size);
    count(LIVE_JOBS, 1);
    return OK;
  }
  return ALLOCATION;
}

EXPORT int aipu_config_job(const void *context, uint64_t job, uint64_t types, const void *config) {
  (void)types, (void)job, (void)config;
  count(NONNULL_CONFIGS, 1);
  ENTER(F_CONFIG_JOB);
  return OK;
}

EXPORT int aipu_load_tensor(const void *context, uint64_t id, uint32_t index, const void *data) {
  ENTER(F_LOAD_TENSOR);
  struct job *job = job_of(id);
  if (job == NULL) return INVALID_JOB_ID;
  if (job->phase != CREATED && job->phase != DONE) return INVALID_OPERATION;
  if (index >= job->graph->inputs) return TENSOR_ID;
  memcpy(job->input[index], data, job->graph->input[index].size);
  check_guard(job->input[index], job->graph->input[index].size);
  return OK;
}

static int start(struct job *job, struct order order) {
  if (job->phase != CREATED && job->phase != DONE) return INVALID_OPERATION;
  if (order.action == A_RETURN && order.value == DISPATCH) {
    job->phase = DEAD;
    return DISPATCH;
  }
  core_start(job, order);
  return OK;
}

EXPORT int aipu_flush_job(const void *context, uint64_t id, const void *callback) {
  ENTER(F_FLUSH);
  (void)callback;
  struct job *job = job_of(id);
  return job == NULL ? INVALID_JOB_ID : start(job, order);
}

EXPORT int aipu_finish_job(const void *context, uint64_t id, int32_t timeout_ms) {
  const struct order order = next_order(F_FINISH);
  const int entered = enter(context);
  struct job *job = job_of(id);
  if (entered != OK) return entered;
  if (job == NULL) return INVALID_JOB_ID;
  int status = start(job, order);
  if (status != OK) return status;
  if (order.action == A_RETURN) return (int)order.value; /* the job runs and ends all the same */
  status = core_wait(job, timeout_ms <= 0 ? -1 : timeout_ms);
  return status == OK ? (int)job->result : status;
}

EXPORT int aipu_get_job_status(const void *context, uint64_t id, int *state, int32_t timeout_ms) {
  ENTER(F_STATUS);
  struct job *job = job_of(id);
  if (job == NULL) return INVALID_JOB_ID;
  if (job->phase == RUNNING) {
    const int status = core_wait(job, timeout_ms);
    if (status == ABNORMAL) return status;
  }
  *state = job->phase == DONE ? 1 : job->phase == BROKEN ? 2 : 0;
  return OK;
}

EXPORT int aipu_get_tensor(const void *context, uint64_t id, int type, uint32_t index,
                           void *data) {
  ENTER(F_GET_TENSOR);
  const struct job *job = job_of(id);
  if (job == NULL) return INVALID_JOB_ID;
  if (job->phase != DONE) return INVALID_OPERATION;
  if (type != 1) return TENSOR_TYPE;
  if (index >= job->graph->outputs) return TENSOR_ID;
  const uint32_t size = job->graph->output[index].size;
  check_guard(job->output[index], size);
  memcpy(data, job->output[index], size + (order.action == A_OVERRUN ? 1u : 0u));
  return OK;
}

#ifndef NO_CLEAN
EXPORT int aipu_clean_job(const void *context, uint64_t id) {
  ENTER(F_CLEAN);
  struct job *job = job_of(id);
  if (job == NULL) return OK;
  if (job->phase == RUNNING) core_orphan(job);
  free_job(job);
  return OK;
}
#endif

EXPORT int aipu_get_target(const void *context, char *target) {
  ENTER(F_TARGET);
  strcpy(target, "Z1_0701");
  return OK;
}

EXPORT int aipu_get_device_status(const void *context, int *status) {
  ENTER(F_DEVICE_STATUS);
  *status = 0;
  return OK;
}

EXPORT int aipu_ioctl(const void *context, uint32_t command, const void *argument) {
  (void)command, (void)argument;
  ENTER(F_IOCTL);
  return INVALID_OPERATION;
}
#endif
