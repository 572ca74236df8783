/* Bulk delay between loudspeaker and microphones: twin of delay.py, which says how it is found. */
#ifndef KWS_DELAY_H
#define KWS_DELAY_H

#include <stddef.h>
#include <stdint.h>

#include "vector.h"

#define KWS_SAMPLES_PER_MS 16

/* Samples by which the main peak stays behind the start of the filter. */
#define KWS_DELAY_MARGIN 192

/* What is found before this may be the rest of a sound that came before the reference. */
#define KWS_DELAY_EARLIEST (KWS_DELAY_MARGIN / 2)

/* Where none was found; a clock that was corrected may put an echo before its reference. */
#define KWS_DELAY_UNKNOWN INT32_MIN

/* Bins of a cross-spectrum, padded. */
#define KWS_DELAY_BINS KWS_PADDED(8192 / 2 + 1)

typedef struct kws_delay_tracker kws_delay_tracker;
typedef struct kws_delay_line kws_delay_line;

/* Largest delay that is looked for in ms; 0 and more. Blocks must be aligned to 64 bytes. */
size_t kws_delay_tracker_size(int32_t search_ms);
void kws_delay_tracker_init(void *tracker, int32_t search_ms);
/* Forget what was heard; after a gap what is applied may stay. */
void kws_delay_tracker_reset(kws_delay_tracker *tracker, int32_t applied_samples);
/* Start anew on a reference that comes earlier by some samples, so its echo comes later. */
void kws_delay_tracker_rebase(kws_delay_tracker *tracker, int32_t later_samples,
                              int32_t applied_samples);
/* Take one block of each, [KWS_HOP]; 1 if what is to be applied has changed. */
int32_t kws_delay_tracker_push(kws_delay_tracker *tracker, const float *mic,
                               const float *reference);
/* Where the loudspeaker's sound arrives, unknown before the first confident estimate. */
int32_t kws_delay_tracker_delay(const kws_delay_tracker *tracker);
/* How much the reference is to be delayed: a multiple of KWS_HOP. */
int32_t kws_delay_tracker_applied(const kws_delay_tracker *tracker);
/* Peak over root mean square of the last correlation. */
float kws_delay_tracker_confidence(const kws_delay_tracker *tracker);

/* Blocks taken since the reset, and how many estimates were made: none in silence. */
int32_t kws_delay_tracker_blocks(const kws_delay_tracker *tracker);
int32_t kws_delay_tracker_estimates(const kws_delay_tracker *tracker);
/* How many of them in a row found nothing, or only what may be the rest of an earlier sound. */
int32_t kws_delay_tracker_unheard(const kws_delay_tracker *tracker);
/* Whether the reference of the last one was no tone. */
int32_t kws_delay_tracker_broad(const kws_delay_tracker *tracker);
/* Add the whitened cross-spectrum of the last estimate to rows of [KWS_DELAY_BINS]. */
void kws_delay_tracker_add_whitened(const kws_delay_tracker *tracker, float *re, float *im);
/* By how many samples the echo comes later in the second of two pictures, rows of
 * [KWS_DELAY_BINS], and their normalised correlation at that shift. */
float kws_delay_tracker_shift(kws_delay_tracker *tracker, const float *earlier_re,
                              const float *earlier_im, const float *later_re,
                              const float *later_im, float *agreement);

/* Channels delayed by a whole number of blocks, at most longest_samples. history_blocks: blocks of
 * delayed past that are kept. Sizes are 0 where an argument is out of range. */
size_t kws_delay_line_size(int32_t channels, int32_t longest_samples, int32_t history_blocks);
void kws_delay_line_init(void *line, int32_t channels, int32_t longest_samples,
                         int32_t history_blocks);
/* Forget the past. */
void kws_delay_line_reset(kws_delay_line *line);
/* Take the next block, [channels][KWS_HOP]. */
void kws_delay_line_push(kws_delay_line *line, const float *block);
/* Forget the newest blocks: they will be pushed anew. */
void kws_delay_line_unpush(kws_delay_line *line, int32_t blocks);
/* Give the block, [channels][KWS_HOP], that ended delay_samples and age_blocks before the last
 * one that was pushed; age_blocks is 0 .. history_blocks. The oldest there is, where an older one
 * is asked for. */
void kws_delay_line_read(const kws_delay_line *line, int32_t delay_samples, int32_t age_blocks,
                         float *block);

#endif
