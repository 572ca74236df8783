#include "microphone_choice.h"

#define DEAD_BLOCKS 16
#define CLIPPED_SHARE 0.01f
#define CLIP_SMOOTHING 0.03f
#define RETURN_BLOCKS 64
#define COUNT_LIMIT (1 << 30) /* counters stop here instead of running over */

void kws_microphone_choice_init(kws_microphone_choice *choice, int32_t microphones) {
    choice->microphones = microphones;
    choice->used = 0;
    choice->good_blocks = RETURN_BLOCKS;
    for (int32_t m = 0; m < KWS_MOST_MICROPHONES; m++) {
        choice->still[m] = 0;
        choice->clipped[m] = 0.0f;
    }
}

int32_t kws_microphone_choice_dead(const kws_microphone_choice *choice, int32_t microphone) {
    return choice->still[microphone] >= DEAD_BLOCKS;
}

int32_t kws_microphone_choice_good(const kws_microphone_choice *choice, int32_t microphone) {
    return !kws_microphone_choice_dead(choice, microphone) &&
           choice->clipped[microphone] < CLIPPED_SHARE;
}

int32_t kws_microphone_choice_update(kws_microphone_choice *choice, const float *const *mics,
                                     int32_t samples) {
    for (int32_t m = 0; m < choice->microphones; m++) {
        float low = mics[m][0], high = mics[m][0];
        int32_t clipped = 0;
        for (int32_t i = 0; i < samples; i++) {
            const float x = mics[m][i];
            low = x < low ? x : low;
            high = x > high ? x : high;
            clipped += (x < 0.0f ? -x : x) >= KWS_CLIP_LEVEL;
        }
        choice->still[m] = low != high ? 0 : choice->still[m] + (choice->still[m] < COUNT_LIMIT);
        choice->clipped[m] +=
            CLIP_SMOOTHING * ((float)clipped / (float)samples - choice->clipped[m]);
    }
    const int32_t first = kws_microphone_choice_good(choice, 0);
    choice->good_blocks = first ? choice->good_blocks + (choice->good_blocks < COUNT_LIMIT) : 0;
    if (choice->microphones == 1 || choice->good_blocks >= RETURN_BLOCKS) {
        choice->used = 0;
    } else if (!first && kws_microphone_choice_good(choice, 1)) {
        choice->used = 1;
    } else if (choice->used == 1 && !kws_microphone_choice_good(choice, 1)) {
        choice->used = 0;
    }
    return choice->used;
}
