/* Clock drift between loudspeaker and microphones: twin of drift.py, which says how it is found. */
#ifndef KWS_DRIFT_H
#define KWS_DRIFT_H

#include <stddef.h>
#include <stdint.h>

#include "delay.h"

#define KWS_EXCHANGED_BLOCKS 4

typedef struct kws_drift kws_drift;
typedef struct kws_corrector kws_corrector;

/* Blocks must be aligned to 64 bytes. */
size_t kws_drift_size(void);
void kws_drift_init(void *drift);
/* Forget everything. */
void kws_drift_reset(kws_drift *drift);
/* Forget the pictures, keep the rate: after a gap, and after every correction. */
void kws_drift_restart(kws_drift *drift);
/* Look at the tracker after it has made an estimate in a block. */
void kws_drift_observe(kws_drift *drift, kws_delay_tracker *tracker);
/* By how much the microphones' clock runs faster than the loudspeaker's, in 10^-6; 0 until found. */
double kws_drift_ppm(const kws_drift *drift);

size_t kws_corrector_size(void);
void kws_corrector_init(void *corrector);
void kws_corrector_reset(kws_corrector *corrector);
/* Forget the signal: after a gap. */
void kws_corrector_restart(kws_corrector *corrector);
/* Take the next block, [KWS_HOP]. */
void kws_corrector_push(kws_corrector *corrector, const float *reference);
/* Begin to correct; spare_samples: by how much the reference may come later. */
void kws_corrector_engage(kws_corrector *corrector, int32_t spare_samples);
/* Blocks by which the delay line, which has spare_blocks that were read at a rate, must be shorter:
 * usually 0. */
int32_t kws_corrector_give_back(kws_corrector *corrector, int32_t spare_blocks, double ppm);
/* 1 if the delay line is to be longer by KWS_EXCHANGED_BLOCKS: ask for them one by one, oldest
 * first, with kws_corrector_next. */
int32_t kws_corrector_hands_over(const kws_corrector *corrector);
void kws_corrector_next(kws_corrector *corrector, float *block);
/* The newest block at a rate, [KWS_HOP]; unchanged before engage. */
void kws_corrector_process(kws_corrector *corrector, double ppm, float *block);
/* How late the newest sample that came out is; 0 before engage. */
double kws_corrector_delay(const kws_corrector *corrector);
/* Whether the reference would have to come earlier than it does. */
int32_t kws_corrector_exhausted(const kws_corrector *corrector);

#endif
