/* Running averages behind the metrics: twin of metrics.py. */
#ifndef KWS_METER_H
#define KWS_METER_H

#include <stdint.h>

#include "microphone_choice.h"

#define KWS_FLOOR_SPANS 4

typedef struct {
    int32_t microphones;
    int32_t blocks;
    float mic_power[KWS_MOST_MICROPHONES];
    float reference_power;
    float residual_power;
    float floor_power;
    float echo_power[2]; /* microphone and residual while the loudspeaker plays */
    float erle_db;
    int32_t erle_known;
    int64_t clipped_samples;
    int64_t bad_samples;
    /* Smallest level of the last spans. */
    float minima[KWS_FLOOR_SPANS - 1];
    int32_t minima_count;
    float current;
    int32_t span_blocks;
} kws_meter;

void kws_meter_init(kws_meter *meter, int32_t microphones);
float kws_power_to_db(float power);
/* Whether the reference has played within the last moments. */
int32_t kws_meter_echo_active(const kws_meter *meter);
/* Take one block: microphones, reference and the residual of microphone `used`. */
void kws_meter_update(kws_meter *meter, const float *const *mics, const float *reference,
                      const float *residual, int32_t used, int32_t samples);

#endif
