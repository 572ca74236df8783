#include "drift.h"

#include <math.h>

#include "block.h"
#include "energy.h"
#include "kalman.h"
#include "vector.h"

/* Constants as in drift.py. */
#define PICTURE_ESTIMATES 6
#define SETTLING_ESTIMATES 4
#define LARGEST_PPM 300.0
#define LARGEST_FOUND_PPM 450.0
#define FIRST_AGREEMENT 0.25f
#define FIRST_PPM 5.0
#define FIRST_FINDINGS 3
#define FIRST_LIKENESS 0.5
#define AGREEMENT 0.15f
#define LEAST_PPM 0.5
#define FINDINGS 2
#define NO_DRIFT_PPM 1.0
#define GAIN 1.0
#define STEP_PPM 0.25
#define TAPS 32
#define LOOKAHEAD KWS_LOOKAHEAD
#define FULL (LOOKAHEAD + KWS_EXCHANGED_BLOCKS * KWS_HOP + 2)
#define RUN_ON_BLOCKS 3750
#define SILENT_POWER 1e-9f
#define PAST (2 * TAPS + (KWS_EXCHANGED_BLOCKS + 2) * KWS_HOP)
#define PI 3.14159265358979323846

struct kws_drift {
    double ppm;
    double found[FIRST_FINDINGS]; /* newest first, 0 for none */
    double blocks;         /* sum over the estimates of the picture under way */
    double previous_block; /* mean of those of the picture before */
    int32_t wait, estimates, has_previous;
    float *sum_re, *sum_im, *previous_re, *previous_im; /* [KWS_DELAY_BINS] */
};

static void fill(float *row, int32_t count, float value) {
    for (int32_t k = 0; k < count; k++) row[k] = value;
}

size_t kws_drift_size(void) {
    return kws_block_bytes(sizeof(kws_drift)) + 4 * kws_block_floats(KWS_DELAY_BINS);
}

void kws_drift_init(void *memory) {
    kws_block block = kws_block_of(memory);
    kws_drift *drift = kws_block_take(&block, sizeof *drift);
    float **row[] = {&drift->sum_re, &drift->sum_im, &drift->previous_re, &drift->previous_im};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        *row[i] = kws_block_take_floats(&block, KWS_DELAY_BINS);
    }
    kws_drift_reset(drift);
}

static void begin_picture(kws_drift *drift) {
    drift->estimates = 0;
    drift->blocks = 0.0;
    fill(drift->sum_re, KWS_DELAY_BINS, 0.0f);
    fill(drift->sum_im, KWS_DELAY_BINS, 0.0f);
}

static void forget_findings(kws_drift *drift) {
    for (int32_t i = 0; i < FIRST_FINDINGS; i++) drift->found[i] = 0.0;
}

void kws_drift_restart(kws_drift *drift) {
    drift->has_previous = 0;
    drift->previous_block = 0.0;
    forget_findings(drift);
    drift->wait = SETTLING_ESTIMATES;
    begin_picture(drift);
}

void kws_drift_reset(kws_drift *drift) {
    drift->ppm = 0.0;
    kws_drift_restart(drift);
}

double kws_drift_ppm(const kws_drift *drift) { return drift->ppm; }

/* The least of the last findings, 0 where they do not agree: a path that changes looks like a drift
 * once, never again by the same amount. */
static double agreed(const kws_drift *drift) {
    const int32_t engaged = drift->ppm != 0.0;
    double least = drift->found[0], greatest = least;
    for (int32_t i = 1; i < (engaged ? FINDINGS : FIRST_FINDINGS); i++) {
        const double found = drift->found[i];
        if (found * least <= 0.0) return 0.0;
        if (fabs(found) < fabs(least)) least = found;
        if (fabs(found) > fabs(greatest)) greatest = found;
    }
    if (engaged) return fabs(least) >= LEAST_PPM ? least : 0.0;
    const int32_t alike = fabs(least) >= FIRST_LIKENESS * fabs(greatest);
    return alike && fabs(least) >= FIRST_PPM ? least : 0.0;
}

/* What a measurement does to the rate, with those before it. */
static void follow(kws_drift *drift, double found, double read_ppm) {
    for (int32_t i = FIRST_FINDINGS - 1; i > 0; i--) drift->found[i] = drift->found[i - 1];
    drift->found[0] = found;
    const double least = agreed(drift);
    if (least == 0.0) return;
    double moved = read_ppm + GAIN * least;
    if (moved > LARGEST_PPM) moved = LARGEST_PPM;
    if (moved < -LARGEST_PPM) moved = -LARGEST_PPM;
    const double ppm = rint(moved / STEP_PPM) * STEP_PPM;
    drift->ppm = fabs(ppm) >= NO_DRIFT_PPM ? ppm : 0.0;
    kws_drift_restart(drift);
}

void kws_drift_observe(kws_drift *drift, kws_delay_tracker *tracker, double read_ppm) {
    if (!kws_delay_tracker_broad(tracker)) return;
    if (drift->wait > 0) {
        drift->wait--;
        return;
    }
    kws_delay_tracker_add_whitened(tracker, drift->sum_re, drift->sum_im);
    drift->blocks += (double)kws_delay_tracker_blocks(tracker);
    if (++drift->estimates < PICTURE_ESTIMATES) return;
    const double at = drift->blocks / PICTURE_ESTIMATES;
    const double apart = at - drift->previous_block;
    const int32_t compare = drift->has_previous;
    float agreement = 0.0f, shift = 0.0f;
    if (compare) {
        shift = kws_delay_tracker_shift(tracker, drift->previous_re, drift->previous_im,
                                        drift->sum_re, drift->sum_im, &agreement);
    }
    float *re = drift->previous_re, *im = drift->previous_im;
    drift->previous_re = drift->sum_re;
    drift->previous_im = drift->sum_im;
    drift->sum_re = re;
    drift->sum_im = im;
    drift->previous_block = at;
    drift->has_previous = 1;
    begin_picture(drift);
    if (!compare) return;
    const double found = 1e6 * (double)shift / (apart * KWS_HOP);
    const float needed = drift->ppm != 0.0 ? AGREEMENT : FIRST_AGREEMENT;
    if (!(agreement >= needed) || !(fabs(read_ppm + found) <= LARGEST_FOUND_PPM)) {
        forget_findings(drift);
        return;
    }
    follow(drift, found, read_ppm);
}

/* ---- corrector ---- */

struct kws_corrector {
    double delay;          /* samples; 0 before engage */
    int32_t silent_blocks; /* in a row, up to RUN_ON_BLOCKS */
    float *past;           /* [PAST] */
    float *first, *last; /* [KWS_HOP], of a block */
};

size_t kws_corrector_size(void) {
    return kws_block_bytes(sizeof(kws_corrector)) + kws_block_floats(PAST) +
           2 * kws_block_floats(KWS_HOP);
}

void kws_corrector_init(void *memory) {
    kws_block block = kws_block_of(memory);
    kws_corrector *corrector = kws_block_take(&block, sizeof *corrector);
    corrector->past = kws_block_take_floats(&block, PAST);
    corrector->first = kws_block_take_floats(&block, KWS_HOP);
    corrector->last = kws_block_take_floats(&block, KWS_HOP);
    kws_corrector_reset(corrector);
}

void kws_corrector_restart(kws_corrector *corrector) {
    fill(corrector->past, PAST, 0.0f);
    corrector->silent_blocks = 0;
}

void kws_corrector_reset(kws_corrector *corrector) {
    corrector->delay = 0.0;
    kws_corrector_restart(corrector);
}

void kws_corrector_push(kws_corrector *corrector, const float *reference) {
    float *past = corrector->past;
    for (int32_t k = 0; k < PAST - KWS_HOP; k++) past[k] = past[k + KWS_HOP];
    for (int32_t k = 0; k < KWS_HOP; k++) past[PAST - KWS_HOP + k] = reference[k];
    if (kws_energy(reference) / KWS_HOP >= SILENT_POWER) {
        corrector->silent_blocks = 0;
    } else if (corrector->silent_blocks < RUN_ON_BLOCKS) {
        corrector->silent_blocks++;
    }
}

/* The newest block, late by a fraction: Hann-windowed sinc. */
static void interpolate(const float *past, double delay, float *restrict block) {
    const int32_t whole = (int32_t)floor(delay);
    const double fraction = delay - whole;
    float taps[TAPS];
    for (int32_t i = 0; i < TAPS; i++) {
        const double place = i - (LOOKAHEAD - 1) - fraction;
        const double sinc = place == 0.0 ? 1.0 : sin(PI * place) / (PI * place);
        taps[i] = (float)(sinc * (0.5 + 0.5 * cos(PI * place / LOOKAHEAD)));
    }
    const float *newest = past + PAST - whole + LOOKAHEAD - 1 - KWS_HOP;
    fill(block, KWS_HOP, 0.0f);
    for (int32_t i = 0; i < TAPS; i++) {
        const float *shifted = newest - i;
        for (int32_t k = 0; k < KWS_HOP; k++) block[k] += taps[i] * shifted[k];
    }
}

void kws_corrector_engage(kws_corrector *corrector, int32_t spare_samples) {
    const int32_t spare = spare_samples > 0 ? spare_samples : 0, whole = spare / KWS_HOP;
    const int32_t blocks = whole < KWS_EXCHANGED_BLOCKS ? whole : KWS_EXCHANGED_BLOCKS;
    corrector->delay = LOOKAHEAD + (blocks > 0 ? blocks * KWS_HOP : spare);
}

int32_t kws_corrector_give_back(kws_corrector *corrector, int32_t spare_blocks, double ppm) {
    if (corrector->delay == 0.0 || corrector->delay >= LOOKAHEAD + 1) return 0;
    const int32_t blocks =
        spare_blocks < KWS_EXCHANGED_BLOCKS ? spare_blocks : KWS_EXCHANGED_BLOCKS;
    corrector->delay += blocks * KWS_HOP * (1.0 - 1e-6 * ppm);
    return blocks;
}

int32_t kws_corrector_full(const kws_corrector *corrector) { return corrector->delay >= FULL; }

int32_t kws_corrector_whole_blocks(const kws_corrector *corrector) {
    const int32_t late = (int32_t)corrector->delay - LOOKAHEAD - 2;
    return late > 0 ? late / KWS_HOP : 0;
}

void kws_corrector_next(kws_corrector *corrector, double ppm, float *block) {
    kws_corrector_process(corrector, ppm, block);
    corrector->delay -= KWS_HOP;
}

void kws_corrector_leave(kws_corrector *corrector, int32_t blocks) {
    corrector->delay -= blocks * KWS_HOP;
}

void kws_corrector_recentre(kws_corrector *corrector) { corrector->delay = LOOKAHEAD; }

void kws_corrector_process(kws_corrector *corrector, double ppm, float *block) {
    if (corrector->delay == 0.0) {
        for (int32_t k = 0; k < KWS_HOP; k++) block[k] = corrector->past[PAST - KWS_HOP + k];
        return;
    }
    const double before = corrector->delay, moved = before + 1e-6 * ppm * KWS_HOP;
    /* In a long pause the rate waits: what it is wrong by would add up. */
    if (corrector->silent_blocks < RUN_ON_BLOCKS) {
        corrector->delay = moved > LOOKAHEAD ? moved : LOOKAHEAD;
    }
    interpolate(corrector->past, before, corrector->first);
    interpolate(corrector->past, corrector->delay, corrector->last);
    for (int32_t k = 0; k < KWS_HOP; k++) {
        const float share = (float)(k + 1) / KWS_HOP;
        block[k] = corrector->first[k] + share * (corrector->last[k] - corrector->first[k]);
    }
}

double kws_corrector_delay(const kws_corrector *corrector) { return corrector->delay; }

int32_t kws_corrector_exhausted(const kws_corrector *corrector, double ppm) {
    return corrector->delay == LOOKAHEAD && ppm < 0.0;
}

int32_t kws_corrector_follows(const kws_corrector *corrector, double ppm) {
    return corrector->silent_blocks < RUN_ON_BLOCKS && !kws_corrector_exhausted(corrector, ppm);
}
