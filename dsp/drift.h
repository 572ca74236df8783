/* Clock drift between loudspeaker and microphones: twin of drift.py, which says how it is found. */
#ifndef KWS_DRIFT_H
#define KWS_DRIFT_H

#include <stddef.h>
#include <stdint.h>

#include "delay.h"

#define KWS_EXCHANGED_BLOCKS 4
#define KWS_LOOKAHEAD 16 /* samples of the future that the corrector needs */

typedef struct kws_drift kws_drift;
typedef struct kws_corrector kws_corrector;

/* Blocks must be aligned to 64 bytes. */
size_t kws_drift_size(void);
void kws_drift_init(void *drift);
/* Forget everything. */
void kws_drift_reset(kws_drift *drift);
/* Forget the pictures, keep the rate: after a gap, and after every correction. */
void kws_drift_restart(kws_drift *drift);
/* Look at the tracker after it has made an estimate in a block; read_ppm: at which rate the
 * reference was read, 0 where the corrector cannot follow. */
void kws_drift_observe(kws_drift *drift, kws_delay_tracker *tracker, double read_ppm);
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
/* Whether blocks have to be handed over, and how many could be: ask for them one by one, oldest
 * first, with kws_corrector_next. */
int32_t kws_corrector_full(const kws_corrector *corrector);
int32_t kws_corrector_whole_blocks(const kws_corrector *corrector);
void kws_corrector_next(kws_corrector *corrector, double ppm, float *block);
/* Blocks that the delay line takes over without hearing them: at a gap. */
void kws_corrector_leave(kws_corrector *corrector, int32_t blocks);
/* Give up what was reached: the reference comes as early as it can. */
void kws_corrector_recentre(kws_corrector *corrector);
/* The newest block at a rate, [KWS_HOP]; unchanged before engage. */
void kws_corrector_process(kws_corrector *corrector, double ppm, float *block);
/* How late the newest sample that came out is; 0 before engage. */
double kws_corrector_delay(const kws_corrector *corrector);
/* Whether a rate asks for the reference earlier than it comes. */
int32_t kws_corrector_exhausted(const kws_corrector *corrector, double ppm);
/* Whether the reference is read at a rate, and not as it comes: not in a long pause either. */
int32_t kws_corrector_follows(const kws_corrector *corrector, double ppm);

#endif
