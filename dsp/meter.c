#include "meter.h"

#include <math.h>
#include <string.h>

#include "vector.h"

#define LOWEST_DB (-120.0f)
#define LOWEST_POWER 1e-12f
#define SMOOTHING 0.05f
#define ECHO_ACTIVE_POWER 1e-6f /* -60 dB re full scale */
#define FLOOR_SPAN_BLOCKS 100
#define NO_MINIMUM 3.0e38f

void kws_meter_init(kws_meter *meter, int32_t microphones) {
    memset(meter, 0, sizeof *meter);
    meter->microphones = microphones;
    meter->floor_power = LOWEST_POWER;
    meter->current = NO_MINIMUM;
}

float kws_power_to_db(float power) {
    const float db = 10.0f * log10f(power < LOWEST_POWER ? LOWEST_POWER : power);
    return db < LOWEST_DB ? LOWEST_DB : db;
}

int32_t kws_meter_echo_active(const kws_meter *meter) {
    return meter->reference_power > ECHO_ACTIVE_POWER;
}

static float mean_power(const float *samples, int32_t count) {
    /* Lanes of partial sums: as a plain sum the order would forbid vector code. */
    float lanes[KWS_LANES] = {0.0f};
    int32_t i = 0;
    for (; i + KWS_LANES <= count; i += KWS_LANES) {
        for (int32_t lane = 0; lane < KWS_LANES; lane++) {
            lanes[lane] += samples[i + lane] * samples[i + lane];
        }
    }
    float sum = 0.0f;
    for (; i < count; i++) {
        sum += samples[i] * samples[i];
    }
    for (int32_t lane = 0; lane < KWS_LANES; lane++) {
        sum += lanes[lane];
    }
    return sum / (float)count;
}

static float floor_of(kws_meter *meter, float power) {
    meter->current = power < meter->current ? power : meter->current;
    float lowest = meter->current;
    for (int32_t i = 0; i < meter->minima_count; i++) {
        lowest = meter->minima[i] < lowest ? meter->minima[i] : lowest;
    }
    meter->span_blocks++;
    if (meter->span_blocks == FLOOR_SPAN_BLOCKS) {
        if (meter->minima_count == KWS_FLOOR_SPANS - 1) {
            memmove(meter->minima, meter->minima + 1, sizeof meter->minima - sizeof(float));
            meter->minima_count--;
        }
        meter->minima[meter->minima_count++] = meter->current;
        meter->current = NO_MINIMUM;
        meter->span_blocks = 0;
    }
    return lowest < LOWEST_POWER ? LOWEST_POWER : lowest;
}

void kws_meter_update(kws_meter *meter, const float *const *mics, const float *reference,
                      const float *residual, int32_t used, int32_t samples) {
    float powers[KWS_MOST_MICROPHONES] = {0.0f};
    float sum = 0.0f;
    for (int32_t m = 0; m < meter->microphones; m++) {
        powers[m] = mean_power(mics[m], samples);
        sum += powers[m];
    }
    const float played = mean_power(reference, samples), left = mean_power(residual, samples);
    /* An average would never be rid of what is not finite. */
    if (!isfinite(sum + played + left)) return;
    /* Plain averages until the first 0.3 s are over: no climb from zero. */
    const int32_t first_blocks = (int32_t)(1.0f / SMOOTHING);
    meter->blocks += meter->blocks <= first_blocks;
    const float share =
        meter->blocks < first_blocks ? 1.0f / (float)meter->blocks : SMOOTHING;
    for (int32_t m = 0; m < meter->microphones; m++) {
        meter->mic_power[m] += share * (powers[m] - meter->mic_power[m]);
    }
    meter->reference_power += share * (played - meter->reference_power);
    meter->residual_power += share * (left - meter->residual_power);
    meter->floor_power = floor_of(meter, meter->residual_power);
    if (kws_meter_echo_active(meter)) {
        meter->echo_power[0] += SMOOTHING * (powers[used] - meter->echo_power[0]);
        meter->echo_power[1] += SMOOTHING * (left - meter->echo_power[1]);
        meter->erle_db =
            kws_power_to_db(meter->echo_power[0]) - kws_power_to_db(meter->echo_power[1]);
        meter->erle_known = 1;
    }
}
