/* The whole stage, called as firmware would: what it refuses, what it keeps, what it cancels. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend.h"
#include "kalman.h"

#define SECONDS 4
#define SAMPLES (SECONDS * 16000)
#define FRAMES (SECONDS * 100 + 8)
#define DELAY 700

static int failures;

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                          \
            failures++;                                                                     \
        }                                                                                   \
    } while (0)

typedef struct {
    float signals[KWS_SIGNALS][SAMPLES + KWS_HOP];
    float features[KWS_SIGNALS][FRAMES * 40];
    int32_t samples, frames;
} recording;

static float channels[3][SAMPLES];
static recording whole, pieces;

static kws_frontend_config usual(void) {
    const kws_frontend_config config = {.microphones = 2,
                                        .has_reference = 1,
                                        .dc_block = 1,
                                        .aec = 1,
                                        .companions = 1,
                                        .tail_ms = 320,
                                        .delay_search_ms = 500,
                                        .suppress_echo = 1,
                                        .noise_reduction = 1,
                                        .voice_branch = 1,
                                        .features = {1, 1, 1, 1}};
    return config;
}

/* A block of memory at a multiple of 64 bytes, filled with nonsense: init must not rely on 0. */
static kws_frontend *aligned(void *memory, size_t size) {
    unsigned char *start = memory;
    memset(start, 0xa5, size + 64);
    return (kws_frontend *)(void *)(start + (64 - (uintptr_t)start % 64) % 64);
}

static void make_signals(void) {
    uint32_t bits = 1;
    for (int32_t i = 0; i < SAMPLES; i++) {
        bits = bits * 1664525u + 1013904223u;
        channels[2][i] = 0.1f * ((float)(bits >> 8) / 8388608.0f - 1.0f);
    }
    for (int32_t i = DELAY; i < SAMPLES; i++) {
        channels[0][i] = 0.5f * channels[2][i - DELAY] - 0.2f * channels[2][i - DELAY + 90];
        channels[1][i] = 0.4f * channels[2][i - DELAY + 3];
    }
}

static void take(kws_frontend *state, const float *block, int32_t count, int32_t flush,
                 recording *to) {
    kws_frontend_output out;
    memset(&out, 0, sizeof out);
    for (int32_t s = 0; s < KWS_SIGNALS; s++) {
        out.signals[s] = to->signals[s] + to->samples;
        out.features[s] = to->features[s] + to->frames * 40;
    }
    if (flush) {
        kws_frontend_flush(state, &out);
    } else {
        kws_frontend_process(state, block, count, &out);
    }
    to->samples += out.samples;
    to->frames += out.frames;
}

static void feed(kws_frontend *state, int32_t size, recording *to) {
    float block[3 * 1600];
    memset(to, 0, sizeof *to);
    for (int32_t at = 0; at < SAMPLES; at += size) {
        const int32_t count = SAMPLES - at < size ? SAMPLES - at : size;
        for (int32_t c = 0; c < 3; c++) {
            memcpy(block + c * count, channels[c] + at, (size_t)count * sizeof(float));
        }
        take(state, block, count, 0, to);
    }
    take(state, NULL, 0, 1, to);
}

static float power(const float *x, int32_t count) {
    float sum = 0.0f;
    for (int32_t i = 0; i < count; i++) {
        sum += x[i] * x[i];
    }
    return sum / (float)count;
}

static void test_sizes(void) {
    kws_frontend_config config = usual();
    CHECK(kws_frontend_size(&config) % 64 == 0);
    CHECK(kws_frontend_size(&config) < 1000000);
    config.microphones = 3;
    CHECK(kws_frontend_size(&config) == 0);
    config.microphones = 0;
    CHECK(kws_frontend_size(&config) == 0);
    config = usual();
    config.tail_ms = 0;
    CHECK(kws_frontend_size(&config) == 0);
    config = usual();
    config.delay_search_ms = 501;
    CHECK(kws_frontend_size(&config) == 0);
    config.delay_search_ms = -1;
    CHECK(kws_frontend_size(&config) == 0);
}

static void test_echo(void) {
    const kws_frontend_config config = usual();
    const size_t size = kws_frontend_size(&config);
    void *memory = malloc(size + 64);
    if (memory == NULL) {
        exit(2);
    }
    kws_frontend *state = aligned(memory, size);
    kws_frontend_metrics metrics;
    kws_frontend_init(state, &config);
    feed(state, 480, &whole);
    CHECK(whole.samples == SAMPLES);
    CHECK(whole.frames == 1 + (SAMPLES - 400) / 160);
    kws_frontend_snapshot(state, &metrics);
    CHECK(labs((long)metrics.delay_samples - DELAY) < 96);
    CHECK(metrics.echo_active && metrics.erle_known && metrics.erle_db > 10.0f);
    CHECK(metrics.bad_samples == 0 && metrics.microphone == 0);
    CHECK(power(whole.signals[KWS_DETECTOR] + SAMPLES - 16000, 16000) <
          0.003f * power(channels[0] + SAMPLES - 16000, 16000));

    /* However the audio is cut, and after reset as after init. */
    kws_frontend_reset(state);
    feed(state, 97, &pieces);
    CHECK(memcmp(&pieces, &whole, sizeof whole) == 0);

    /* A gap drops what is held and keeps what was learnt: the echo is gone from the start. */
    float block[3 * 100] = {0.0f};
    memset(&pieces, 0, sizeof pieces);
    take(state, block, 100, 0, &pieces);
    CHECK(kws_frontend_held(state) == 100);
    kws_frontend_gap(state);
    CHECK(kws_frontend_held(state) == 0);
    take(state, NULL, 0, 1, &pieces);
    CHECK(pieces.samples == 0);
    feed(state, 480, &pieces);
    CHECK(power(pieces.signals[KWS_DETECTOR] + 1000, 2000) < 0.3f * power(whole.signals[KWS_DETECTOR] + 1000, 2000));
    memset(&pieces, 0, sizeof pieces);

    /* Nonsense is counted and heard as silence. */
    for (int32_t i = 0; i < 300; i++) {
        block[i] = i % 3 ? NAN : -INFINITY;
    }
    take(state, block, 100, 0, &pieces);
    take(state, NULL, 0, 1, &pieces);
    CHECK(pieces.samples == 100);
    for (int32_t i = 0; i < pieces.samples; i++) {
        CHECK(isfinite(pieces.signals[KWS_DETECTOR][i]) && isfinite(pieces.signals[KWS_VOICE][i]));
    }
    kws_frontend_snapshot(state, &metrics);
    CHECK(metrics.bad_samples == 300);
    free(memory);
}

int main(void) {
    make_signals();
    test_sizes();
    test_echo();
    if (failures == 0) {
        printf("frontend: passed\n");
    }
    return failures != 0;
}
