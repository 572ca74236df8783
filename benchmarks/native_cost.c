/* Driver of native_cost.py: runs one front end over seconds of made-up audio and nothing else.
 *
 *     native_cost detector|whole|speex SECONDS
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend.h"

#define RATE 16000
#define BLOCK 480
#define SPEEX_FRAME 256
#define SPEEX_TAIL 5120

static uint32_t state_of_noise = 1;

static float noise(void) {
    state_of_noise = state_of_noise * 1664525u + 1013904223u;
    return (float)(int32_t)(state_of_noise >> 8) / 8388608.0f - 1.0f;
}

/* Reference and two microphones that hear it late, with a little noise of their own. */
static void make(float *mics, float *reference, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        reference[i] = 0.1f * noise();
        for (int32_t m = 0; m < 2; m++) {
            const float echo = i >= 700 + m ? 0.5f * reference[i - 700 - m] : 0.0f;
            mics[m * count + i] = echo + 0.003f * noise();
        }
    }
}

static int run_stage(const float *mics, const float *reference, int32_t count, int32_t voice) {
    kws_frontend_config c;
    memset(&c, 0, sizeof c);
    c.microphones = 2;
    c.has_reference = c.dc_block = c.aec = c.companions = c.combine = c.drift = 1;
    c.suppress_echo = c.noise_reduction = 1;
    c.tail_ms = 320;
    c.delay_search_ms = 500;
    c.voice_branch = voice;
    c.features[KWS_DETECTOR] = 1;
    for (int32_t s = KWS_DETECTOR + 1; s < KWS_SIGNALS; s++) {
        c.features[s] = voice;
    }
    unsigned char *memory = malloc(kws_frontend_size(&c) + 64);
    float *room = calloc(4096 * 8, sizeof *room);
    if (memory == NULL || room == NULL) {
        return 1;
    }
    void *stage = memory + (64 - (uintptr_t)memory % 64);
    kws_frontend_init(stage, &c);
    kws_frontend_output out;
    memset(&out, 0, sizeof out);
    for (int32_t s = 0; s < KWS_SIGNALS; s++) {
        out.signals[s] = room + 2 * s * 4096;
        out.features[s] = room + (2 * s + 1) * 4096;
    }
    float block[3 * BLOCK];
    for (int32_t start = 0; start + BLOCK <= count; start += BLOCK) {
        memcpy(block, mics + start, sizeof block / 3);
        memcpy(block + BLOCK, mics + count + start, sizeof block / 3);
        memcpy(block + 2 * BLOCK, reference + start, sizeof block / 3);
        kws_frontend_process(stage, block, BLOCK, &out);
    }
    free(room);
    free(memory);
    return 0;
}

static int run_speex(const float *mics, const float *reference, int32_t count) {
    void *library = dlopen("libspeexdsp.so.1", RTLD_NOW);
    void *(*init)(int, int);
    int (*control)(void *, int, void *);
    void (*cancel)(void *, const int16_t *, const int16_t *, int16_t *);
    if (library == NULL) {
        return 2;
    }
    *(void **)&init = dlsym(library, "speex_echo_state_init");
    *(void **)&control = dlsym(library, "speex_echo_ctl");
    *(void **)&cancel = dlsym(library, "speex_echo_cancellation");
    void *state = init(SPEEX_FRAME, SPEEX_TAIL);
    int rate = RATE;
    control(state, 24, &rate);
    int16_t near[SPEEX_FRAME], far[SPEEX_FRAME], out[SPEEX_FRAME];
    for (int32_t start = 0; start + SPEEX_FRAME <= count; start += SPEEX_FRAME) {
        for (int32_t i = 0; i < SPEEX_FRAME; i++) {
            near[i] = (int16_t)(mics[start + i] * 32767.0f);
            far[i] = (int16_t)(reference[start + i] * 32767.0f);
        }
        cancel(state, near, far, out);
    }
    return 0;
}

int main(int words, char **word) {
    if (words != 3) {
        return 64;
    }
    const int32_t count = atoi(word[2]) * RATE;
    float *mics = malloc((size_t)count * 2 * sizeof *mics);
    float *reference = malloc((size_t)count * sizeof *reference);
    if (mics == NULL || reference == NULL) {
        return 1;
    }
    make(mics, reference, count);
    if (strcmp(word[1], "speex") == 0) {
        return run_speex(mics, reference, count);
    }
    if (strcmp(word[1], "none") == 0) {
        return 0;
    }
    return run_stage(mics, reference, count, strcmp(word[1], "whole") == 0);
}
