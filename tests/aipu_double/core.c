/* The one core: jobs that take real time, end late or never, and wake a real poll(). */
#include "double.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

/* The end of a job that was cleaned while it ran; credited to whoever has its id by then. */
static struct {
  uint64_t id;
  uint64_t ends_ns;
} orphan;

uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void core_start(struct job *job, struct order order) {
  const uint64_t delay_ms = order.action == A_LATE ? order.value : 0;
  compute(job);
  job->phase = RUNNING;
  job->result = OK;
  if (order.action == A_EXCEPTION) job->result = JOB_EXCEPTION;
  if (order.action == A_ERROR) job->result = order.value;
  if (order.action == A_CORRUPT) {
    for (uint32_t k = 0; k < job->graph->outputs; k++) {
      for (uint32_t j = 0; j < job->graph->output[k].size; j++) job->output[k][j] ^= 0x55;
    }
  }
  const uint64_t free_ns = orphan.ends_ns > now_ns() ? orphan.ends_ns : now_ns();
  job->ends_ns = order.action == A_NEVER ? 0 : free_ns + delay_ms * 1000000u;
}

void core_orphan(const struct job *job) {
  orphan.id = job->id;
  orphan.ends_ns = job->ends_ns;
}

static bool ended(struct job *job) {
  const uint64_t now = now_ns();
  if (orphan.id == job->id && orphan.ends_ns != 0 && now >= orphan.ends_ns) {
    orphan.id = 0;
    job->phase = BROKEN;
    job->result = JOB_EXCEPTION;
    return true;
  }
  if (job->ends_ns == 0 || now < job->ends_ns) return false;
  job->phase = job->result == JOB_EXCEPTION ? BROKEN : DONE;
  return true;
}

/* OK once the job has ended, TIMED_OUT, or ABNORMAL where a signal ended the wait. */
int core_wait(struct job *job, int32_t timeout_ms) {
  const uint64_t limit_ns = now_ns() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000000u;
  while (!ended(job)) {
    if (timeout_ms >= 0 && now_ns() >= limit_ns) return TIMED_OUT;
    uint64_t until = timeout_ms < 0 ? now_ns() + 1000000000u : limit_ns;
    if (job->ends_ns != 0 && job->ends_ns < until) until = job->ends_ns;
    if (orphan.id == job->id && orphan.ends_ns != 0 && orphan.ends_ns < until) {
      until = orphan.ends_ns;
    }
    const uint64_t now = now_ns();
    const int wait_ms = until > now ? (int)((until - now) / 1000000u) + 1 : 0;
    if (poll(NULL, 0, wait_ms) < 0 && errno == EINTR) return ABNORMAL;
  }
  return OK;
}
