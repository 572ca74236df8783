#include "kalman.h"

#include <math.h>

#include "block.h"
#include "energy.h"
#include "fft.h"

/* Constants as in kalman.py. */
#define KEEP 0.997
#define START_VARIANCE 0.5f
#define COMPANION_START_VARIANCE 0.05f
#define CONSTRAINT_GROUPS 4
#define NEAR_SMOOTHING 0.2f
#define SILENT_POWER 1e-9f
#define DEAD_POWER 1e-12f
#define DIVERGED_RATIO 2.0f
#define LEVEL_SMOOTHING 0.25f
#define LEVEL_LIKENESS 0.95f
#define LEVEL_PLAIN 0.98f
#define LEVEL_HIGHER 3.0f
#define LEVEL_LOWER 0.3f
#define PATH_SMOOTHING 0.03f
#define PATH_LOST 0.4f
#define PATH_HEARD 0.8f
#define COUPLING_SMOOTHING 0.01f
#define HEARD_LIKENESS 0.1f
#define MUTED_RATIO 0.05f
#define LEVEL_LEAST 0.01f
#define LEVEL_MEMORY 125
#define GOOD_RATIO 0.1f

#define ROW KWS_ROW_FLOATS
#define FFT_SAMPLES (2 * KWS_HOP)

/* Rows of a channel form a ring; the newest is `newest` rows behind the first. */
typedef struct {
    int32_t first;
    int32_t count;
    int32_t newest;
} ring;

struct kws_reference {
    int32_t channels;
    int32_t rows;
    ring ring[KWS_MOST_CHANNELS];
    kws_fft *fft;
    float *time;        /* [FFT_SAMPLES], for whoever transforms */
    float *spectra;     /* [rows][re, im][ROW] */
    float *past;        /* [channels][KWS_HOP] */
    float *block_power; /* [count of the first channel], a ring like its rows */
};

struct kws_kalman {
    int32_t channels;
    int32_t rows;
    int32_t count[KWS_MOST_CHANNELS];
    int32_t good_blocks; /* left of the time in which a change of level is believed */
    int32_t path_known; /* the paths were good since they were last in doubt */
    int32_t muted; /* the loudspeaker is: the doubt stays, the microphone passes as it is */
    int32_t turn; /* group of partitions whose constraint is due */
    float keep2, forget2; /* state transition squared, and what is missing to 1 */
    float mic_power, error_power;
    float level_cross, level_error, level_echo; /* smoothed, of error and echo before the update */
    float path_cross, path_echo, path_mic; /* slower, to recognise another path */
    float coupling; /* power that the paths pass on of what is played, while it is heard */
    float *path;       /* [rows][re, im, variance][ROW]: a pass reads all three */
    float *near_power; /* [ROW] */
    float *echo_re, *echo_im, *expected, *error_re, *error_im, *half_gain; /* [ROW], of a block */
};

static int32_t rows_of(int32_t channels, const int32_t *partitions) {
    int32_t rows = 0;
    if (channels < 1 || channels > KWS_MOST_CHANNELS) return 0;
    for (int32_t c = 0; c < channels; c++) {
        if (partitions[c] < 1 || partitions[c] > 1024) return 0;
        rows += partitions[c];
    }
    return rows;
}

static void fill(float *row, int32_t count, float value) {
    for (int32_t k = 0; k < count; k++) row[k] = value;
}

/* ---- reference ---- */

size_t kws_reference_size(int32_t channels, const int32_t *partitions) {
    int32_t rows = rows_of(channels, partitions);
    if (rows == 0) return 0;
    return kws_block_bytes(sizeof(kws_reference)) + kws_fft_size(FFT_SAMPLES) +
           kws_block_floats(FFT_SAMPLES) + kws_block_floats((size_t)rows * 2 * ROW) +
           kws_block_floats((size_t)channels * KWS_HOP) + kws_block_floats((size_t)partitions[0]);
}

void kws_reference_init(void *memory, int32_t channels, const int32_t *partitions) {
    kws_block block = kws_block_of(memory);
    kws_reference *reference = kws_block_take(&block, sizeof *reference);
    reference->channels = channels;
    reference->rows = rows_of(channels, partitions);
    int32_t first = 0;
    for (int32_t c = 0; c < channels; c++) {
        reference->ring[c].first = first;
        reference->ring[c].count = partitions[c];
        first += partitions[c];
    }
    reference->fft = kws_block_take(&block, kws_fft_size(FFT_SAMPLES));
    kws_fft_init(reference->fft, FFT_SAMPLES);
    reference->time = kws_block_take_floats(&block, FFT_SAMPLES);
    reference->spectra = kws_block_take_floats(&block, (size_t)reference->rows * 2 * ROW);
    reference->past = kws_block_take_floats(&block, (size_t)channels * KWS_HOP);
    reference->block_power = kws_block_take_floats(&block, (size_t)partitions[0]);
    kws_reference_reset(reference);
}

void kws_reference_reset(kws_reference *reference) {
    fill(reference->spectra, reference->rows * 2 * ROW, 0.0f);
    fill(reference->past, reference->channels * KWS_HOP, 0.0f);
    fill(reference->block_power, reference->ring[0].count, 0.0f);
    for (int32_t c = 0; c < reference->channels; c++) reference->ring[c].newest = 0;
}

/* Spectrum of a partition of a channel, counted from the newest. */
KWS_INLINE const float *spectrum(const kws_reference *reference, int32_t channel, int32_t age) {
    const ring *rows = &reference->ring[channel];
    int32_t at = rows->newest + age;
    if (at >= rows->count) at -= rows->count;
    return reference->spectra + (size_t)(rows->first + at) * 2 * ROW;
}

void kws_reference_push(kws_reference *reference, const float *block) {
    for (int32_t c = 0; c < reference->channels; c++) {
        ring *rows = &reference->ring[c];
        rows->newest = (rows->newest > 0 ? rows->newest : rows->count) - 1;
        const float *restrict now = block + c * KWS_HOP;
        float *restrict past = reference->past + c * KWS_HOP, *restrict time = reference->time;
        for (int32_t k = 0; k < KWS_HOP; k++) {
            time[k] = past[k];
            time[KWS_HOP + k] = now[k];
            past[k] = now[k];
        }
        float *re = reference->spectra + (size_t)(rows->first + rows->newest) * 2 * ROW;
        kws_fft_forward(reference->fft, reference->time, re, re + ROW);
    }
    reference->block_power[reference->ring[0].newest] = kws_energy(block) / KWS_HOP;
}

int32_t kws_reference_silent(const kws_reference *reference) {
    for (int32_t i = 0; i < reference->ring[0].count; i++) {
        if (reference->block_power[i] >= SILENT_POWER) return 0;
    }
    return 1;
}

static float played_power(const kws_reference *reference) {
    float sum = 0.0f;
    for (int32_t i = 0; i < reference->ring[0].count; i++) sum += reference->block_power[i];
    return sum / (float)reference->ring[0].count;
}

/* Whether the block that was pushed last is silent. After an under-run the loudspeaker may go on
 * with what the reference does not show: nothing is to be learnt from that. */
static int32_t newest_silent(const kws_reference *reference) {
    return reference->block_power[reference->ring[0].newest] < SILENT_POWER;
}

/* ---- canceller ---- */

size_t kws_kalman_size(int32_t channels, const int32_t *partitions) {
    int32_t rows = rows_of(channels, partitions);
    if (rows == 0) return 0;
    return kws_block_bytes(sizeof(kws_kalman)) + kws_block_floats((size_t)rows * 3 * ROW) +
           7 * kws_block_floats(ROW);
}

void kws_kalman_init(void *memory, int32_t channels, const int32_t *partitions) {
    kws_block block = kws_block_of(memory);
    kws_kalman *kalman = kws_block_take(&block, sizeof *kalman);
    kalman->channels = channels;
    kalman->rows = rows_of(channels, partitions);
    kws_kalman_keep(kalman, KEEP);
    for (int32_t c = 0; c < channels; c++) kalman->count[c] = partitions[c];
    kalman->path = kws_block_take_floats(&block, (size_t)kalman->rows * 3 * ROW);
    float **row[] = {&kalman->near_power, &kalman->echo_re,  &kalman->echo_im,  &kalman->expected,
                     &kalman->error_re,   &kalman->error_im, &kalman->half_gain};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        *row[i] = kws_block_take_floats(&block, ROW);
        fill(*row[i], ROW, 0.0f);
    }
    kws_kalman_reset(kalman);
}

KWS_INLINE float *path_of(const kws_kalman *kalman, int32_t row) {
    return kalman->path + (size_t)row * 3 * ROW;
}

static void forget(const kws_kalman *kalman, int32_t row) {
    float *path = path_of(kalman, row);
    fill(path, 2 * ROW, 0.0f);
    fill(path + 2 * ROW, ROW, row < kalman->count[0] ? START_VARIANCE : COMPANION_START_VARIANCE);
}

void kws_kalman_keep(kws_kalman *kalman, double keep) {
    kalman->keep2 = (float)(keep * keep);
    kalman->forget2 = (float)(1.0 - keep * keep);
}

void kws_kalman_reset(kws_kalman *kalman) {
    for (int32_t row = 0; row < kalman->rows; row++) forget(kalman, row);
    fill(kalman->near_power, ROW, 1e-6f);
    kalman->mic_power = kalman->error_power = 1e-9f;
    kalman->level_cross = kalman->level_error = kalman->level_echo = 0.0f;
    kalman->path_cross = kalman->path_echo = kalman->path_mic = 0.0f;
    kalman->path_known = 0;
    kalman->coupling = 0.0f;
    kalman->muted = 0;
    kalman->turn = kalman->good_blocks = 0;
}

void kws_kalman_shift(kws_kalman *kalman, int32_t partitions) {
    int32_t first = 0;
    for (int32_t c = 0; c < kalman->channels; c++) {
        const int32_t count = kalman->count[c];
        for (int32_t i = 0; i < count; i++) {
            /* From the end that is left behind, so that no row is overwritten before it moved. */
            int32_t to = partitions > 0 ? count - 1 - i : i;
            int32_t from = to - partitions;
            if (from < 0 || from >= count) {
                forget(kalman, first + to);
                continue;
            }
            const float *source = path_of(kalman, first + from);
            float *target = path_of(kalman, first + to);
            for (int32_t k = 0; k < 3 * ROW; k++) target[k] = source[k];
        }
        first += count;
    }
}

/* Add echo and expected error power of a partition to the sums. */
KWS_INLINE void add_echo(const float *path, const float *x, float *restrict echo_re,
                         float *restrict echo_im, float *restrict expected) {
    const float *pr = KWS_ROW(path), *pi = KWS_ROW(path + ROW), *pv = KWS_ROW(path + 2 * ROW);
    const float *xr = KWS_ROW(x), *xi = KWS_ROW(x + ROW);
    KWS_INDEPENDENT
    for (int32_t k = 0; k < ROW; k++) {
        echo_re[k] += pr[k] * xr[k] - pi[k] * xi[k];
        echo_im[k] += pr[k] * xi[k] + pi[k] * xr[k];
        expected[k] += pv[k] * (xr[k] * xr[k] + xi[k] * xi[k]);
    }
}

/* Two partitions that follow each other, so that the sums are fetched half as often. */
KWS_INLINE void add_two_echoes(const float *path, const float *x, const float *y,
                               float *restrict echo_re, float *restrict echo_im,
                               float *restrict expected) {
    const float *pr = KWS_ROW(path), *pi = KWS_ROW(path + ROW), *pv = KWS_ROW(path + 2 * ROW);
    const float *qr = pr + 3 * ROW, *qi = pi + 3 * ROW, *qv = pv + 3 * ROW;
    const float *xr = KWS_ROW(x), *xi = KWS_ROW(x + ROW);
    const float *yr = KWS_ROW(y), *yi = KWS_ROW(y + ROW);
    KWS_INDEPENDENT
    for (int32_t k = 0; k < ROW; k++) {
        float re = pr[k] * xr[k] - pi[k] * xi[k] + qr[k] * yr[k] - qi[k] * yi[k];
        float im = pr[k] * xi[k] + pi[k] * xr[k] + qr[k] * yi[k] + qi[k] * yr[k];
        echo_re[k] += re;
        echo_im[k] += im;
        expected[k] += pv[k] * (xr[k] * xr[k] + xi[k] * xi[k]) +
                       qv[k] * (yr[k] * yr[k] + yi[k] * yi[k]);
    }
}

/* Echo before the update, and how much of the error the filter expects to be its own. */
KWS_INLINE void prior_echo(kws_kalman *kalman, const kws_reference *reference) {
    float *echo_re = KWS_ROW(kalman->echo_re), *echo_im = KWS_ROW(kalman->echo_im);
    float *expected = KWS_ROW(kalman->expected);
    fill(echo_re, ROW, 0.0f);
    fill(echo_im, ROW, 0.0f);
    fill(expected, ROW, 0.0f);
    int32_t row = 0;
    for (int32_t c = 0; c < kalman->channels; c++) {
        int32_t age = 0;
        for (; age + 1 < kalman->count[c]; age += 2, row += 2) {
            add_two_echoes(path_of(kalman, row), spectrum(reference, c, age),
                           spectrum(reference, c, age + 1), echo_re, echo_im, expected);
        }
        for (; age < kalman->count[c]; age++, row++) {
            add_echo(path_of(kalman, row), spectrum(reference, c, age), echo_re, echo_im, expected);
        }
    }
}

/* Samples of the echo whose spectrum has been summed up. */
static void echo_samples(kws_kalman *kalman, kws_reference *reference, float *echo) {
    kws_fft_inverse(reference->fft, kalman->echo_re, kalman->echo_im, reference->time);
    for (int32_t k = 0; k < KWS_HOP; k++) echo[k] = reference->time[KWS_HOP + k];
}

/* Gain that all partitions share: the Kalman gain without its partition's variance. Leaves the
 * error spectrum times this gain, half the gain, and the echo as the unconstrained update will
 * change it: the sum over the partitions of step times spectrum is gain times error times the
 * expected power that is already known. */
KWS_INLINE void shared_gain(kws_kalman *kalman) {
    float *restrict error_re = KWS_ROW(kalman->error_re);
    float *restrict error_im = KWS_ROW(kalman->error_im);
    float *restrict near_power = KWS_ROW(kalman->near_power);
    float *restrict half_gain = KWS_ROW(kalman->half_gain);
    float *restrict echo_re = KWS_ROW(kalman->echo_re);
    float *restrict echo_im = KWS_ROW(kalman->echo_im);
    const float *restrict expected = KWS_ROW(kalman->expected);
    KWS_INDEPENDENT
    for (int32_t k = 0; k < ROW; k++) {
        float power = error_re[k] * error_re[k] + error_im[k] * error_im[k];
        /* What the filter itself still expects to be wrong is not the near end's. */
        float near = power - 0.5f * expected[k];
        near = near > 0.1f * power ? near : 0.1f * power;
        near_power[k] += NEAR_SMOOTHING * (near - near_power[k]);
        /* Factors 2 and 0.5: half of each block is padding. */
        float gain = 1.0f / (expected[k] + 2.0f * near_power[k] + 1e-10f);
        half_gain[k] = 0.5f * gain;
        error_re[k] *= gain;
        error_im[k] *= gain;
        echo_re[k] += expected[k] * error_re[k];
        echo_im[k] += expected[k] * error_im[k];
    }
}

/* Update of a partition's path and variance in one pass. */
KWS_INLINE void learn_row(const kws_kalman *kalman, float *path, const float *x) {
    float *restrict pr = KWS_ROW(path), *restrict pi = KWS_ROW(path + ROW);
    float *restrict pv = KWS_ROW(path + 2 * ROW);
    const float *restrict xr = KWS_ROW(x), *restrict xi = KWS_ROW(x + ROW);
    const float *restrict er = KWS_ROW(kalman->error_re), *restrict ei = KWS_ROW(kalman->error_im);
    const float *restrict half_gain = KWS_ROW(kalman->half_gain);
    const float keep2 = kalman->keep2, forget2 = kalman->forget2;
    const int32_t muted = kalman->muted;
    KWS_INDEPENDENT
    for (int32_t k = 0; k < ROW; k++) {
        float variance = pv[k];
        float re = pr[k] + variance * (xr[k] * er[k] + xi[k] * ei[k]);
        float im = pi[k] + variance * (xr[k] * ei[k] - xi[k] * er[k]);
        float power = xr[k] * xr[k] + xi[k] * xi[k];
        float shrink = 1.0f - half_gain[k] * variance * power;
        shrink = shrink > 0.05f ? shrink : 0.05f;
        pr[k] = re;
        pi[k] = im;
        float next = variance * shrink * keep2 + forget2 * (re * re + im * im) + 1e-12f;
        pv[k] = muted ? variance : next;
    }
}

/* The same where the gradient constraint is due: the path is forced back to a response that fits
 * into a block, and what that changes is added to the echo. */
KWS_INLINE void learn_row_constrained(kws_kalman *kalman, kws_reference *reference, float *path,
                                      const float *x) {
    float *restrict pr = KWS_ROW(path), *restrict pi = KWS_ROW(path + ROW);
    float *restrict pv = KWS_ROW(path + 2 * ROW);
    const float *restrict xr = KWS_ROW(x), *restrict xi = KWS_ROW(x + ROW);
    const float *restrict er = KWS_ROW(kalman->error_re), *restrict ei = KWS_ROW(kalman->error_im);
    const float *restrict half_gain = KWS_ROW(kalman->half_gain);
    float *restrict echo_re = KWS_ROW(kalman->echo_re), *restrict echo_im = KWS_ROW(kalman->echo_im);
    const float keep2 = kalman->keep2, forget2 = kalman->forget2;
    const int32_t muted = kalman->muted;
    KWS_INDEPENDENT
    for (int32_t k = 0; k < ROW; k++) {
        pr[k] += pv[k] * (xr[k] * er[k] + xi[k] * ei[k]);
        pi[k] += pv[k] * (xr[k] * ei[k] - xi[k] * er[k]);
        echo_re[k] -= pr[k] * xr[k] - pi[k] * xi[k];
        echo_im[k] -= pr[k] * xi[k] + pi[k] * xr[k];
    }
    kws_fft_inverse(reference->fft, pr, pi, reference->time);
    fill(reference->time + KWS_HOP, KWS_HOP, 0.0f);
    kws_fft_forward(reference->fft, reference->time, pr, pi);
    KWS_INDEPENDENT
    for (int32_t k = 0; k < ROW; k++) {
        float variance = pv[k];
        float power = xr[k] * xr[k] + xi[k] * xi[k];
        float shrink = 1.0f - half_gain[k] * variance * power;
        shrink = shrink > 0.05f ? shrink : 0.05f;
        float next = variance * shrink * keep2 + forget2 * (pr[k] * pr[k] + pi[k] * pi[k]) +
                     1e-12f;
        pv[k] = muted ? variance : next;
        echo_re[k] += pr[k] * xr[k] - pi[k] * xi[k];
        echo_im[k] += pr[k] * xi[k] + pi[k] * xr[k];
    }
}

/* If the error is louder than the microphone the path has changed: learn it anew. */
static void recover(kws_kalman *kalman, float mic_power, float error_power) {
    kalman->mic_power = 0.9f * kalman->mic_power + 0.1f * mic_power;
    kalman->error_power = 0.9f * kalman->error_power + 0.1f * error_power;
    if (kalman->error_power <= DIVERGED_RATIO * kalman->mic_power + 1e-9f) return;
    for (int32_t row = 0; row < kalman->rows; row++) {
        float *path = path_of(kalman, row), *variance = path + 2 * ROW;
        for (int32_t k = 0; k < 2 * ROW; k++) path[k] *= 0.3f;
        if (kalman->muted) continue; /* it is whoever talks that would be learnt */
        KWS_INDEPENDENT
        for (int32_t k = 0; k < ROW; k++) {
            variance[k] = variance[k] > 0.1f * START_VARIANCE ? variance[k] : 0.1f * START_VARIANCE;
        }
    }
    KWS_INDEPENDENT
    for (int32_t k = 0; k < ROW; k++) {
        kalman->echo_re[k] *= 0.3f;
        kalman->echo_im[k] *= 0.3f;
    }
    kalman->error_power = kalman->mic_power;
}

/* By how much an error that looks like the echo says that the paths are to be turned, 1 for not. */
static float turned(float cross, float error, float echo, float likeness) {
    if (cross * cross < likeness * error * echo + 1e-12f) return 1.0f;
    const float factor = 1.0f + cross / echo;
    if (factor > LEVEL_LOWER && factor < LEVEL_HIGHER) return 1.0f;
    return factor > LEVEL_LEAST ? factor : LEVEL_LEAST;
}

/* An error that looks like the echo is an echo of another level: somebody has turned a knob that
 * the reference does not see. 1 if the paths were turned with it. */
static int32_t follow_level(kws_kalman *kalman, const float *error, const float *echo) {
    /* Only where the paths were good a moment ago: before that likeness is chance. */
    const int32_t good = kalman->error_power < GOOD_RATIO * kalman->mic_power;
    kalman->path_known |= good;
    kalman->good_blocks = good ? LEVEL_MEMORY : kalman->good_blocks - (kalman->good_blocks > 0);
    const float cross = kws_product(error, echo);
    const float error_power = kws_energy(error), echo_power = kws_energy(echo);
    kalman->level_cross += LEVEL_SMOOTHING * (cross - kalman->level_cross);
    kalman->level_error += LEVEL_SMOOTHING * (error_power - kalman->level_error);
    kalman->level_echo += LEVEL_SMOOTHING * (echo_power - kalman->level_echo);
    if (kalman->good_blocks == 0) return 0;
    /* At once where it is plain, for a single update from such an error spoils the paths. */
    float factor = turned(cross, error_power, echo_power, LEVEL_PLAIN);
    if (factor == 1.0f) {
        factor = turned(kalman->level_cross, kalman->level_error, kalman->level_echo,
                        LEVEL_LIKENESS);
    }
    if (factor == 1.0f) return 0;
    /* Downwards the doubt stays: what looked like a level may have been another path. */
    const float doubt = factor > 1.0f ? factor * factor : 1.0f;
    for (int32_t row = 0; row < kalman->rows; row++) {
        float *path = path_of(kalman, row);
        for (int32_t k = 0; k < 2 * ROW; k++) path[k] *= factor;
        for (int32_t k = 2 * ROW; k < 3 * ROW; k++) path[k] *= doubt;
    }
    kalman->level_cross = kalman->level_error = kalman->level_echo = 0.0f;
    return 1;
}

/* Where the echo that the paths expect is not there they are in doubt: a near end is
 * not correlated with it, an echo by another path is its negative in part. 1 if that is so. */
static int32_t doubt_lost_path(kws_kalman *kalman, const float *error, const float *echo,
                               float mic_power) {
    const float share = PATH_SMOOTHING;
    kalman->path_cross += share * (kws_product(error, echo) - kalman->path_cross);
    kalman->path_echo += share * (kws_energy(echo) - kalman->path_echo);
    kalman->path_mic += share * (mic_power - kalman->path_mic);
    /* Before they were good once they are still being learnt. */
    if (!kalman->path_known || kalman->path_cross >= -PATH_LOST * kalman->path_echo ||
        kalman->path_echo < PATH_HEARD * kalman->path_mic + 1e-9f) {
        return 0;
    }
    /* Not the companions': distortion is the loudspeaker's, whatever the room. */
    for (int32_t row = 0; row < kalman->count[0]; row++) {
        float *variance = path_of(kalman, row) + 2 * ROW;
        KWS_INDEPENDENT
        for (int32_t k = 0; k < ROW; k++) {
            variance[k] = variance[k] > START_VARIANCE ? variance[k] : START_VARIANCE;
        }
    }
    kalman->path_cross = kalman->path_echo = kalman->path_mic = 0.0f;
    kalman->path_known = 0;
    return 1;
}

/* Whether the paths have sunk far below what they passed on, and their echo is not heard: the
 * filter must not get surer of nothing with every block, for it would be deaf to the echo that
 * comes back. */
static int32_t is_muted(kws_kalman *kalman, const kws_reference *reference, const float *echo) {
    const float now = kws_energy(echo), played = KWS_HOP * played_power(reference);
    const float cross = kalman->level_cross, echo_power = kalman->level_echo;
    const float likeness = cross + echo_power;
    const float mic_power = kalman->level_error + 2.0f * cross + echo_power;
    if (likeness > 0.0f && likeness * likeness > HEARD_LIKENESS * mic_power * echo_power) {
        kalman->coupling += COUPLING_SMOOTHING * (now / played - kalman->coupling);
        return 0;
    }
    return now < MUTED_RATIO * kalman->coupling * played;
}

/* Kalman update of all paths from the error before it; leaves the spectrum of the echo after it. */
KWS_INLINE void learn_all(kws_kalman *kalman, kws_reference *reference, const float *error) {
    float *time = reference->time;
    fill(time, KWS_HOP, 0.0f);
    for (int32_t k = 0; k < KWS_HOP; k++) time[KWS_HOP + k] = error[k];
    kws_fft_forward(reference->fft, time, kalman->error_re, kalman->error_im);
    shared_gain(kalman);
    int32_t row = 0;
    for (int32_t c = 0; c < kalman->channels; c++) {
        for (int32_t age = 0; age < kalman->count[c]; age++, row++) {
            const float *x = spectrum(reference, c, age);
            if (row % CONSTRAINT_GROUPS == kalman->turn) {
                learn_row_constrained(kalman, reference, path_of(kalman, row), x);
            } else {
                learn_row(kalman, path_of(kalman, row), x);
            }
        }
    }
    kalman->turn = (kalman->turn + 1) % CONSTRAINT_GROUPS;
}

/* Forget paths whose echo is not finite, for they would never be learnt again: the microphone
 * passes as it is. */
static int32_t broken(kws_kalman *kalman, const float *mic, const float *echo, float *error) {
    if (isfinite(kws_energy(echo))) return 0;
    kws_kalman_reset(kalman);
    for (int32_t k = 0; k < KWS_HOP; k++) error[k] = mic[k];
    return 1;
}

/* What is given out: without the echo, unless what the paths have learnt is whoever talks. */
static void pass(const kws_kalman *kalman, const float *mic, float *error, float *echo) {
    if (kalman->muted) fill(echo, KWS_HOP, 0.0f);
    for (int32_t k = 0; k < KWS_HOP; k++) error[k] = mic[k] - echo[k];
}

KWS_CLONES void kws_kalman_process(kws_kalman *kalman, kws_reference *reference, const float *mic,
                                   int32_t learn, float *error, float *echo) {
    const float mic_power = kws_energy(mic);
    /* A dead or muted microphone has no echo in it; the estimate would be all there is. */
    if (kws_reference_silent(reference) || mic_power < DEAD_POWER * KWS_HOP) {
        for (int32_t k = 0; k < KWS_HOP; k++) error[k] = mic[k];
        fill(echo, KWS_HOP, 0.0f);
        return;
    }
    prior_echo(kalman, reference);
    echo_samples(kalman, reference, echo);
    if (broken(kalman, mic, echo, error)) {
        fill(echo, KWS_HOP, 0.0f);
        return;
    }
    if (!learn || newest_silent(reference)) {
        pass(kalman, mic, error, echo);
        return;
    }

    for (int32_t k = 0; k < KWS_HOP; k++) error[k] = mic[k] - echo[k];
    if (follow_level(kalman, error, echo)) {
        prior_echo(kalman, reference);
        echo_samples(kalman, reference, echo);
        for (int32_t k = 0; k < KWS_HOP; k++) error[k] = mic[k] - echo[k];
    }
    if (doubt_lost_path(kalman, error, echo, mic_power)) prior_echo(kalman, reference);
    kalman->muted = is_muted(kalman, reference, echo);
    learn_all(kalman, reference, error);
    recover(kalman, mic_power, kws_energy(error));
    /* Measured: the estimate after the update finds a fifth more words than the one before. */
    echo_samples(kalman, reference, echo);
    if (broken(kalman, mic, echo, error)) {
        fill(echo, KWS_HOP, 0.0f);
        return;
    }
    pass(kalman, mic, error, echo);
}

KWS_CLONES void kws_kalman_predict(kws_kalman *kalman, kws_reference *reference, const float *mic,
                                   int32_t learn, float *error) {
    prior_echo(kalman, reference);
    echo_samples(kalman, reference, error);
    if (broken(kalman, mic, error, error)) return;
    for (int32_t k = 0; k < KWS_HOP; k++) error[k] = mic[k] - error[k];
    if (learn) learn_all(kalman, reference, error);
}

void kws_kalman_path(const kws_kalman *kalman, int32_t row, float *re, float *im) {
    const float *path = path_of(kalman, row);
    for (int32_t k = 0; k < KWS_BINS; k++) {
        re[k] = path[k];
        im[k] = path[ROW + k];
    }
}
