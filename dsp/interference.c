#include "interference.h"

#include <string.h>

#include "block.h"
#include "kalman.h"

#define DELAY KWS_INTERFERENCE_DELAY
#define KEEP 0.9999
#define JUMP_POWER 4.0f
#define AVERAGE_SHARE 0.008f
#define LOWEST_POWER 1e-10f
#define COPY_RATIO 0.01f
#define COPY_SHARE 0.03f
#define WARM_BLOCKS 94

static const int32_t PARTITIONS[1] = {4};

struct kws_interference {
    kws_reference *second;
    kws_kalman *filter;
    float *past;    /* [DELAY] */
    float *delayed; /* [KWS_HOP] */
    float average;
    float calm_power, left_power; /* of the first microphone while nobody begins to speak */
    int32_t calm_blocks;
};

size_t kws_interference_size(void) {
    return kws_block_bytes(sizeof(kws_interference)) + kws_reference_size(1, PARTITIONS) +
           kws_kalman_size(1, PARTITIONS) + kws_block_floats(DELAY) + kws_block_floats(KWS_HOP);
}

void kws_interference_init(void *memory) {
    kws_block block = kws_block_of(memory);
    kws_interference *f = kws_block_take(&block, sizeof *f);
    f->second = kws_block_take(&block, kws_reference_size(1, PARTITIONS));
    kws_reference_init(f->second, 1, PARTITIONS);
    f->filter = kws_block_take(&block, kws_kalman_size(1, PARTITIONS));
    kws_kalman_init(f->filter, 1, PARTITIONS);
    kws_kalman_keep(f->filter, KEEP);
    f->past = kws_block_take_floats(&block, DELAY);
    f->delayed = kws_block_take_floats(&block, KWS_HOP);
    kws_interference_reset(f);
}

void kws_interference_reset(kws_interference *f) {
    kws_kalman_reset(f->filter);
    f->average = 0.0f;
    f->calm_power = f->left_power = 0.0f;
    f->calm_blocks = 0;
    kws_interference_restart(f);
}

void kws_interference_restart(kws_interference *f) {
    kws_reference_reset(f->second);
    memset(f->past, 0, DELAY * sizeof(float));
}

static float power_of(const float *block) {
    float sum = 0.0f;
    for (int32_t i = 0; i < KWS_HOP; i++) {
        sum += block[i] * block[i];
    }
    return sum / (float)KWS_HOP;
}

/* Whether nobody begins to speak, by the power of the first microphone against its average. */
static int32_t is_calm(kws_interference *f, const float *first) {
    const float power = power_of(first) + LOWEST_POWER;
    if (f->average == 0.0f) {
        f->average = power;
    }
    const float jump = JUMP_POWER * f->average;
    f->average += AVERAGE_SHARE * ((power < jump ? power : jump) - f->average);
    return power < jump;
}

void kws_interference_process(kws_interference *f, const float *first, const float *second,
                              int32_t usable, int32_t learn, float *output) {
    memcpy(f->delayed, f->past, DELAY * sizeof(float));
    memcpy(f->delayed + DELAY, first, (KWS_HOP - DELAY) * sizeof(float));
    memcpy(f->past, first + KWS_HOP - DELAY, DELAY * sizeof(float));
    kws_reference_push(f->second, second);
    const int32_t calm = is_calm(f, first);
    if (!usable) {
        memcpy(output, f->delayed, KWS_HOP * sizeof(float));
        return;
    }
    kws_kalman_predict(f->filter, f->second, f->delayed, calm && learn, output);
    if (calm) {
        f->calm_blocks += f->calm_blocks < WARM_BLOCKS;
        f->calm_power += COPY_SHARE * (power_of(f->delayed) - f->calm_power);
        f->left_power += COPY_SHARE * (power_of(output) - f->left_power);
    }
    /* One signal on two channels: the talker would go with the noise. Wind or a finger at the second
     * microphone, or a noise that has moved: more would come than go. A filter that has just begun to
     * learn is not trusted. */
    const int32_t copies = f->left_power < COPY_RATIO * f->calm_power;
    if (copies || f->left_power > f->calm_power || f->calm_blocks < WARM_BLOCKS) {
        memcpy(output, f->delayed, KWS_HOP * sizeof(float));
    }
}
