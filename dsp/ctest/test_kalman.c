/* The canceller on noise: it converges, keeps still in silence, survives shifts and extremes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "companions.h"
#include "delay.h"
#include "kalman.h"

#define CHECK(condition)                                     \
    do {                                                     \
        if (!(condition)) {                                  \
            printf("line %d: %s\n", __LINE__, #condition);   \
            failed = 1;                                      \
        }                                                    \
    } while (0)

static int failed;
static unsigned seed = 1;

static float noise(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1.0f;
}

static void *block_of(size_t bytes, void **whole) {
    *whole = malloc(bytes + 64);
    if (!*whole || bytes == 0) exit(2);
    return (void *)(((size_t)*whole + 63) / 64 * 64);
}

static double power(const float *block) {
    double sum = 0.0;
    for (int i = 0; i < KWS_HOP; i++) sum += (double)block[i] * (double)block[i];
    return sum / KWS_HOP;
}

static void canceller(void) {
    /* An odd count, a single one, and more partitions than the shift: every loop's remainder. */
    const int32_t partitions[] = {5, 1, 2};
    void *whole[2];
    kws_reference *reference = block_of(kws_reference_size(3, partitions), &whole[0]);
    kws_kalman *kalman = block_of(kws_kalman_size(3, partitions), &whole[1]);
    kws_reference_init(reference, 3, partitions);
    kws_kalman_init(kalman, 3, partitions);
    float channels[3 * KWS_HOP], mic[KWS_HOP], error[KWS_HOP], echo[KWS_HOP];
    float before = 0.0f;
    double residual = 0.0, heard = 0.0;
    for (int block = 0; block < 300; block++) {
        for (int i = 0; i < 3 * KWS_HOP; i++) channels[i] = (i < KWS_HOP ? 0.3f : 0.01f) * noise();
        for (int i = 0; i < KWS_HOP; i++) {
            float past = i ? channels[i - 1] : before;
            mic[i] = 0.5f * channels[i] - 0.3f * past + 1e-4f * noise();
        }
        before = channels[KWS_HOP - 1];
        kws_reference_push(reference, channels);
        kws_kalman_process(kalman, reference, mic, block % 50 != 49, error, echo);
        for (int i = 0; i < KWS_HOP; i++) CHECK(fabsf(error[i] + echo[i] - mic[i]) < 1e-5f);
        residual = power(error);
        heard = power(mic);
    }
    CHECK(residual < 1e-3 * heard);

    memset(channels, 0, sizeof channels);
    for (int block = 0; block < 5; block++) kws_reference_push(reference, channels);
    CHECK(kws_reference_silent(reference));
    float re[2][KWS_BINS], im[2][KWS_BINS];
    kws_kalman_path(kalman, 0, re[0], im[0]);
    kws_kalman_process(kalman, reference, mic, 1, error, echo);
    kws_kalman_path(kalman, 0, re[1], im[1]);
    CHECK(memcmp(error, mic, sizeof mic) == 0 && power(echo) == 0.0);
    CHECK(memcmp(re[0], re[1], sizeof re[0]) == 0);

    kws_kalman_shift(kalman, 2);
    kws_kalman_path(kalman, 2, re[1], im[1]);
    CHECK(memcmp(re[0], re[1], sizeof re[0]) == 0 && memcmp(im[0], im[1], sizeof im[0]) == 0);
    kws_kalman_shift(kalman, -2);
    kws_kalman_path(kalman, 0, re[1], im[1]);
    CHECK(memcmp(re[0], re[1], sizeof re[0]) == 0);
    kws_kalman_shift(kalman, 40);
    kws_kalman_path(kalman, 4, re[1], im[1]);
    CHECK(re[1][7] == 0.0f && im[1][7] == 0.0f);

    /* Full-scale square waves against each other. */
    for (int block = 0; block < 400; block++) {
        for (int i = 0; i < 3 * KWS_HOP; i++) channels[i] = i / 37 % 2 ? 16.0f : -16.0f;
        for (int i = 0; i < KWS_HOP; i++) mic[i] = (i + block) / 11 % 2 ? 16.0f : -16.0f;
        kws_reference_push(reference, channels);
        kws_kalman_process(kalman, reference, mic, 1, error, echo);
        CHECK(isfinite(power(error)));
    }
    const int32_t none[] = {0};
    CHECK(kws_kalman_size(1, none) == 0 && kws_reference_size(9, partitions) == 0);
    free(whole[0]);
    free(whole[1]);
}

static void delay(void) {
    void *whole[3];
    kws_delay_tracker *tracker = block_of(kws_delay_tracker_size(500), &whole[0]);
    kws_delay_line *line = block_of(kws_delay_line_size(1, 8000, 3), &whole[1]);
    kws_companions *companions = block_of(kws_companions_size(KWS_HOP), &whole[2]);
    kws_delay_tracker_init(tracker, 500);
    kws_delay_line_init(line, 1, 8000, 3);
    kws_companions_init(companions, KWS_HOP);
    float played[KWS_HOP], heard[KWS_HOP], channels[3 * KWS_HOP];
    int changes = 0;
    for (int block = 0; block < 200; block++) {
        for (int i = 0; i < KWS_HOP; i++) played[i] = 0.2f * noise();
        kws_delay_line_push(line, played);
        kws_delay_line_read(line, 20 * KWS_HOP, 3, heard);
        changes += kws_delay_tracker_push(tracker, heard, played);
        kws_companions_process(companions, played, channels);
        CHECK(memcmp(channels, played, sizeof played) == 0);
        CHECK(isfinite(power(channels + 2 * KWS_HOP)));
    }
    CHECK(changes == 1);
    CHECK(abs(kws_delay_tracker_delay(tracker) - 23 * KWS_HOP) <= 2);
    CHECK(kws_delay_tracker_applied(tracker) == 22 * KWS_HOP);
    /* Nothing outside of the line is read, whatever is asked for. */
    kws_delay_line_read(line, 1 << 30, 1 << 30, heard);
    kws_delay_line_unpush(line, 1000);
    kws_delay_line_unpush(line, -1000);
    kws_delay_line_read(line, 0, -5, heard);
    for (int i = 0; i < 3; i++) free(whole[i]);
}

int main(void) {
    canceller();
    delay();
    return failed;
}
