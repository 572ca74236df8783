#include "direction.h"

#include <math.h>

#include "block.h"
#include "fft.h"
#include "kalman.h"

/* Constants as in direction.py. */
#define RATE_HZ 16000.0
#define SOUND_M_PER_S 343.0
#define LOWEST_BIN 10
#define HIGHEST_BIN 192
#define BINS (HIGHEST_BIN - LOWEST_BIN)
#define STEP_DEG 5
#define ANGLES (180 / STEP_DEG + 1)
#define SMOOTHING 0.08f
#define ABOVE_FLOOR 8.0f
#define CLEAR_SHARE 0.25f
#define FFT_SAMPLES (2 * KWS_HOP)
#define PI 3.14159265358979323846

struct kws_direction {
    float turn_re[ANGLES], turn_im[ANGLES];   /* from one bin to the next, by angle */
    float start_re[ANGLES], start_im[ANGLES]; /* at the lowest bin */
    float cross_re[BINS], cross_im[BINS];
    kws_fft *fft;
    float *window, *time;       /* [FFT_SAMPLES] */
    float *past[2];             /* [KWS_HOP] */
    float *re[2], *im[2];       /* [KWS_ROW_FLOATS] */
};

size_t kws_direction_size(void) {
    return kws_block_bytes(sizeof(kws_direction)) + kws_fft_size(FFT_SAMPLES) +
           2 * kws_block_floats(FFT_SAMPLES) + 2 * kws_block_floats(KWS_HOP) +
           4 * kws_block_floats(KWS_ROW_FLOATS);
}

void kws_direction_init(void *memory, int32_t spacing_mm) {
    kws_block block = kws_block_of(memory);
    kws_direction *d = kws_block_take(&block, sizeof *d);
    d->fft = kws_block_take(&block, kws_fft_size(FFT_SAMPLES));
    kws_fft_init(d->fft, FFT_SAMPLES);
    d->window = kws_block_take_floats(&block, FFT_SAMPLES);
    d->time = kws_block_take_floats(&block, FFT_SAMPLES);
    for (int32_t m = 0; m < 2; m++) {
        d->past[m] = kws_block_take_floats(&block, KWS_HOP);
        d->re[m] = kws_block_take_floats(&block, KWS_ROW_FLOATS);
        d->im[m] = kws_block_take_floats(&block, KWS_ROW_FLOATS);
    }
    for (int32_t k = 0; k < FFT_SAMPLES; k++) {
        d->window[k] = (float)(0.5 - 0.5 * cos(2.0 * PI * k / FFT_SAMPLES));
    }
    const double bin = 2.0 * PI * RATE_HZ / FFT_SAMPLES;
    for (int32_t a = 0; a < ANGLES; a++) {
        const double angle = (a * STEP_DEG - 90) * PI / 180.0;
        const double turn = bin * spacing_mm * 1e-3 / SOUND_M_PER_S * sin(angle);
        d->turn_re[a] = (float)cos(turn);
        d->turn_im[a] = (float)-sin(turn);
        d->start_re[a] = (float)cos(LOWEST_BIN * turn);
        d->start_im[a] = (float)-sin(LOWEST_BIN * turn);
    }
    kws_direction_reset(d);
}

void kws_direction_reset(kws_direction *d) {
    for (int32_t k = 0; k < KWS_HOP; k++) d->past[0][k] = d->past[1][k] = 0.0f;
    for (int32_t k = 0; k < BINS; k++) d->cross_re[k] = d->cross_im[k] = 0.0f;
}

void kws_direction_update(kws_direction *d, const float *first, const float *second,
                          float floor_power) {
    const float *now[2] = {first, second};
    float power = 0.0f;
    for (int32_t k = 0; k < KWS_HOP; k++) power += first[k] * first[k];
    const int32_t loud = power / KWS_HOP >= ABOVE_FLOOR * floor_power;
    for (int32_t m = 0; m < 2; m++) {
        if (loud) {
            for (int32_t k = 0; k < KWS_HOP; k++) {
                d->time[k] = d->past[m][k] * d->window[k];
                d->time[KWS_HOP + k] = now[m][k] * d->window[KWS_HOP + k];
            }
            kws_fft_forward(d->fft, d->time, d->re[m], d->im[m]);
        }
        for (int32_t k = 0; k < KWS_HOP; k++) d->past[m][k] = now[m][k];
    }
    if (!loud) return;
    const float *ar = d->re[0] + LOWEST_BIN, *ai = d->im[0] + LOWEST_BIN;
    const float *br = d->re[1] + LOWEST_BIN, *bi = d->im[1] + LOWEST_BIN;
    for (int32_t k = 0; k < BINS; k++) {
        const float re = ar[k] * br[k] + ai[k] * bi[k], im = ai[k] * br[k] - ar[k] * bi[k];
        const float scale = 1.0f / (sqrtf(re * re + im * im) + 1e-12f);
        d->cross_re[k] += SMOOTHING * (re * scale - d->cross_re[k]);
        d->cross_im[k] += SMOOTHING * (im * scale - d->cross_im[k]);
    }
}

/* How much of the averaged spectrum fits the delay of an angle. */
static float fits(const kws_direction *d, int32_t angle) {
    float re = d->start_re[angle], im = d->start_im[angle], sum = 0.0f;
    const float turn_re = d->turn_re[angle], turn_im = d->turn_im[angle];
    for (int32_t k = 0; k < BINS; k++) {
        sum += d->cross_re[k] * re - d->cross_im[k] * im;
        const float next = re * turn_re - im * turn_im;
        im = re * turn_im + im * turn_re;
        re = next;
    }
    return sum / BINS;
}

float kws_direction_angle(const kws_direction *d, int32_t *clear) {
    float share[ANGLES];
    int32_t best = 0;
    for (int32_t a = 0; a < ANGLES; a++) {
        share[a] = fits(d, a);
        if (share[a] > share[best]) best = a;
    }
    *clear = share[best] >= CLEAR_SHARE;
    float angle = (float)best;
    if (best > 0 && best < ANGLES - 1) {
        const float bend = share[best - 1] - 2.0f * share[best] + share[best + 1];
        if (bend < 0.0f) angle += 0.5f * (share[best - 1] - share[best + 1]) / bend;
    }
    return STEP_DEG * angle - 90.0f;
}
