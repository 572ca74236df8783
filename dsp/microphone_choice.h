/* Which microphone the branches listen to: twin of microphone_choice.py. */
#ifndef KWS_MICROPHONE_CHOICE_H
#define KWS_MICROPHONE_CHOICE_H

#include <stdint.h>

#define KWS_MOST_MICROPHONES 2
#define KWS_CLIP_LEVEL 0.999f

typedef struct {
    int32_t microphones;
    int32_t used;
    int32_t good_blocks;
    int32_t still[KWS_MOST_MICROPHONES];
    float clipped[KWS_MOST_MICROPHONES];
} kws_microphone_choice;

void kws_microphone_choice_init(kws_microphone_choice *choice, int32_t microphones);
/* Whether a microphone gives nothing. */
int32_t kws_microphone_choice_dead(const kws_microphone_choice *choice, int32_t microphone);
/* Whether a microphone is neither dead nor clipping. */
int32_t kws_microphone_choice_good(const kws_microphone_choice *choice, int32_t microphone);
/* Take raw blocks, gives the microphone to use. */
int32_t kws_microphone_choice_update(kws_microphone_choice *choice, const float *const *mics,
                                     int32_t samples);

#endif
