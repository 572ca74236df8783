/* Two clocks: the stage finds the drift, exchanges blocks, loses the echo and finds it again. Under
 * the sanitizers it shows that no exchange reads outside of the delay line. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend.h"
#include "kalman.h"

#define CHECK(condition)                                   \
    do {                                                   \
        if (!(condition)) {                                \
            printf("line %d: %s\n", __LINE__, #condition); \
            failed = 1;                                    \
        }                                                  \
    } while (0)

#define RATE_HZ 16000
#define PLAYED 16384 /* a ring that is longer than the longest delay */

static int failed;
static uint32_t seed = 1;
static float played[PLAYED];
static int64_t position;

static float noise(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1.0f;
}

/* The reference between its samples, so late. */
static float heard(double late) {
    const int64_t whole = (int64_t)ceil(late);
    const float share = (float)((double)whole - late);
    const float before = played[(position - whole + PLAYED) % PLAYED];
    const float after = played[(position - whole + 1 + PLAYED) % PLAYED];
    return before + share * (after - before);
}

/* Some seconds of an echo that is late by some samples and comes later with every sample; gives
 * where it was at the end. */
static double play(kws_frontend *state, double seconds, double late, double ppm, float level) {
    static float signals[KWS_SIGNALS][2 * KWS_HOP];
    float channels[2 * KWS_HOP];
    kws_frontend_output out;
    for (int32_t block = 0; block < (int32_t)(seconds * RATE_HZ / KWS_HOP); block++) {
        for (int32_t k = 0; k < KWS_HOP; k++) {
            played[position % PLAYED] = level * noise();
            channels[KWS_HOP + k] = played[position % PLAYED];
            channels[k] = 0.8f * heard(late) + 1e-4f * noise();
            late += 1e-6 * ppm;
            position++;
        }
        memset(&out, 0, sizeof out);
        for (int32_t s = 0; s < KWS_SIGNALS; s++) out.signals[s] = signals[s];
        kws_frontend_process(state, channels, KWS_HOP, &out);
        for (int32_t k = 0; k < out.samples; k++) CHECK(isfinite(signals[KWS_DETECTOR][k]));
    }
    return late;
}

static kws_frontend_metrics now(const kws_frontend *state) {
    kws_frontend_metrics metrics;
    kws_frontend_snapshot(state, &metrics);
    return metrics;
}

static void two_clocks(double ppm, double late) {
    const kws_frontend_config config = {
        .microphones = 1, .has_reference = 1, .aec = 1, .tail_ms = 64, .delay_search_ms = 500,
        .drift = 1};
    const size_t size = kws_frontend_size(&config);
    void *memory = malloc(size + 64);
    if (memory == NULL) exit(2);
    kws_frontend *state = (void *)(((size_t)memory + 63) / 64 * 64);
    kws_frontend_init(state, &config);
    double end = play(state, 16.0, late, ppm, 0.3f);
    CHECK(fabs((double)now(state).drift_ppm - ppm) < 5.0);
    CHECK(fabs((double)now(state).delay_samples - end) < 16.0);
    /* In silence the delay goes on for a minute and no further. */
    play(state, 90.0, end, ppm, 0.0f);
    CHECK(fabs((double)now(state).delay_samples - end - 0.96 * ppm) < 24.0);
    /* An earlier echo, a gap, a later one. */
    play(state, 8.0, 300.0, ppm, 0.3f);
    CHECK(fabs((double)now(state).delay_samples - 300.0) < 64.0);
    kws_frontend_gap(state);
    end = play(state, 10.0, 7000.0, ppm, 0.3f);
    CHECK(fabs((double)now(state).delay_samples - end) < 64.0);
    free(memory);
}

int main(void) {
    two_clocks(250.0, 1250.0);
    two_clocks(-250.0, 3000.0);
    return failed;
}
