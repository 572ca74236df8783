/* Linear echo canceller: twin of kalman.py, which says what it does and from where.
 *
 * One kws_reference holds the spectra of what was played and serves the cancellers of all
 * microphones; each kws_kalman holds the echo paths to one microphone.
 */
#ifndef KWS_KALMAN_H
#define KWS_KALMAN_H

#include <stddef.h>
#include <stdint.h>

#include "vector.h"

#define KWS_HOP 256 /* samples of a block: 16 ms */
#define KWS_BINS (KWS_HOP + 1)
#define KWS_ROW_FLOATS KWS_PADDED(KWS_BINS)
#define KWS_MOST_CHANNELS 4

typedef struct kws_reference kws_reference;
typedef struct kws_kalman kws_kalman;

/* Partitions: blocks that are kept of each of 1 .. KWS_MOST_CHANNELS channels, 1 or more. The
 * sizes are 0 for anything else. Blocks must be aligned to 64 bytes. */
size_t kws_reference_size(int32_t channels, const int32_t *partitions);
void kws_reference_init(void *reference, int32_t channels, const int32_t *partitions);
/* Forget the past: nothing of it may be cancelled with after a gap. */
void kws_reference_reset(kws_reference *reference);
/* Take the next block, [channels][KWS_HOP]. */
void kws_reference_push(kws_reference *reference, const float *block);
/* Whether nothing that the filters can reach has been played. */
int32_t kws_reference_silent(const kws_reference *reference);

size_t kws_kalman_size(int32_t channels, const int32_t *partitions);
void kws_kalman_init(void *kalman, int32_t channels, const int32_t *partitions);
/* State transition, 0.997 unless set; nearer to 1 is slower. */
void kws_kalman_keep(kws_kalman *kalman, double keep);
/* Forget the echo paths. */
void kws_kalman_reset(kws_kalman *kalman);
/* Move the paths by whole partitions after the reference was delayed by as many fewer. */
void kws_kalman_shift(kws_kalman *kalman, int32_t partitions);
/* Cancel one block: mic, error and echo are [KWS_HOP]. The reference must have been set up with
 * the same partitions; its work space is used, so cancellers that share it take turns. Where
 * learn is 0 the block changes nothing, as a padded one must not. */
void kws_kalman_process(kws_kalman *kalman, kws_reference *reference, const float *mic,
                        int32_t learn, float *error, float *echo);
/* What is left of a block by the paths as they were before it: nothing of the block itself is
 * taken out of the block. */
void kws_kalman_predict(kws_kalman *kalman, kws_reference *reference, const float *mic,
                        int32_t learn, float *error);
/* Echo path of a partition, counted over all channels, [KWS_BINS] each. */
void kws_kalman_path(const kws_kalman *kalman, int32_t row, float *re, float *im);

#endif
