/* The reference at the microphones' clock, as late as its echo: twin of alignment.py, which says
 * what is exchanged between delay search and clock drift. */
#ifndef KWS_ALIGNMENT_H
#define KWS_ALIGNMENT_H

#include <stddef.h>
#include <stdint.h>

#include "kalman.h"

typedef struct kws_alignment kws_alignment;

typedef struct {
    int32_t delay_search_ms;
    int32_t drift;    /* follow a clock drift */
    int32_t channels; /* of the paths: the reference, then its companions or none */
    int32_t partitions[KWS_MOST_CHANNELS];
} kws_alignment_config;

/* What becomes of the echo paths that were learnt, in this order. */
typedef struct {
    int32_t clock_partitions; /* move by so many: the drift corrector began to hold back */
    int32_t forget;           /* this is the echo of another path */
    int32_t delay_partitions; /* move by so many: the delay line holds back for another time */
} kws_path_moves;

size_t kws_alignment_size(const kws_alignment_config *config);
void kws_alignment_init(void *alignment, const kws_alignment_config *config);
void kws_alignment_reset(kws_alignment *alignment);
/* Forget signals, keep delay and drift: after a gap. */
void kws_alignment_restart(kws_alignment *alignment);
/* Undo drift and delay of one block, [KWS_HOP]; erle_db is what the cancellers are worth, infinite
 * where that is not known. The result stays valid until the next call. */
const float *kws_alignment_push(kws_alignment *alignment, const float *mic, const float *reference,
                                float erle_db, kws_path_moves *moves);
/* Of what came out so far; the cancellers keep what they share in it. */
kws_reference *kws_alignment_spectra(kws_alignment *alignment);
/* Whether a microphone follows the reference; 0 after a gap, until it does again. */
int32_t kws_alignment_echo_heard(const kws_alignment *alignment);
/* Where the loudspeaker's sound arrives behind the reference that came in, or
 * KWS_DELAY_UNKNOWN. */
int32_t kws_alignment_delay(const kws_alignment *alignment);
double kws_alignment_drift_ppm(const kws_alignment *alignment);

#endif
