/* What the tests of single stages need and the core does not offer: functions that are inlined
 * elsewhere, and states whose rows the caller lays out.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "approximation.h"
#include "block.h"
#include "kalman.h"
#include "meter.h"
#include "noise.h"

void probe_exp(const float *x, float *y, int32_t count);
void probe_log(const float *x, float *y, int32_t count);
size_t probe_noise_size(void);
void probe_noise_init(void *memory, int32_t bins);
void probe_noise_update(void *memory, const float *power, float *noise);
int32_t probe_meter_size(void);
void probe_meter(const kws_meter *meter, float *values);

void probe_exp(const float *x, float *y, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        y[i] = kws_exp(x[i]);
    }
}

void probe_log(const float *x, float *y, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        y[i] = kws_log(x[i]);
    }
}

size_t probe_noise_size(void) {
    return kws_block_bytes(sizeof(kws_noise)) + 2 * kws_block_floats(KWS_ROW_FLOATS);
}

void probe_noise_init(void *memory, int32_t bins) {
    kws_block block = kws_block_of(memory);
    kws_noise *noise = kws_block_take(&block, sizeof *noise);
    noise->power = kws_block_take_floats(&block, KWS_ROW_FLOATS);
    noise->mean_probability = kws_block_take_floats(&block, KWS_ROW_FLOATS);
    noise->bins = bins;
    kws_noise_reset(noise);
}

void probe_noise_update(void *memory, const float *power, float *noise) {
    kws_noise *state = memory;
    kws_noise_update(state, power);
    memcpy(noise, state->power, (size_t)state->bins * sizeof(float));
}

int32_t probe_meter_size(void) { return (int32_t)sizeof(kws_meter); }

void probe_meter(const kws_meter *meter, float *values) {
    const float floor_db = kws_power_to_db(meter->floor_power);
    values[0] = kws_power_to_db(meter->mic_power[0]);
    values[1] = kws_power_to_db(meter->mic_power[1]);
    values[2] = kws_power_to_db(meter->reference_power);
    values[3] = floor_db;
    values[4] = kws_power_to_db(meter->residual_power) - floor_db;
    values[5] = meter->erle_db;
}
