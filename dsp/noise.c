#include "noise.h"

#include "approximation.h"
#include "vector.h"

#define PRIOR_SNR 31.6227766f /* 15 dB */
#define SMOOTHING 0.8f
#define PROBABILITY_SMOOTHING 0.9f
#define STUCK_PROBABILITY 0.99f
#define FIRST_FRAMES 10
#define FLOOR 1e-12f

void kws_noise_reset(kws_noise *noise) {
    noise->frames = 0;
    for (int32_t k = 0; k < noise->bins; k++) {
        noise->power[k] = FLOOR;
        noise->mean_probability[k] = 0.5f;
    }
}

static void average_first(kws_noise *noise, const float *restrict periodogram) {
    float *restrict power = noise->power;
    noise->frames++;
    const float share = 1.0f / (float)noise->frames;
    for (int32_t k = 0; k < noise->bins; k++) {
        const float next = power[k] + (periodogram[k] - power[k]) * share;
        power[k] = next < FLOOR ? FLOOR : next;
    }
}

KWS_CLONES
static void follow(float *restrict power, float *restrict mean,
                   const float *restrict periodogram, int32_t bins) {
    for (int32_t k = 0; k < bins; k++) {
        const float raw = periodogram[k] / power[k] * (PRIOR_SNR / (1.0f + PRIOR_SNR));
        const float exponent = raw < 50.0f ? raw : 50.0f;
        const float likelihood = kws_exp(-exponent);
        float probability = 1.0f / (1.0f + (1.0f + PRIOR_SNR) * likelihood);
        mean[k] += (1.0f - PROBABILITY_SMOOTHING) * (probability - mean[k]);
        /* A bin that has looked like speech for long is noise that grew: let it in. */
        const float most = mean[k] > STUCK_PROBABILITY ? STUCK_PROBABILITY : 1.0f;
        probability = probability < most ? probability : most;
        const float step = (1.0f - SMOOTHING) * (1.0f - probability);
        const float next = power[k] + step * (periodogram[k] - power[k]);
        power[k] = next < FLOOR ? FLOOR : next;
    }
}

void kws_noise_update(kws_noise *noise, const float *periodogram) {
    if (noise->frames < FIRST_FRAMES) {
        average_first(noise, periodogram);
    } else {
        follow(noise->power, noise->mean_probability, periodogram, noise->bins);
    }
}
