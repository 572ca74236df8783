#include "delay.h"

#include <math.h>

#include "block.h"
#include "fft.h"
#include "kalman.h"
#include "vector.h"

/* Constants as in delay.py. */
#define WINDOW 8192 /* samples at half the rate */
#define LONGEST_SEARCH_MS (WINDOW / KWS_SAMPLES_PER_MS)
#define UPDATE_BLOCKS 16
#define MARGIN_SAMPLES KWS_DELAY_MARGIN
#define USABLE_SAMPLES 1600
#define EARLIEST_SAMPLES KWS_DELAY_EARLIEST
#define FORGETTING 0.8f
#define CONFIDENT_RATIO 8.0f
#define EARLY_SHARE 0.6f
#define BROAD_SHARE 0.2f
#define BROAD_FLOOR 0.01f
#define AGREEING_ESTIMATES 2
#define AGREEING_SAMPLES 64
#define SILENT_POWER 1e-9f

#define HALF_HOP (KWS_HOP / 2)
#define HALF_BAND_PAST 14
#define BINS KWS_DELAY_BINS
#define SHIFT_LAGS 10

struct kws_delay_tracker {
    int32_t search; /* largest lag, at half the rate */
    int32_t blocks, estimates, unheard, broad;
    int32_t candidate, agreeing;
    int32_t delay_samples, applied_samples;
    int32_t at; /* where the next block goes in mic and reference, which are rings */
    float confidence;
    float mic_past[HALF_BAND_PAST], reference_past[HALF_BAND_PAST];
    kws_fft *fft;
    float *mic, *reference, *time;                  /* [WINDOW] */
    float *cross_re, *cross_im;                     /* [BINS], running sum */
    float *mic_re, *mic_im, *early_re, *early_im;   /* [BINS], of an estimate */
};

static void fill(float *row, int32_t count, float value) {
    for (int32_t k = 0; k < count; k++) row[k] = value;
}

size_t kws_delay_tracker_size(int32_t search_ms) {
    if (search_ms < 0) return 0;
    return kws_block_bytes(sizeof(kws_delay_tracker)) + kws_fft_size(WINDOW) +
           3 * kws_block_floats(WINDOW) + 6 * kws_block_floats(BINS);
}

void kws_delay_tracker_init(void *memory, int32_t search_ms) {
    kws_block block = kws_block_of(memory);
    kws_delay_tracker *tracker = kws_block_take(&block, sizeof *tracker);
    tracker->search = (search_ms < LONGEST_SEARCH_MS ? search_ms : LONGEST_SEARCH_MS) *
                      (KWS_SAMPLES_PER_MS / 2);
    tracker->fft = kws_block_take(&block, kws_fft_size(WINDOW));
    kws_fft_init(tracker->fft, WINDOW);
    float **window[] = {&tracker->mic, &tracker->reference, &tracker->time};
    for (size_t i = 0; i < sizeof window / sizeof window[0]; i++) {
        *window[i] = kws_block_take_floats(&block, WINDOW);
    }
    float **bins[] = {&tracker->cross_re, &tracker->cross_im, &tracker->mic_re,
                      &tracker->mic_im,   &tracker->early_re, &tracker->early_im};
    for (size_t i = 0; i < sizeof bins / sizeof bins[0]; i++) {
        *bins[i] = kws_block_take_floats(&block, BINS);
        fill(*bins[i], BINS, 0.0f);
    }
    kws_delay_tracker_reset(tracker, 0);
}

void kws_delay_tracker_reset(kws_delay_tracker *tracker, int32_t applied_samples) {
    fill(tracker->mic, WINDOW, 0.0f);
    fill(tracker->reference, WINDOW, 0.0f);
    fill(tracker->mic_past, HALF_BAND_PAST, 0.0f);
    fill(tracker->reference_past, HALF_BAND_PAST, 0.0f);
    fill(tracker->cross_re, BINS, 0.0f);
    fill(tracker->cross_im, BINS, 0.0f);
    tracker->at = 0;
    tracker->blocks = 0;
    tracker->estimates = 0;
    tracker->unheard = 0;
    tracker->broad = 0;
    tracker->candidate = -1;
    tracker->agreeing = 0;
    tracker->delay_samples = KWS_DELAY_UNKNOWN;
    tracker->applied_samples = applied_samples;
    tracker->confidence = 0.0f;
}

/* Half-band filter and every second sample: [KWS_HOP] to [HALF_HOP]. */
KWS_INLINE void halve(float *restrict past, const float *restrict block, float *restrict half) {
    float joined[HALF_BAND_PAST + KWS_HOP];
    for (int32_t k = 0; k < HALF_BAND_PAST; k++) {
        joined[k] = past[k];
        past[k] = block[KWS_HOP - HALF_BAND_PAST + k];
    }
    for (int32_t k = 0; k < KWS_HOP; k++) joined[HALF_BAND_PAST + k] = block[k];
    for (int32_t k = 0; k < HALF_HOP; k++) {
        const float *centre = joined + HALF_BAND_PAST / 2 + 2 * k;
        half[k] = 0.5f * centre[0] + 0.303486f * (centre[-1] + centre[1]) -
                  0.06901997f * (centre[-3] + centre[3]) + 0.01720015f * (centre[-5] + centre[5]) -
                  0.00166617f * (centre[-7] + centre[7]);
    }
}

/* The oldest `count` samples of a ring of WINDOW whose oldest one is at `at`. */
static void unroll(const float *restrict stored, int32_t at, int32_t count, float *restrict out) {
    int32_t first = count < WINDOW - at ? count : WINDOW - at;
    for (int32_t k = 0; k < first; k++) out[k] = stored[at + k];
    for (int32_t k = first; k < count; k++) out[k] = stored[k - first];
}

/* Whitened cross-spectrum, added to the running sum. */
KWS_INLINE void add_cross(kws_delay_tracker *tracker) {
    float *cross_re = KWS_ROW(tracker->cross_re), *cross_im = KWS_ROW(tracker->cross_im);
    float *mr = KWS_ROW(tracker->mic_re), *mi = KWS_ROW(tracker->mic_im);
    const float *er = KWS_ROW(tracker->early_re), *ei = KWS_ROW(tracker->early_im);
    KWS_INDEPENDENT
    for (int32_t k = 0; k < BINS; k++) {
        float re = mr[k] * er[k] + mi[k] * ei[k], im = mi[k] * er[k] - mr[k] * ei[k];
        float scale = 1.0f / (sqrtf(re * re + im * im) + 1e-12f);
        /* The microphone's spectrum makes room for what the drift estimator wants to see. */
        mr[k] = re * scale;
        mi[k] = im * scale;
        cross_re[k] = FORGETTING * cross_re[k] + mr[k];
        cross_im[k] = FORGETTING * cross_im[k] + mi[k];
    }
}

/* Whether the bins of the reference have their share of its power. */
static int32_t is_broad(const float *re, const float *im) {
    float sum = 0.0f;
    for (int32_t k = 0; k <= WINDOW / 2; k++) sum += re[k] * re[k] + im[k] * im[k];
    const float floor_power = BROAD_FLOOR * (sum / (WINDOW / 2 + 1));
    int32_t filled = 0;
    for (int32_t k = 0; k <= WINDOW / 2; k++) {
        filled += re[k] * re[k] + im[k] * im[k] > floor_power;
    }
    return (float)filled >= BROAD_SHARE * (WINDOW / 2 + 1);
}

/* What a confident peak does to the delay: 1 if what is applied changes. */
static int32_t follow(kws_delay_tracker *tracker, int32_t peak) {
    int32_t apart = peak - tracker->candidate;
    int32_t agrees = -AGREEING_SAMPLES <= apart && apart <= AGREEING_SAMPLES;
    tracker->agreeing = agrees ? tracker->agreeing + 1 : 1;
    tracker->candidate = peak;
    if (tracker->agreeing < AGREEING_ESTIMATES) return 0;
    tracker->delay_samples = peak;
    int32_t behind = peak - tracker->applied_samples;
    if (0 <= behind && behind <= USABLE_SAMPLES) return 0;
    int32_t applied = peak > MARGIN_SAMPLES ? (peak - MARGIN_SAMPLES) / KWS_HOP * KWS_HOP : 0;
    int32_t changed = applied != tracker->applied_samples;
    tracker->applied_samples = applied;
    return changed;
}

KWS_INLINE int32_t estimate(kws_delay_tracker *tracker) {
    float *time = KWS_ROW(tracker->time);
    /* Half of the window is zeroed in the reference, so that lags up to it do not wrap round. */
    unroll(tracker->reference, tracker->at, WINDOW / 2, time);
    fill(time + WINDOW / 2, WINDOW / 2, 0.0f);
    float power[KWS_LANES] = {0.0f};
    for (int32_t k = 0; k < WINDOW / 2; k += KWS_LANES) {
        for (int32_t lane = 0; lane < KWS_LANES; lane++) {
            power[lane] += time[k + lane] * time[k + lane];
        }
    }
    for (int32_t lane = 1; lane < KWS_LANES; lane++) power[0] += power[lane];
    if (power[0] / WINDOW < SILENT_POWER) return 0;
    kws_fft_forward(tracker->fft, time, tracker->early_re, tracker->early_im);
    tracker->broad = is_broad(tracker->early_re, tracker->early_im);
    unroll(tracker->mic, tracker->at, WINDOW, time);
    kws_fft_forward(tracker->fft, time, tracker->mic_re, tracker->mic_im);
    add_cross(tracker);
    tracker->estimates++;
    kws_fft_inverse(tracker->fft, tracker->cross_re, tracker->cross_im, time);

    float square[KWS_LANES] = {0.0f};
    for (int32_t k = 0; k < WINDOW / 2; k += KWS_LANES) {
        for (int32_t lane = 0; lane < KWS_LANES; lane++) {
            time[k + lane] *= time[k + lane];
            square[lane] += time[k + lane];
        }
    }
    for (int32_t lane = 1; lane < KWS_LANES; lane++) square[0] += square[lane];
    float highest = 0.0f;
    const int32_t lags = tracker->search < WINDOW / 2 ? tracker->search + 1 : WINDOW / 2;
    for (int32_t lag = 0; lag < lags; lag++) highest = time[lag] > highest ? time[lag] : highest;
    int32_t peak = 0;
    while (peak < lags - 1 && time[peak] < EARLY_SHARE * EARLY_SHARE * highest) peak++;
    float rms = sqrtf(square[0] / (WINDOW / 2)) + 1e-12f;
    tracker->confidence = sqrtf(highest) / rms;
    const int32_t confident = tracker->confidence >= CONFIDENT_RATIO;
    tracker->unheard = confident && 2 * peak >= EARLIEST_SAMPLES ? 0 : tracker->unheard + 1;
    if (!confident) return 0;
    return follow(tracker, 2 * peak);
}

KWS_CLONES int32_t kws_delay_tracker_push(kws_delay_tracker *tracker, const float *mic,
                                          const float *reference) {
    halve(tracker->mic_past, mic, tracker->mic + tracker->at);
    halve(tracker->reference_past, reference, tracker->reference + tracker->at);
    tracker->at = (tracker->at + HALF_HOP) % WINDOW;
    /* Starts again after half a year. */
    tracker->blocks = (tracker->blocks + 1) & 0x3fffffff;
    return tracker->blocks % UPDATE_BLOCKS == 0 ? estimate(tracker) : 0;
}

void kws_delay_tracker_rebase(kws_delay_tracker *tracker, int32_t later_samples,
                              int32_t applied_samples) {
    const int32_t delay = tracker->delay_samples;
    kws_delay_tracker_reset(tracker, applied_samples);
    if (delay != KWS_DELAY_UNKNOWN) tracker->delay_samples = delay + later_samples;
}

int32_t kws_delay_tracker_blocks(const kws_delay_tracker *tracker) { return tracker->blocks; }

int32_t kws_delay_tracker_estimates(const kws_delay_tracker *tracker) {
    return tracker->estimates;
}

int32_t kws_delay_tracker_broad(const kws_delay_tracker *tracker) { return tracker->broad; }

int32_t kws_delay_tracker_unheard(const kws_delay_tracker *tracker) { return tracker->unheard; }

void kws_delay_tracker_add_whitened(const kws_delay_tracker *tracker, float *re, float *im) {
    for (int32_t k = 0; k < BINS; k++) {
        re[k] += tracker->mic_re[k];
        im[k] += tracker->mic_im[k];
    }
}

/* Correlation of two pictures at a lag that may be negative. */
static float at_lag(const float *correlation, int32_t lag) {
    return correlation[(lag + WINDOW) % WINDOW];
}

float kws_delay_tracker_shift(kws_delay_tracker *tracker, const float *earlier_re,
                              const float *earlier_im, const float *later_re,
                              const float *later_im, float *agreement) {
    float *re = tracker->early_re, *im = tracker->early_im, *time = tracker->time;
    float earlier_power = 0.0f, later_power = 0.0f;
    for (int32_t k = 0; k < BINS; k++) {
        const float ar = earlier_re[k], ai = earlier_im[k], br = later_re[k], bi = later_im[k];
        re[k] = br * ar + bi * ai;
        im[k] = bi * ar - br * ai;
        earlier_power += ar * ar + ai * ai;
        later_power += br * br + bi * bi;
    }
    kws_fft_inverse(tracker->fft, re, im, time);
    int32_t lag = -SHIFT_LAGS;
    for (int32_t other = -SHIFT_LAGS + 1; other <= SHIFT_LAGS; other++) {
        if (at_lag(time, other) > at_lag(time, lag)) lag = other;
    }
    const float below = at_lag(time, lag - 1), here = at_lag(time, lag);
    const float above = at_lag(time, lag + 1), bend = below - 2.0f * here + above;
    const float fraction = bend < 0.0f ? 0.5f * (below - above) / bend : 0.0f;
    *agreement = here * (WINDOW / 2) / (sqrtf(earlier_power) * sqrtf(later_power) + 1e-12f);
    return 2.0f * ((float)lag + fraction);
}

int32_t kws_delay_tracker_delay(const kws_delay_tracker *tracker) {
    return tracker->delay_samples;
}

int32_t kws_delay_tracker_applied(const kws_delay_tracker *tracker) {
    return tracker->applied_samples;
}

float kws_delay_tracker_confidence(const kws_delay_tracker *tracker) {
    return tracker->confidence;
}

/* ---- line ---- */

struct kws_delay_line {
    int32_t channels;
    int32_t blocks; /* that the ring holds */
    int32_t newest; /* which of them was pushed last */
    float *store;   /* [blocks][channels][KWS_HOP] */
};

static int32_t blocks_of(int32_t longest_samples, int32_t history_blocks) {
    return longest_samples / KWS_HOP + history_blocks + 1;
}

size_t kws_delay_line_size(int32_t channels, int32_t longest_samples, int32_t history_blocks) {
    if (channels < 1 || channels > KWS_MOST_CHANNELS || longest_samples < 0 ||
        longest_samples > 1000000 || history_blocks < 0 || history_blocks > 10000) {
        return 0;
    }
    size_t blocks = (size_t)blocks_of(longest_samples, history_blocks);
    return kws_block_bytes(sizeof(kws_delay_line)) +
           kws_block_floats(blocks * (size_t)channels * KWS_HOP);
}

void kws_delay_line_init(void *memory, int32_t channels, int32_t longest_samples,
                         int32_t history_blocks) {
    kws_block block = kws_block_of(memory);
    kws_delay_line *line = kws_block_take(&block, sizeof *line);
    line->channels = channels;
    line->blocks = blocks_of(longest_samples, history_blocks);
    line->store = kws_block_take_floats(
        &block, (size_t)line->blocks * (size_t)channels * KWS_HOP);
    kws_delay_line_reset(line);
}

void kws_delay_line_reset(kws_delay_line *line) {
    line->newest = 0;
    fill(line->store, line->blocks * line->channels * KWS_HOP, 0.0f);
}

void kws_delay_line_push(kws_delay_line *line, const float *block) {
    const int32_t floats = line->channels * KWS_HOP;
    line->newest = (line->newest + 1) % line->blocks;
    float *restrict stored = line->store + line->newest * floats;
    for (int32_t k = 0; k < floats; k++) stored[k] = block[k];
}

void kws_delay_line_unpush(kws_delay_line *line, int32_t blocks) {
    const int32_t taken = blocks < line->blocks ? blocks : line->blocks;
    line->newest = (line->newest + line->blocks - (taken > 0 ? taken : 0)) % line->blocks;
}

void kws_delay_line_read(const kws_delay_line *line, int32_t delay_samples, int32_t age_blocks,
                         float *block) {
    const int32_t floats = line->channels * KWS_HOP;
    int64_t back = (int64_t)delay_samples / KWS_HOP + age_blocks;
    back = back < 0 ? 0 : back;
    back = back < line->blocks ? back : line->blocks - 1;
    const int32_t at = (line->newest + line->blocks - (int32_t)back) % line->blocks;
    const float *restrict stored = line->store + at * floats;
    for (int32_t k = 0; k < floats; k++) block[k] = stored[k];
}
