/* Products of blocks, added in lanes: the same order, so the same bits, on every processor. */
#ifndef KWS_ENERGY_H
#define KWS_ENERGY_H

#include "kalman.h"
#include "vector.h"

static inline float kws_product(const float *a, const float *b) {
    float part[KWS_LANES] = {0.0f};
    for (int32_t k = 0; k < KWS_HOP; k += KWS_LANES) {
        for (int32_t lane = 0; lane < KWS_LANES; lane++) {
            part[lane] += a[k + lane] * b[k + lane];
        }
    }
    float sum = 0.0f;
    for (int32_t lane = 0; lane < KWS_LANES; lane++) sum += part[lane];
    return sum;
}

static inline float kws_energy(const float *block) { return kws_product(block, block); }

#endif
