/* The DSP stage: twin of frontend.py. One call takes a PCM block of any length and gives every
 * branch, the aligned reference and the features of what it completed.
 */
#ifndef KWS_FRONTEND_H
#define KWS_FRONTEND_H

#include <stddef.h>
#include <stdint.h>

#include "microphone_choice.h"

#define KWS_DSP_ABI 5

#if defined(__GNUC__)
#define KWS_DSP_API __attribute__((visibility("default")))
#else
#define KWS_DSP_API
#endif

/* What the stage gives, in this order wherever there is one of each. */
#define KWS_DETECTOR 0
#define KWS_VOICE 1
#define KWS_RESIDUAL 2
#define KWS_REFERENCE 3
#define KWS_SIGNALS 4

typedef struct kws_frontend kws_frontend;

/* All fields are 0 or 1 but the numbers with a unit. */
typedef struct {
    int32_t microphones; /* 1 or 2 */
    int32_t has_reference;
    int32_t dc_block;
    int32_t aec;
    int32_t companions;
    int32_t tail_ms;
    int32_t delay_search_ms;
    int32_t drift;
    int32_t combine;
    int32_t mic_spacing_mm; /* 0 is unknown: no direction */
    int32_t suppress_echo;
    int32_t noise_reduction;
    int32_t voice_branch;
    int32_t features[KWS_SIGNALS]; /* of which signals */
} kws_frontend_config;

/* Where a call writes. For n samples in, room for n + KWS_HOP - 1 samples and
 * kws_frontend_frames(n) frames; features may be NULL where they are not asked for. */
typedef struct {
    float *signals[KWS_SIGNALS];
    float *features[KWS_SIGNALS];
    int32_t samples;
    int32_t frames;
} kws_frontend_output;

typedef struct {
    float mic_level_dbfs[KWS_MOST_MICROPHONES];
    float reference_level_dbfs;
    float erle_db;
    float noise_floor_dbfs;
    float snr_db;
    float drift_ppm; /* 0 until one was found */
    float doa_deg;
    int32_t doa_known;
    int32_t erle_known;
    int32_t delay_samples; /* -1 before it was found */
    int32_t echo_active;
    int32_t microphone;
    int32_t dead[KWS_MOST_MICROPHONES];
    int64_t clipped_samples;
    int64_t bad_samples;
} kws_frontend_metrics;

KWS_DSP_API int32_t kws_dsp_abi(void);

/* Bytes of state for a configuration, 0 if it is not allowed. The block that the caller brings
 * must be aligned to 64 bytes and stay in place. */
KWS_DSP_API size_t kws_frontend_size(const kws_frontend_config *config);
KWS_DSP_API void kws_frontend_init(void *state, const kws_frontend_config *config);
/* Back to the state behind init. */
KWS_DSP_API void kws_frontend_reset(kws_frontend *state);
/* Forget signals, keep what was learnt of the room: after a gap. */
KWS_DSP_API void kws_frontend_gap(kws_frontend *state);
/* Samples that wait for a full block. */
KWS_DSP_API int32_t kws_frontend_held(const kws_frontend *state);
/* Most frames that a call with so many samples gives. */
KWS_DSP_API int32_t kws_frontend_frames(int32_t samples);
/* channels: microphones, then the reference, [microphones + 1][samples]. */
KWS_DSP_API void kws_frontend_process(kws_frontend *state, const float *channels, int32_t samples,
                                      kws_frontend_output *output);
/* What is still held back, padded to a block and cut again: fewer than KWS_HOP samples. */
KWS_DSP_API void kws_frontend_flush(kws_frontend *state, kws_frontend_output *output);
KWS_DSP_API void kws_frontend_snapshot(const kws_frontend *state, kws_frontend_metrics *metrics);

#endif
