#include "dc_blocker.h"

#include <math.h>

/* exp(-2 pi 20 / 16000) */
#define POLE 0.99217669f

/* An output that is forgotten at the end of a block. */
#define QUIETEST 1e-20f

void kws_dc_blocker_reset(kws_dc_blocker *blocker) {
    blocker->input = 0.0f;
    blocker->output = 0.0f;
    blocker->started = 0;
}

void kws_dc_blocker_process(kws_dc_blocker *blocker, float *samples, int32_t count) {
    if (count <= 0) {
        return;
    }
    /* The first sample is taken as the offset, so there is no step. */
    float before = blocker->started ? blocker->input : samples[0];
    float output = blocker->output;
    for (int32_t i = 0; i < count; i++) {
        const float now = samples[i];
        output = (now - before) + POLE * output;
        before = now;
        samples[i] = output;
    }
    blocker->input = before;
    /* In silence rounding keeps a denormal alive for ever, and every FFT behind it slow. */
    blocker->output = fabsf(output) < QUIETEST ? 0.0f : output;
    blocker->started = 1;
}
