/* Fuzz of the whole stage: random configurations, block lengths and bit patterns, gaps, resets.
 *
 *     fuzz_frontend [runs] [first seed]
 *
 * Built with the sanitizers it looks for reads and writes outside; by itself it checks that what
 * comes out is finite and that lengths add up.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend.h"
#include "kalman.h"

#define LONGEST 2000
#define BLOCKS 60

static uint32_t random_state;

static uint32_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static int32_t below(uint32_t limit) { return (int32_t)(next_random() % limit); }

static float any_float(int32_t kind) {
    const uint32_t bits = next_random();
    float value;
    switch (kind) {
    case 0:
        memcpy(&value, &bits, sizeof value); /* NaN, infinities, denormals and all */
        return value;
    case 1:
        return bits & 1 ? 1.0f : -1.0f;
    case 2:
        return 0.0f;
    case 3:
        return 1e-30f * (float)(bits % 1000);
    default:
        return (float)(int32_t)(bits % 20001) / 10000.0f - 1.0f;
    }
}

static kws_frontend_config any_config(void) {
    kws_frontend_config c;
    memset(&c, 0, sizeof c);
    c.microphones = 1 + below(2);
    c.has_reference = below(4) > 0;
    c.dc_block = below(4) > 0;
    c.aec = below(4) > 0;
    c.companions = below(2);
    c.tail_ms = 1 + below(400);
    c.delay_search_ms = below(2) ? below(501) : 0;
    c.drift = below(2);
    c.mic_spacing_mm = below(2) * 60;
    c.combine = below(2);
    c.suppress_echo = below(2);
    c.noise_reduction = below(2);
    c.voice_branch = below(2);
    for (int32_t s = 0; s < KWS_SIGNALS; s++) {
        c.features[s] = below(2);
    }
    return c;
}

static float *floats(size_t count) {
    float *made = calloc(count, sizeof *made);
    if (made == NULL) {
        exit(2);
    }
    return made;
}

static int check(const char *name, const float *values, int32_t count, uint32_t seed) {
    for (int32_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            printf("seed %u: %s[%d] is %g\n", (unsigned)seed, name, (int)i, (double)values[i]);
            return 1;
        }
    }
    return 0;
}

static const char *const NAMES[KWS_SIGNALS] = {"detector", "voice", "residual", "reference"};

static int one(uint32_t seed) {
    random_state = seed * 2654435761u + 1u;
    const kws_frontend_config config = any_config();
    const size_t size = kws_frontend_size(&config);
    void *state = aligned_alloc(64, size);
    if (size == 0 || state == NULL) {
        return 1;
    }
    kws_frontend_init(state, &config);
    const int32_t rows = config.microphones + 1;
    int64_t fed = 0, given = 0;
    int bad = 0;
    for (int32_t block = 0; block < BLOCKS && !bad; block++) {
        const int32_t samples = below(LONGEST + 1), kind = below(6);
        /* Exactly the room that the header asks for: the sanitizer sees one float more. */
        float *channels = floats((size_t)rows * (size_t)samples);
        const size_t room = (size_t)samples + KWS_HOP - 1;
        const size_t frames = (size_t)kws_frontend_frames(samples) * 40;
        kws_frontend_output out = {{NULL}, {NULL}, 0, 0};
        for (int32_t s = 0; s < KWS_SIGNALS; s++) {
            out.signals[s] = floats(room);
            out.features[s] = config.features[s] ? floats(frames) : NULL;
        }
        kws_frontend_metrics metrics;
        for (int32_t i = 0; i < rows * samples; i++) {
            channels[i] = any_float(kind);
        }
        if (below(20) == 0) {
            fed -= kws_frontend_held(state);
            kws_frontend_gap(state);
        }
        kws_frontend_process(state, channels, samples, &out);
        fed += samples;
        given += out.samples;
        for (int32_t s = 0; s < KWS_SIGNALS; s++) {
            bad |= check(NAMES[s], out.signals[s], out.samples, seed) ||
                   (config.features[s] && check(NAMES[s], out.features[s], out.frames * 40, seed));
        }
        kws_frontend_snapshot(state, &metrics);
        if (!isfinite(metrics.snr_db) || !isfinite(metrics.erle_db)) {
            printf("seed %u: metrics are not finite\n", (unsigned)seed);
            bad = 1;
        }
        if (below(15) == 0) {
            kws_frontend_flush(state, &out);
            given += out.samples;
        }
        free(channels);
        for (int32_t s = 0; s < KWS_SIGNALS; s++) {
            free(out.signals[s]);
            free(out.features[s]);
        }
    }
    if (!bad && fed != given + kws_frontend_held(state)) {
        printf("seed %u: %lld samples in, %lld out, %d held\n", (unsigned)seed, (long long)fed,
               (long long)given, (int)kws_frontend_held(state));
        bad = 1;
    }
    free(state);
    return bad;
}

int main(int count, char **words) {
    const int runs = count > 1 ? atoi(words[1]) : 20;
    const int first = count > 2 ? atoi(words[2]) : 1;
    for (int run = 0; run < runs; run++) {
        if (one((uint32_t)(first + run))) {
            return 1;
        }
    }
    printf("%d runs passed\n", runs);
    return 0;
}
