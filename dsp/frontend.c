#include "frontend.h"

#include <math.h>
#include <string.h>

#include "block.h"
#include "companions.h"
#include "dc_blocker.h"
#include "delay.h"
#include "direction.h"
#include "drift.h"
#include "feature_stream.h"
#include "interference.h"
#include "kalman.h"
#include "meter.h"
#include "suppressor.h"

/* Full scale is 1; what is beyond this would overflow a square somewhere. */
#define LARGEST_SAMPLE 16.0f
#define ANOTHER_PATH_SAMPLES 256
#define LATE_ESTIMATES 12
#define LOST_ERLE_DB 6.0f
#define LOST_ESTIMATES 8
#define GIVEN_UP_ESTIMATES 24
#define GIVEN_UP_ERLE_DB 12.0f
#define LONGEST_TAIL_MS 1000
#define LONGEST_SEARCH_MS 500
#define LONGEST_SPACING_MM 1000
#define MOST_CHANNELS (KWS_MOST_MICROPHONES + 1)

typedef struct {
    int32_t channels;
    int32_t partitions[KWS_MOST_CHANNELS];
} paths;

struct kws_frontend {
    kws_frontend_config config;
    paths paths;
    int32_t cancels;
    int32_t echo_found; /* the microphone was once heard to follow the reference */
    int32_t heard_samples; /* where the echo was heard last */
    int32_t lost_estimates; /* in a row that heard none where little was cancelled */
    kws_dc_blocker dc[MOST_CHANNELS];
    kws_microphone_choice choice;
    kws_meter meter;
    kws_companions *companions;
    kws_delay_tracker *tracker;
    kws_delay_line *line;
    kws_drift *drift; /* NULL where it is switched off, like the corrector */
    kws_corrector *corrector;
    kws_reference *spectra;
    kws_kalman *cancellers[KWS_MOST_MICROPHONES];
    kws_interference *interference;
    kws_direction *direction;
    kws_suppressor *suppressor;
    kws_features *features[KWS_SIGNALS]; /* NULL where they are not asked for */
    float *held[MOST_CHANNELS]; /* [KWS_HOP] each */
    int32_t held_count;
    /* Work space of one block, [KWS_HOP] each. */
    float *read;       /* the reference at the microphones' clock */
    float *played;     /* [channels of the paths][KWS_HOP] */
    float *aligned;    /* [channels of the paths][KWS_HOP] */
    float *residual[KWS_MOST_MICROPHONES];
    float *echo[KWS_MOST_MICROPHONES];
    float *silence;
    float *voice;
    float *combined;
};

int32_t kws_dsp_abi(void) { return KWS_DSP_ABI; }

static int32_t combines(const kws_frontend_config *config) {
    return config->combine && config->microphones == 2;
}

static int32_t finds(const kws_frontend_config *config) {
    return config->mic_spacing_mm > 0 && config->microphones == 2;
}

static paths paths_of(const kws_frontend_config *config) {
    paths made;
    const int32_t whole = config->tail_ms * 16 / KWS_HOP;
    const int32_t tail = whole < 1 ? 1 : whole;
    memset(&made, 0, sizeof made);
    made.channels = config->companions ? 1 + KWS_COMPANIONS : 1;
    made.partitions[0] = tail;
    for (int32_t c = 1; c < made.channels; c++) {
        made.partitions[c] = tail < KWS_COMPANION_PARTITIONS ? tail : KWS_COMPANION_PARTITIONS;
    }
    return made;
}

static int32_t is_allowed(const kws_frontend_config *config) {
    return config->microphones >= 1 && config->microphones <= KWS_MOST_MICROPHONES &&
           config->tail_ms >= 1 && config->tail_ms <= LONGEST_TAIL_MS &&
           config->delay_search_ms >= 0 && config->delay_search_ms <= LONGEST_SEARCH_MS &&
           config->mic_spacing_mm >= 0 && config->mic_spacing_mm <= LONGEST_SPACING_MM;
}

size_t kws_frontend_size(const kws_frontend_config *config) {
    if (!is_allowed(config)) {
        return 0;
    }
    const paths made = paths_of(config);
    const size_t mics = (size_t)config->microphones;
    size_t bytes = kws_block_bytes(sizeof(kws_frontend));
    bytes += (mics + 1) * kws_block_floats(KWS_HOP);
    bytes += 2 * kws_block_floats((size_t)made.channels * KWS_HOP);
    bytes += (2 * mics + 4) * kws_block_floats(KWS_HOP);
    bytes += kws_mel_size();
    for (int32_t s = 0; s < KWS_SIGNALS; s++) {
        bytes += config->features[s] ? kws_features_size() : 0;
    }
    bytes += combines(config) ? kws_interference_size() : 0;
    bytes += finds(config) ? kws_direction_size() : 0;
    if (config->voice_branch) {
        bytes += kws_suppressor_size();
    }
    if (config->aec && config->has_reference) {
        bytes += kws_delay_tracker_size(config->delay_search_ms);
        bytes += kws_delay_line_size(made.channels, config->delay_search_ms * 16,
                                     made.partitions[0] + 1);
        bytes += kws_reference_size(made.channels, made.partitions);
        bytes += mics * kws_kalman_size(made.channels, made.partitions);
        bytes += config->companions ? kws_companions_size(KWS_HOP) : 0;
        bytes += config->drift ? kws_drift_size() + kws_corrector_size() : 0;
    }
    return bytes;
}

static void init_canceller(kws_frontend *f, kws_block *block) {
    const kws_frontend_config *config = &f->config;
    const paths *p = &f->paths;
    const int32_t longest = config->delay_search_ms * 16, history = p->partitions[0] + 1;
    f->tracker = kws_block_take(block, kws_delay_tracker_size(config->delay_search_ms));
    kws_delay_tracker_init(f->tracker, config->delay_search_ms);
    f->line = kws_block_take(block, kws_delay_line_size(p->channels, longest, history));
    kws_delay_line_init(f->line, p->channels, longest, history);
    f->spectra = kws_block_take(block, kws_reference_size(p->channels, p->partitions));
    kws_reference_init(f->spectra, p->channels, p->partitions);
    for (int32_t m = 0; m < config->microphones; m++) {
        f->cancellers[m] = kws_block_take(block, kws_kalman_size(p->channels, p->partitions));
        kws_kalman_init(f->cancellers[m], p->channels, p->partitions);
    }
    if (config->drift) {
        f->drift = kws_block_take(block, kws_drift_size());
        kws_drift_init(f->drift);
        f->corrector = kws_block_take(block, kws_corrector_size());
        kws_corrector_init(f->corrector);
    }
    if (config->companions) {
        f->companions = kws_block_take(block, kws_companions_size(KWS_HOP));
        kws_companions_init(f->companions, KWS_HOP);
    }
}

void kws_frontend_init(void *state, const kws_frontend_config *config) {
    kws_block block = kws_block_of(state);
    kws_frontend *f = kws_block_take(&block, sizeof *f);
    memset(f, 0, sizeof *f);
    f->config = *config;
    f->paths = paths_of(config);
    f->cancels = config->aec && config->has_reference;
    f->echo_found = config->delay_search_ms == 0;
    f->heard_samples = KWS_DELAY_UNKNOWN;
    for (int32_t c = 0; c <= config->microphones; c++) {
        f->held[c] = kws_block_take_floats(&block, KWS_HOP);
    }
    f->played = kws_block_take_floats(&block, (size_t)f->paths.channels * KWS_HOP);
    f->aligned = kws_block_take_floats(&block, (size_t)f->paths.channels * KWS_HOP);
    for (int32_t m = 0; m < config->microphones; m++) {
        f->residual[m] = kws_block_take_floats(&block, KWS_HOP);
        f->echo[m] = kws_block_take_floats(&block, KWS_HOP);
    }
    f->read = kws_block_take_floats(&block, KWS_HOP);
    f->silence = kws_block_take_floats(&block, KWS_HOP);
    f->voice = kws_block_take_floats(&block, KWS_HOP);
    f->combined = kws_block_take_floats(&block, KWS_HOP);
    memset(f->silence, 0, KWS_HOP * sizeof(float));
    kws_mel *mel = kws_block_take(&block, kws_mel_size());
    kws_mel_init(mel);
    for (int32_t s = 0; s < KWS_SIGNALS; s++) {
        if (config->features[s]) {
            f->features[s] = kws_block_take(&block, kws_features_size());
            kws_features_init(f->features[s], mel);
        }
    }
    if (combines(config)) {
        f->interference = kws_block_take(&block, kws_interference_size());
        kws_interference_init(f->interference);
    }
    if (finds(config)) {
        f->direction = kws_block_take(&block, kws_direction_size());
        kws_direction_init(f->direction, config->mic_spacing_mm);
    }
    if (config->voice_branch) {
        f->suppressor = kws_block_take(&block, kws_suppressor_size());
        kws_suppressor_init(f->suppressor);
    }
    if (f->cancels) {
        init_canceller(f, &block);
    }
    kws_microphone_choice_init(&f->choice, config->microphones);
    kws_meter_init(&f->meter, config->microphones);
}

/* Blocks that the corrector can leave to the delay line. */
static int32_t blocks_to_leave(const kws_frontend *f, int32_t applied) {
    const int32_t room = f->config.delay_search_ms * 16 / KWS_HOP - applied / KWS_HOP;
    const int32_t blocks = kws_corrector_whole_blocks(f->corrector);
    return blocks < room ? blocks : room;
}

void kws_frontend_gap(kws_frontend *f) {
    f->held_count = 0;
    for (int32_t c = 0; c < MOST_CHANNELS; c++) {
        kws_dc_blocker_reset(&f->dc[c]);
    }
    for (int32_t s = 0; s < KWS_SIGNALS; s++) {
        if (f->features[s] != NULL) {
            kws_features_reset(f->features[s]);
        }
    }
    if (f->suppressor != NULL) {
        kws_suppressor_reset(f->suppressor);
    }
    if (f->interference != NULL) {
        kws_interference_restart(f->interference);
    }
    if (f->direction != NULL) {
        kws_direction_reset(f->direction);
    }
    if (f->cancels) {
        kws_reference_reset(f->spectra);
        kws_delay_line_reset(f->line);
        int32_t applied = kws_delay_tracker_applied(f->tracker);
        if (f->drift != NULL) {
            /* The tracker looks for an echo behind what the corrector gives: that comes early. */
            const int32_t blocks = blocks_to_leave(f, applied);
            kws_corrector_leave(f->corrector, blocks);
            applied += blocks * KWS_HOP;
            f->lost_estimates = 0;
            kws_drift_restart(f->drift);
            kws_corrector_restart(f->corrector);
        }
        kws_delay_tracker_reset(f->tracker, applied);
    }
}

void kws_frontend_reset(kws_frontend *f) {
    kws_frontend_gap(f);
    f->echo_found = f->config.delay_search_ms == 0;
    f->heard_samples = KWS_DELAY_UNKNOWN;
    if (f->interference != NULL) {
        kws_interference_reset(f->interference);
    }
    if (f->cancels) {
        kws_delay_tracker_reset(f->tracker, 0);
        if (f->drift != NULL) {
            kws_drift_reset(f->drift);
            kws_corrector_reset(f->corrector);
        }
        for (int32_t m = 0; m < f->config.microphones; m++) {
            kws_kalman_reset(f->cancellers[m]);
        }
        if (f->companions != NULL) {
            kws_companions_reset(f->companions);
        }
    }
    kws_microphone_choice_init(&f->choice, f->config.microphones);
    kws_meter_init(&f->meter, f->config.microphones);
}

int32_t kws_frontend_held(const kws_frontend *f) { return f->held_count; }

int32_t kws_frontend_frames(int32_t samples) {
    return 2 + (samples + KWS_HOP) / KWS_FEATURE_HOP;
}

/* The reference and its companions into the delay line. */
static void line_push(kws_frontend *f, const float *reference) {
    if (f->companions != NULL) {
        kws_companions_process(f->companions, reference, f->played);
    } else {
        memcpy(f->played, reference, KWS_HOP * sizeof(float));
    }
    kws_delay_line_push(f->line, f->played);
}

static void shift_paths(kws_frontend *f, int32_t partitions) {
    for (int32_t m = 0; m < f->config.microphones; m++) {
        kws_kalman_shift(f->cancellers[m], partitions);
    }
}

static int32_t cancels_below(const kws_frontend *f, float limit_db) {
    return f->meter.erle_known && f->meter.erle_db < limit_db;
}

/* Blocks that the delay line has taken from the corrector: all that it has, where it is full or
 * may hold the reference back behind the echo: the tracker sees it earlier then. What is not a
 * whole block is only given up for lost paths. */
static int32_t hand_over(kws_frontend *f, int32_t applied) {
    kws_corrector *corrector = f->corrector;
    const int32_t unheard = kws_delay_tracker_unheard(f->tracker);
    const int32_t delay = kws_delay_tracker_delay(f->tracker);
    const int32_t early = delay != KWS_DELAY_UNKNOWN && delay < KWS_DELAY_EARLIEST;
    if (!kws_corrector_full(corrector) && !early && unheard < LOST_ESTIMATES) return 0;
    const int32_t blocks = blocks_to_leave(f, applied);
    for (int32_t i = 0; i < blocks; i++) {
        kws_corrector_next(corrector, kws_drift_ppm(f->drift), f->read);
        line_push(f, f->read);
    }
    const int32_t lost = kws_corrector_delay(corrector) >= 2 * KWS_LOOKAHEAD &&
                         f->lost_estimates >= GIVEN_UP_ESTIMATES;
    if (blocks == 0 && (kws_corrector_full(corrector) || lost)) {
        kws_corrector_recentre(corrector);
        f->lost_estimates = 0;
    }
    return blocks;
}

/* The reference at the microphones' clock. Where the corrector's own delay reaches a bound, blocks
 * are exchanged with the delay line; the sum of both stays, so the cancellers notice nothing. */
static const float *undo_drift(kws_frontend *f, const float *reference) {
    kws_corrector *corrector = f->corrector;
    const double ppm = kws_drift_ppm(f->drift);
    const int32_t applied = kws_delay_tracker_applied(f->tracker);
    const int32_t followed = kws_corrector_follows(corrector, ppm);
    kws_corrector_push(corrector, reference);
    const double before = kws_corrector_delay(corrector);
    const int32_t back = kws_corrector_give_back(corrector, applied / KWS_HOP, ppm);
    kws_delay_line_unpush(f->line, back);
    const int32_t blocks = back > 0 ? -back : hand_over(f, applied);
    const int32_t delay = kws_delay_tracker_delay(f->tracker);
    const int32_t spare =
        (delay == KWS_DELAY_UNKNOWN ? 0 : delay) - applied - KWS_DELAY_MARGIN;
    /* Once it was exhausted for whole blocks, with which the paths can move; for less where they
     * are worth little and the echo is heard there: else it would be given up and begun anew. */
    const int32_t heard = kws_delay_tracker_estimates(f->tracker) > 0 &&
                          kws_delay_tracker_unheard(f->tracker) == 0;
    const int32_t afresh = heard && cancels_below(f, GIVEN_UP_ERLE_DB);
    const int32_t again =
        kws_corrector_exhausted(corrector, ppm) && spare >= (afresh ? KWS_LOOKAHEAD : KWS_HOP);
    if (ppm != 0.0 && (before == 0.0 || again)) {
        kws_corrector_engage(corrector, spare);
        shift_paths(f, -((int32_t)kws_corrector_delay(corrector) / KWS_HOP));
    }
    kws_corrector_process(corrector, ppm, f->read);
    const int32_t jumped = (int32_t)rint(before - kws_corrector_delay(corrector));
    if (jumped != 0) {
        kws_delay_tracker_rebase(f->tracker, jumped, applied + blocks * KWS_HOP);
    }
    if (jumped != 0 || kws_corrector_follows(corrector, ppm) != followed) {
        kws_drift_restart(f->drift);
    }
    return f->read;
}

/* Where the loudspeaker's sound arrives behind the reference that came in. */
static int32_t delay_of(const kws_frontend *f) {
    const int32_t delay = kws_delay_tracker_delay(f->tracker);
    if (delay == KWS_DELAY_UNKNOWN || f->drift == NULL) return delay;
    const int32_t sum = delay + (int32_t)rint(kws_corrector_delay(f->corrector));
    return sum > 0 ? sum : 0;
}

/* Whether the echo has come back at another delay than it was heard at last, which may have been
 * before a gap, over which the tracker forgets it; or is heard for the first time, and late: what
 * the filters are sure of by then is that there is none. */
static int32_t is_another_path(kws_frontend *f) {
    const int32_t before = f->heard_samples, now = delay_of(f);
    if (now == KWS_DELAY_UNKNOWN) return 0;
    f->heard_samples = now;
    const int32_t another =
        before == KWS_DELAY_UNKNOWN
            ? kws_delay_tracker_estimates(f->tracker) > LATE_ESTIMATES
            : now - before > ANOTHER_PATH_SAMPLES || before - now > ANOTHER_PATH_SAMPLES;
    return another && cancels_below(f, LOST_ERLE_DB);
}

/* Undo drift and delay of the reference; when the delay changes the echo paths move with it. */
static void align(kws_frontend *f, const float *mic, const float *reference) {
    if (f->drift != NULL) {
        reference = undo_drift(f, reference);
    }
    const int32_t before = kws_delay_tracker_applied(f->tracker);
    const int32_t estimates = kws_delay_tracker_estimates(f->tracker);
    const int32_t moved = f->config.delay_search_ms > 0 &&
                          kws_delay_tracker_push(f->tracker, mic, reference);
    if (is_another_path(f)) {
        /* What was learnt, and how sure of it the filters are, only holds them up. */
        for (int32_t m = 0; m < f->config.microphones; m++) {
            kws_kalman_reset(f->cancellers[m]);
        }
    }
    if (f->drift != NULL && kws_delay_tracker_estimates(f->tracker) != estimates) {
        const double ppm = kws_drift_ppm(f->drift);
        const int32_t follows = kws_corrector_follows(f->corrector, ppm);
        kws_drift_observe(f->drift, f->tracker, follows ? ppm : 0.0);
        const int32_t lost =
            kws_delay_tracker_unheard(f->tracker) > 0 && cancels_below(f, GIVEN_UP_ERLE_DB);
        f->lost_estimates = lost ? f->lost_estimates + 1 : 0;
    }
    const int32_t delay = kws_delay_tracker_applied(f->tracker);
    line_push(f, reference);
    if (moved) {
        kws_reference_reset(f->spectra);
        for (int32_t age = f->paths.partitions[0] + 1; age >= 1; age--) {
            kws_delay_line_read(f->line, delay, age, f->aligned);
            kws_reference_push(f->spectra, f->aligned);
        }
        shift_paths(f, (before - delay) / KWS_HOP);
    }
    kws_delay_line_read(f->line, delay, 0, f->aligned);
    kws_reference_push(f->spectra, f->aligned);
}

/* One block of 16 ms out of the held channels; the first `valid` samples of it are real. Where the
 * microphone is padded its echo stops in the middle: nothing is to be learnt or measured there. */
static void run_block(kws_frontend *f, int32_t valid, kws_frontend_output *output) {
    const int32_t mics = f->config.microphones;
    const int32_t whole = valid == KWS_HOP;
    const float *reference = f->held[mics];
    const int32_t used =
        kws_microphone_choice_update(&f->choice, (const float *const *)f->held, KWS_HOP);
    if (f->config.dc_block) {
        for (int32_t c = 0; c <= mics; c++) {
            kws_dc_blocker_process(&f->dc[c], f->held[c], KWS_HOP);
        }
    }
    const float *residual = f->held[used], *other = f->held[mics == 2 ? 1 - used : used];
    const float *echo = f->silence;
    if (f->cancels) {
        align(f, f->held[used], reference);
        for (int32_t m = 0; m < mics; m++) {
            kws_kalman_process(f->cancellers[m], f->spectra, f->held[m], whole, f->residual[m],
                               f->echo[m]);
        }
        /* Without an echo a filter that looks for one finds the talker. */
        f->echo_found |= kws_delay_tracker_delay(f->tracker) != KWS_DELAY_UNKNOWN;
        if (f->echo_found) {
            residual = f->residual[used];
            other = f->residual[mics == 2 ? 1 - used : used];
            echo = f->echo[used];
        }
        reference = f->aligned;
    }
    if (whole) {
        kws_meter_update(&f->meter, (const float *const *)f->held, reference, residual, used,
                         KWS_HOP);
        if (f->direction != NULL) {
            kws_direction_update(f->direction, used == 0 ? residual : other,
                                 used == 0 ? other : residual, (float)f->meter.floor_power);
        }
    }
    const float *detector = residual;
    if (f->interference != NULL) {
        const int32_t usable = used == 0 && kws_microphone_choice_good(&f->choice, 1);
        kws_interference_process(f->interference, residual, other, usable, whole, f->combined);
        detector = f->combined;
    }
    const float *voice = detector;
    if (f->suppressor != NULL) {
        kws_suppressor_process(f->suppressor, residual,
                               f->config.suppress_echo ? echo : f->silence,
                               f->config.noise_reduction, f->voice);
        voice = f->voice;
    }
    const float *const signals[KWS_SIGNALS] = {detector, voice, residual, reference};
    int32_t frames = 0;
    for (int32_t s = 0; s < KWS_SIGNALS; s++) {
        memcpy(output->signals[s] + output->samples, signals[s], (size_t)valid * sizeof(float));
        /* All were reset together and take the same samples, so all complete the same frames. */
        if (f->features[s] != NULL) {
            frames = kws_features_process(f->features[s], signals[s], valid,
                                          output->features[s] +
                                              output->frames * KWS_FEATURE_BANDS);
        }
    }
    output->samples += valid;
    output->frames += frames;
}

static void clear(kws_frontend_output *output) {
    output->samples = 0;
    output->frames = 0;
}

/* Absurd samples out, clipped ones counted: false for NaN too. */
static float checked(kws_frontend *f, float sample, int32_t is_mic) {
    const float size = sample < 0.0f ? -sample : sample;
    if (!(size <= LARGEST_SAMPLE)) {
        f->meter.bad_samples++;
        return 0.0f;
    }
    f->meter.clipped_samples += is_mic && size >= KWS_CLIP_LEVEL;
    return sample;
}

void kws_frontend_process(kws_frontend *f, const float *channels, int32_t samples,
                          kws_frontend_output *output) {
    int32_t taken = 0;
    clear(output);
    while (taken < samples) {
        const int32_t room = KWS_HOP - f->held_count;
        const int32_t part = samples - taken < room ? samples - taken : room;
        for (int32_t c = 0; c <= f->config.microphones; c++) {
            const float *source = channels + (size_t)c * (size_t)samples + taken;
            for (int32_t i = 0; i < part; i++) {
                f->held[c][f->held_count + i] =
                    checked(f, source[i], c < f->config.microphones);
            }
        }
        f->held_count += part;
        taken += part;
        if (f->held_count == KWS_HOP) {
            run_block(f, KWS_HOP, output);
            f->held_count = 0;
        }
    }
}

void kws_frontend_flush(kws_frontend *f, kws_frontend_output *output) {
    const int32_t valid = f->held_count;
    clear(output);
    if (valid == 0) {
        return;
    }
    for (int32_t c = 0; c <= f->config.microphones; c++) {
        memset(f->held[c] + valid, 0, (size_t)(KWS_HOP - valid) * sizeof(float));
    }
    run_block(f, valid, output);
    f->held_count = 0;
}

void kws_frontend_snapshot(const kws_frontend *f, kws_frontend_metrics *metrics) {
    const kws_meter *meter = &f->meter;
    memset(metrics, 0, sizeof *metrics);
    for (int32_t m = 0; m < f->config.microphones; m++) {
        metrics->mic_level_dbfs[m] = kws_power_to_db(meter->mic_power[m]);
        metrics->dead[m] = kws_microphone_choice_dead(&f->choice, m);
    }
    metrics->reference_level_dbfs = kws_power_to_db(meter->reference_power);
    metrics->erle_db = meter->erle_db;
    metrics->erle_known = meter->erle_known;
    metrics->noise_floor_dbfs = kws_power_to_db(meter->floor_power);
    metrics->snr_db = kws_power_to_db(meter->residual_power) - metrics->noise_floor_dbfs;
    const int32_t delay = f->cancels ? delay_of(f) : KWS_DELAY_UNKNOWN;
    metrics->delay_samples = delay == KWS_DELAY_UNKNOWN ? -1 : delay;
    if (f->drift != NULL) {
        metrics->drift_ppm = (float)kws_drift_ppm(f->drift);
    }
    if (f->direction != NULL && kws_microphone_choice_good(&f->choice, 0) &&
        kws_microphone_choice_good(&f->choice, 1)) {
        metrics->doa_deg = kws_direction_angle(f->direction, &metrics->doa_known);
    }
    metrics->echo_active = f->config.has_reference && kws_meter_echo_active(meter);
    metrics->microphone = f->choice.used;
    metrics->clipped_samples = meter->clipped_samples;
    metrics->bad_samples = meter->bad_samples;
}
