#include "companions.h"

#include <math.h>

#include "block.h"
#include "vector.h"

/* Constants as in companions.py. */
#define LEVEL_SMOOTHING 0.06f
#define LEVEL_FLOOR 1e-3f
#define PEAK_LEVELS 4.0f
#define ODD_SHARE 0.3f
#define EVEN_SHARE 0.5f

struct kws_companions {
    int32_t samples;
    float level;
};

size_t kws_companions_size(int32_t samples) {
    return samples > 0 ? kws_block_bytes(sizeof(kws_companions)) : 0;
}

void kws_companions_init(void *memory, int32_t samples) {
    kws_companions *companions = memory;
    companions->samples = samples;
    kws_companions_reset(companions);
}

void kws_companions_reset(kws_companions *companions) { companions->level = LEVEL_FLOOR; }

KWS_CLONES void kws_companions_process(kws_companions *companions, const float *reference,
                                       float *channels) {
    const int32_t samples = companions->samples;
    float *odd = channels + samples, *even = channels + 2 * samples;
    float power = 0.0f;
    for (int32_t k = 0; k < samples; k++) power += reference[k] * reference[k];
    const float rms = sqrtf(power / (float)samples), before = companions->level;
    /* A pause keeps the level: the next sound is more likely as loud as the last one. */
    if (rms > LEVEL_FLOOR) companions->level = before + LEVEL_SMOOTHING * (rms - before);
    const float rise = (companions->level - before) / (float)samples;
    KWS_INDEPENDENT
    for (int32_t k = 0; k < samples; k++) {
        float level = before + rise * (float)(k + 1) + LEVEL_FLOOR;
        float u = reference[k] / level;
        u = u < PEAK_LEVELS ? u : PEAK_LEVELS;
        u = u > -PEAK_LEVELS ? u : -PEAK_LEVELS;
        channels[k] = reference[k];
        odd[k] = ODD_SHARE * level * (u * u - 3.0f) * u;
        even[k] = EVEN_SHARE * level * fabsf(u) * u;
    }
}
