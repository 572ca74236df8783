/* Outputs of a job: from a Python reference behind a socket, or a fixed affine rule. */
#include "double.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int reference = -1;

static bool transfer(void *data, size_t size, bool out) {
  uint8_t *at = data;
  while (size > 0) {
    const ssize_t done =
        out ? send(reference, at, size, MSG_NOSIGNAL) : recv(reference, at, size, 0);
    if (done <= 0) return false;
    at += done;
    size -= (size_t)done;
  }
  return true;
}

static bool connect_reference(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (reference >= 0) return true;
  if (double_path(address.sun_path, sizeof address.sun_path, "socket") == NULL) return false;
  if (access(address.sun_path, F_OK) != 0) return false;
  reference = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (reference >= 0 &&
      connect(reference, (const struct sockaddr *)&address, sizeof address) == 0) {
    return true;
  }
  if (reference >= 0) close(reference);
  reference = -1;
  return false;
}

static bool from_reference(const struct job *job) {
  for (uint32_t i = 0; i < job->graph->inputs; i++) {
    if (!transfer(job->input[i], job->graph->input[i].size, true)) return false;
  }
  for (uint32_t i = 0; i < job->graph->outputs; i++) {
    if (!transfer(job->output[i], job->graph->output[i].size, false)) return false;
  }
  return true;
}

void compute(const struct job *job) {
  if (connect_reference()) {
    /* A reference that has gone means that the test is over. */
    if (!from_reference(job)) _exit(9);
    return;
  }
  for (uint32_t k = 0; k < job->graph->outputs; k++) {
    const uint32_t source = k % job->graph->inputs;
    for (uint32_t j = 0; j < job->graph->output[k].size; j++) {
      job->output[k][j] =
          (uint8_t)(job->input[source][j % job->graph->input[source].size] + k + 1);
    }
  }
}
