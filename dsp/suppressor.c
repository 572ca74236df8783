#include "suppressor.h"

#include <math.h>
#include <string.h>

#include "block.h"
#include "fft.h"
#include "kalman.h"
#include "log_mmse.h"
#include "noise.h"

#define WINDOW (2 * KWS_HOP)
#define PI 3.14159265358979f

#define DECISION_DIRECTED 0.96f
#define LOWEST_PRIOR 1e-3f
#define GAIN_FLOOR 0.177827941f /* -15 dB */
#define LOWEST_POWER 1e-12f

#define ECHO_SMOOTHING 0.3f
#define ECHO_OVERESTIMATE 2.0f
#define ECHO_DECAY 0.75f
#define LEAK_RISE 1.00925289f /* 2.5 dB a second, for a block of 16 ms */
#define LEAK_START 0.1f
#define LEAK_LOWEST 1e-5f
#define LEAK_HIGHEST 1.0f

struct kws_suppressor {
    kws_fft *fft;
    kws_noise noise;
    float *window;
    float *past_error, *past_echo; /* [KWS_HOP] */
    float *overlap;
    float *leak, *error_power, *echo_power, *tail, *speech_power;
    /* Work space of one call. */
    float *time, *re, *im, *echo_re, *echo_im;
    float *power, *echo_now, *interference, *prior, *posterior, *gain;
};

enum { BIN_ROWS = 5 + 2 + 10 };

size_t kws_suppressor_size(void) {
    return kws_block_bytes(sizeof(kws_suppressor)) + kws_fft_size(WINDOW) +
           2 * kws_block_floats(WINDOW) + 3 * kws_block_floats(KWS_HOP) +
           BIN_ROWS * kws_block_floats(KWS_ROW_FLOATS);
}

void kws_suppressor_init(void *memory) {
    kws_block block = kws_block_of(memory);
    kws_suppressor *s = kws_block_take(&block, sizeof *s);
    s->fft = kws_block_take(&block, kws_fft_size(WINDOW));
    kws_fft_init(s->fft, WINDOW);
    s->window = kws_block_take_floats(&block, WINDOW);
    s->time = kws_block_take_floats(&block, WINDOW);
    for (int32_t i = 0; i < WINDOW; i++) {
        s->window[i] = sqrtf(0.5f - 0.5f * cosf(2.0f * PI * (float)i / (float)WINDOW));
    }
    float **halves[] = {&s->past_error, &s->past_echo, &s->overlap};
    for (size_t i = 0; i < sizeof halves / sizeof halves[0]; i++) {
        *halves[i] = kws_block_take_floats(&block, KWS_HOP);
    }
    float **rows[BIN_ROWS] = {
        &s->leak,    &s->error_power, &s->echo_power,   &s->tail,  &s->speech_power,
        &s->re,      &s->im,          &s->echo_re,      &s->echo_im, &s->power,
        &s->echo_now, &s->interference, &s->prior,      &s->posterior, &s->gain,
        &s->noise.power, &s->noise.mean_probability};
    for (size_t i = 0; i < BIN_ROWS; i++) {
        *rows[i] = kws_block_take_floats(&block, KWS_ROW_FLOATS);
    }
    s->noise.bins = KWS_BINS;
    kws_suppressor_reset(s);
}

void kws_suppressor_reset(kws_suppressor *s) {
    kws_noise_reset(&s->noise);
    float *halves[] = {s->past_error, s->past_echo, s->overlap};
    for (size_t i = 0; i < sizeof halves / sizeof halves[0]; i++) {
        memset(halves[i], 0, KWS_HOP * sizeof(float));
    }
    float *rows[] = {s->error_power, s->echo_power, s->tail, s->speech_power};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memset(rows[i], 0, KWS_ROW_FLOATS * sizeof(float));
    }
    for (int32_t k = 0; k < KWS_ROW_FLOATS; k++) {
        s->leak[k] = LEAK_START;
    }
}

/* Spectrum of the last two blocks under the window. */
static void analyse(kws_suppressor *s, float *restrict past, const float *restrict block,
                    float *re, float *im) {
    for (int32_t i = 0; i < KWS_HOP; i++) {
        s->time[i] = past[i] * s->window[i];
        s->time[KWS_HOP + i] = block[i] * s->window[KWS_HOP + i];
    }
    memcpy(past, block, KWS_HOP * sizeof(float));
    kws_fft_forward(s->fft, s->time, re, im);
}

/* Power that the canceller left. */
KWS_CLONES
static void follow_echo(float *restrict error_power, float *restrict echo_power,
                        float *restrict tail, float *restrict leak, const float *restrict noise,
                        const float *restrict power, const float *restrict echo,
                        float *restrict interference) {
    for (int32_t k = 0; k < KWS_BINS; k++) {
        error_power[k] += ECHO_SMOOTHING * (power[k] - error_power[k]);
        echo_power[k] += ECHO_SMOOTHING * (echo[k] - echo_power[k]);
        const float decayed = ECHO_DECAY * tail[k];
        tail[k] = decayed > echo_power[k] ? decayed : echo_power[k];
        const float ratio = error_power[k] / (tail[k] + LOWEST_POWER);
        const float falling = 0.7f * leak[k] + 0.3f * ratio;
        const float followed = ratio < leak[k] ? falling : leak[k] * LEAK_RISE;
        float next = echo_power[k] > 2.0f * noise[k] ? followed : leak[k];
        next = next < LEAK_LOWEST ? LEAK_LOWEST : next;
        leak[k] = next > LEAK_HIGHEST ? LEAK_HIGHEST : next;
        interference[k] = ECHO_OVERESTIMATE * leak[k] * tail[k];
    }
}

KWS_CLONES
static void ratios(const float *restrict power, const float *restrict speech,
                   const float *restrict noise, float noise_share, float *restrict interference,
                   float *restrict prior, float *restrict posterior) {
    for (int32_t k = 0; k < KWS_BINS; k++) {
        float disturbing = interference[k] + noise_share * noise[k];
        disturbing = disturbing < LOWEST_POWER ? LOWEST_POWER : disturbing;
        const float after = power[k] / disturbing;
        const float above = after > 1.0f ? after - 1.0f : 0.0f;
        const float before =
            DECISION_DIRECTED * speech[k] / disturbing + (1.0f - DECISION_DIRECTED) * above;
        prior[k] = before < LOWEST_PRIOR ? LOWEST_PRIOR : before;
        posterior[k] = after;
    }
}

static float power_of(float re, float im) { return re * re + im * im; }

void kws_suppressor_process(kws_suppressor *s, const float *error, const float *echo,
                            int32_t reduce_noise, float *voice) {
    analyse(s, s->past_error, error, s->re, s->im);
    analyse(s, s->past_echo, echo, s->echo_re, s->echo_im);
    for (int32_t k = 0; k < KWS_BINS; k++) {
        s->power[k] = power_of(s->re[k], s->im[k]);
        s->echo_now[k] = power_of(s->echo_re[k], s->echo_im[k]);
    }
    follow_echo(s->error_power, s->echo_power, s->tail, s->leak, s->noise.power, s->power,
                s->echo_now, s->interference);
    /* The tracker sees what residual echo does not explain, or music would count as noise. */
    float *unexplained = s->prior;
    for (int32_t k = 0; k < KWS_BINS; k++) {
        const float rest = s->power[k] - s->interference[k];
        const float least = 0.05f * s->power[k];
        unexplained[k] = rest > least ? rest : least;
    }
    kws_noise_update(&s->noise, unexplained);
    ratios(s->power, s->speech_power, s->noise.power, reduce_noise ? 1.0f : 0.0f,
           s->interference, s->prior, s->posterior);
    kws_log_mmse_gain(s->prior, s->posterior, s->gain, KWS_BINS);
    for (int32_t k = 0; k < KWS_BINS; k++) {
        const float gain = s->gain[k] > GAIN_FLOOR ? s->gain[k] : GAIN_FLOOR;
        s->speech_power[k] = gain * gain * s->power[k];
        s->re[k] *= gain;
        s->im[k] *= gain;
    }
    kws_fft_inverse(s->fft, s->re, s->im, s->time);
    for (int32_t i = 0; i < KWS_HOP; i++) {
        voice[i] = s->overlap[i] + s->time[i] * s->window[i];
        s->overlap[i] = s->time[KWS_HOP + i] * s->window[KWS_HOP + i];
    }
}
