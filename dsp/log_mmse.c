#include "log_mmse.h"

#include "approximation.h"
#include "vector.h"

#define SMALLEST_ARGUMENT 1e-6f
#define LARGEST_ARGUMENT 80.0f

/* E1 of a positive number: Abramowitz and Stegun 5.1.53 below 1, 5.1.56 above. */
KWS_INLINE float exponential_integral(float argument) {
    float x = argument < SMALLEST_ARGUMENT ? SMALLEST_ARGUMENT : argument;
    x = x > LARGEST_ARGUMENT ? LARGEST_ARGUMENT : x;
    const float y = x < 1.0f ? x : 1.0f;
    float series = 0.00107857f;
    series = series * y - 0.00976004f;
    series = series * y + 0.05519968f;
    series = series * y - 0.24991055f;
    series = series * y + 0.99999193f;
    series = series * y - 0.57721566f;
    const float small = series - kws_log(x);
    float above = x + 8.5733287401f;
    above = above * x + 18.0590169730f;
    above = above * x + 8.6347608925f;
    above = above * x + 0.2677737343f;
    float below = x + 9.5733223454f;
    below = below * x + 25.6329561486f;
    below = below * x + 21.0996530827f;
    below = below * x + 3.9584969228f;
    const float large = above / below * kws_exp(-x) / x;
    return x < 1.0f ? small : large;
}

KWS_CLONES
void kws_log_mmse_gain(const float *restrict prior, const float *restrict posterior,
                       float *restrict gain, int32_t bins) {
    for (int32_t k = 0; k < bins; k++) {
        const float wiener = prior[k] / (1.0f + prior[k]);
        const float value = wiener * kws_exp(0.5f * exponential_integral(wiener * posterior[k]));
        gain[k] = value < 1.0f ? value : 1.0f;
    }
}
