#include "feature_stream.h"

#include <math.h>
#include <string.h>

#include "approximation.h"
#include "block.h"
#include "fft.h"

#define SAMPLE_RATE_HZ 16000.0f
#define LOW_HZ 80.0f
#define HIGH_HZ 7600.0f
#define POWER_FLOOR 1e-9f
#define PI 3.14159265358979f

#define PCEN_SMOOTHING 0.025f
#define PCEN_ALPHA 0.95f
#define PCEN_DELTA 2.0f
#define PCEN_EPS 1e-8f
#define PCEN_SCALE 0.5f
#define PCEN_OFFSET (-1.7f)

enum { BINS = KWS_FEATURE_FFT / 2 + 1, BANDS = KWS_FEATURE_BANDS };
/* A bin lies under two triangles at most. */
enum { WEIGHTS = 2 * BINS };

struct kws_mel {
    kws_fft *fft;
    float *window;                /* [KWS_FEATURE_FRAME] */
    float *weights;               /* of all bands, one behind the other */
    int32_t first_bin[BANDS];
    int32_t bins[BANDS];
    float *time, *re, *im;
};

struct kws_features {
    kws_mel *mel;
    float *held; /* [KWS_FEATURE_FRAME] */
    int32_t held_count;
    int32_t started;
    float level[BANDS];
};

size_t kws_mel_size(void) {
    return kws_block_bytes(sizeof(kws_mel)) + kws_fft_size(KWS_FEATURE_FFT) +
           kws_block_floats(KWS_FEATURE_FRAME) + kws_block_floats(WEIGHTS) +
           kws_block_floats(KWS_FEATURE_FFT) + 2 * kws_block_floats(KWS_PADDED(BINS));
}

size_t kws_features_size(void) {
    return kws_block_bytes(sizeof(kws_features)) + kws_block_floats(KWS_FEATURE_FRAME);
}

/* HTK mel scale. Tables are made in double precision: they are made once. */
static double mel_of(double hz) { return 2595.0 * log10(1.0 + hz / 700.0); }
static double hz_of(double mel) { return 700.0 * (pow(10.0, mel / 2595.0) - 1.0); }

static void make_bands(kws_mel *f) {
    const double low = mel_of((double)LOW_HZ), high = mel_of((double)HIGH_HZ);
    const double step = (high - low) / (double)(BANDS + 1);
    int32_t used = 0;
    for (int32_t band = 0; band < BANDS; band++) {
        const double left = hz_of(low + step * (double)band);
        const double peak = hz_of(low + step * (double)(band + 1));
        const double right = hz_of(low + step * (double)(band + 2));
        f->first_bin[band] = 0;
        f->bins[band] = 0;
        for (int32_t k = 0; k < BINS; k++) {
            const double hz = (double)k * (double)SAMPLE_RATE_HZ / (double)KWS_FEATURE_FFT;
            const double rising = (hz - left) / (peak - left);
            const double falling = (right - hz) / (right - peak);
            const double weight = rising < falling ? rising : falling;
            if (weight > 0.0 && used < WEIGHTS) {
                if (f->bins[band] == 0) {
                    f->first_bin[band] = k;
                }
                f->weights[used++] = (float)weight;
                f->bins[band]++;
            }
        }
    }
}

void kws_mel_init(void *memory) {
    kws_block block = kws_block_of(memory);
    kws_mel *f = kws_block_take(&block, sizeof *f);
    f->fft = kws_block_take(&block, kws_fft_size(KWS_FEATURE_FFT));
    kws_fft_init(f->fft, KWS_FEATURE_FFT);
    f->window = kws_block_take_floats(&block, KWS_FEATURE_FRAME);
    f->weights = kws_block_take_floats(&block, WEIGHTS);
    f->time = kws_block_take_floats(&block, KWS_FEATURE_FFT);
    f->re = kws_block_take_floats(&block, KWS_PADDED(BINS));
    f->im = kws_block_take_floats(&block, KWS_PADDED(BINS));
    memset(f->time, 0, KWS_FEATURE_FFT * sizeof(float));
    for (int32_t i = 0; i < KWS_FEATURE_FRAME; i++) {
        f->window[i] = 0.5f - 0.5f * cosf(2.0f * PI * (float)i / (float)KWS_FEATURE_FRAME);
    }
    make_bands(f);
}

void kws_features_init(void *memory, kws_mel *mel) {
    kws_block block = kws_block_of(memory);
    kws_features *f = kws_block_take(&block, sizeof *f);
    f->mel = mel;
    f->held = kws_block_take_floats(&block, KWS_FEATURE_FRAME);
    kws_features_reset(f);
}

void kws_features_reset(kws_features *f) {
    f->held_count = 0;
    f->started = 0;
    memset(f->level, 0, sizeof f->level);
}

static void mel_power(kws_mel *f, const float *held, float *restrict power) {
    for (int32_t i = 0; i < KWS_FEATURE_FRAME; i++) {
        f->time[i] = held[i] * f->window[i];
    }
    kws_fft_forward(f->fft, f->time, f->re, f->im);
    for (int32_t k = 0; k < BINS; k++) {
        f->re[k] = (f->re[k] * f->re[k] + f->im[k] * f->im[k]) * (1.0f / KWS_FEATURE_FRAME);
    }
    const float *weight = f->weights;
    for (int32_t band = 0; band < BANDS; band++) {
        const float *bins = f->re + f->first_bin[band];
        float sum = 0.0f;
        for (int32_t k = 0; k < f->bins[band]; k++) {
            sum += bins[k] * weight[k];
        }
        weight += f->bins[band];
        power[band] = sum + POWER_FLOOR;
    }
}

static void compress(kws_features *f, const float *restrict power, float *restrict out) {
    if (!f->started) {
        memcpy(f->level, power, sizeof f->level);
        f->started = 1;
    }
    for (int32_t band = 0; band < BANDS; band++) {
        f->level[band] += PCEN_SMOOTHING * (power[band] - f->level[band]);
        const float gain = kws_exp(-PCEN_ALPHA * kws_log(PCEN_EPS + f->level[band]));
        out[band] = sqrtf(power[band] * gain + PCEN_DELTA) * PCEN_SCALE + PCEN_OFFSET;
    }
}

int32_t kws_features_process(kws_features *f, const float *samples, int32_t count, float *frames) {
    int32_t made = 0, taken = 0;
    float power[BANDS];
    while (taken < count) {
        const int32_t room = KWS_FEATURE_FRAME - f->held_count;
        const int32_t part = count - taken < room ? count - taken : room;
        memcpy(f->held + f->held_count, samples + taken, (size_t)part * sizeof(float));
        f->held_count += part;
        taken += part;
        if (f->held_count == KWS_FEATURE_FRAME) {
            mel_power(f->mel, f->held, power);
            compress(f, power, frames + (size_t)made * BANDS);
            made++;
            f->held_count = KWS_FEATURE_FRAME - KWS_FEATURE_HOP;
            memmove(f->held, f->held + KWS_FEATURE_HOP,
                    (size_t)f->held_count * sizeof(float));
        }
    }
    return made;
}
