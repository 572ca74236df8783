/* Noise power spectrum: twin of noise.py. */
#ifndef KWS_NOISE_H
#define KWS_NOISE_H

#include <stdint.h>

/* State; the rows are padded rows of the caller's block. */
typedef struct {
    int32_t bins;
    int32_t frames;
    float *power;
    float *mean_probability;
} kws_noise;

void kws_noise_reset(kws_noise *noise);
/* Take a periodogram; `power` is the estimate afterwards. */
void kws_noise_update(kws_noise *noise, const float *periodogram);

#endif
