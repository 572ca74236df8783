#include "frontend.h"

#include <math.h>
#include <string.h>

#include "alignment.h"
#include "block.h"
#include "companions.h"
#include "dc_blocker.h"
#include "delay.h"
#include "direction.h"
#include "feature_stream.h"
#include "interference.h"
#include "kalman.h"
#include "meter.h"
#include "suppressor.h"

/* Full scale is 1; what is beyond this would overflow a square somewhere. */
#define LARGEST_SAMPLE 16.0f
#define LONGEST_TAIL_MS 1000
#define LONGEST_SEARCH_MS 500
#define LONGEST_SPACING_MM 1000
#define MOST_CHANNELS (KWS_MOST_MICROPHONES + 1)

struct kws_frontend {
    kws_frontend_config config;
    int32_t echo_found; /* the microphone was once heard to follow the reference */
    kws_dc_blocker dc[MOST_CHANNELS];
    kws_microphone_choice choice;
    kws_meter meter;
    kws_alignment *alignment; /* NULL where nothing is cancelled, like the cancellers */
    kws_kalman *cancellers[KWS_MOST_MICROPHONES];
    kws_interference *interference;
    kws_direction *direction;
    kws_suppressor *suppressor;
    kws_features *features[KWS_SIGNALS]; /* NULL where they are not asked for */
    float *held[MOST_CHANNELS]; /* [KWS_HOP] each */
    int32_t held_count;
    /* Work space of one block, [KWS_HOP] each. */
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

static int32_t cancels(const kws_frontend_config *config) {
    return config->aec && config->has_reference;
}

static kws_alignment_config alignment_of(const kws_frontend_config *config) {
    kws_alignment_config made;
    const int32_t whole = config->tail_ms * KWS_SAMPLES_PER_MS / KWS_HOP;
    const int32_t tail = whole < 1 ? 1 : whole;
    memset(&made, 0, sizeof made);
    made.delay_search_ms = config->delay_search_ms;
    made.drift = config->drift;
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
    const size_t mics = (size_t)config->microphones;
    size_t bytes = kws_block_bytes(sizeof(kws_frontend));
    bytes += (mics + 1) * kws_block_floats(KWS_HOP);
    bytes += (2 * mics + 3) * kws_block_floats(KWS_HOP);
    bytes += kws_mel_size();
    for (int32_t s = 0; s < KWS_SIGNALS; s++) {
        bytes += config->features[s] ? kws_features_size() : 0;
    }
    bytes += combines(config) ? kws_interference_size() : 0;
    bytes += finds(config) ? kws_direction_size() : 0;
    if (config->voice_branch) {
        bytes += kws_suppressor_size();
    }
    if (cancels(config)) {
        const kws_alignment_config made = alignment_of(config);
        bytes += kws_alignment_size(&made);
        bytes += mics * kws_kalman_size(made.channels, made.partitions);
    }
    return bytes;
}

static void init_canceller(kws_frontend *f, kws_block *block) {
    const kws_alignment_config made = alignment_of(&f->config);
    f->alignment = kws_block_take(block, kws_alignment_size(&made));
    kws_alignment_init(f->alignment, &made);
    for (int32_t m = 0; m < f->config.microphones; m++) {
        f->cancellers[m] = kws_block_take(block, kws_kalman_size(made.channels, made.partitions));
        kws_kalman_init(f->cancellers[m], made.channels, made.partitions);
    }
}

void kws_frontend_init(void *state, const kws_frontend_config *config) {
    kws_block block = kws_block_of(state);
    kws_frontend *f = kws_block_take(&block, sizeof *f);
    memset(f, 0, sizeof *f);
    f->config = *config;
    f->echo_found = config->delay_search_ms == 0;
    for (int32_t c = 0; c <= config->microphones; c++) {
        f->held[c] = kws_block_take_floats(&block, KWS_HOP);
    }
    for (int32_t m = 0; m < config->microphones; m++) {
        f->residual[m] = kws_block_take_floats(&block, KWS_HOP);
        f->echo[m] = kws_block_take_floats(&block, KWS_HOP);
    }
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
    if (cancels(config)) {
        init_canceller(f, &block);
    }
    kws_microphone_choice_init(&f->choice, config->microphones);
    kws_meter_init(&f->meter, config->microphones);
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
    if (f->alignment != NULL) {
        kws_alignment_restart(f->alignment);
    }
}

void kws_frontend_reset(kws_frontend *f) {
    kws_frontend_gap(f);
    f->echo_found = f->config.delay_search_ms == 0;
    if (f->interference != NULL) {
        kws_interference_reset(f->interference);
    }
    if (f->alignment != NULL) {
        kws_alignment_reset(f->alignment);
        for (int32_t m = 0; m < f->config.microphones; m++) {
            kws_kalman_reset(f->cancellers[m]);
        }
    }
    kws_microphone_choice_init(&f->choice, f->config.microphones);
    kws_meter_init(&f->meter, f->config.microphones);
}

int32_t kws_frontend_held(const kws_frontend *f) { return f->held_count; }

int32_t kws_frontend_frames(int32_t samples) {
    return 2 + (samples + KWS_HOP) / KWS_FEATURE_HOP;
}

static void move_paths(kws_kalman *canceller, const kws_path_moves *moves) {
    if (moves->clock_partitions != 0) kws_kalman_shift(canceller, moves->clock_partitions);
    /* What was learnt, and how sure of it the filters are, only holds them up. */
    if (moves->forget) kws_kalman_reset(canceller);
    if (moves->delay_partitions != 0) kws_kalman_shift(canceller, moves->delay_partitions);
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
    if (f->alignment != NULL) {
        const float erle_db = f->meter.erle_known ? f->meter.erle_db : INFINITY;
        kws_reference *spectra = kws_alignment_spectra(f->alignment);
        kws_path_moves moves;
        reference = kws_alignment_push(f->alignment, f->held[used], reference, erle_db, &moves);
        for (int32_t m = 0; m < mics; m++) {
            move_paths(f->cancellers[m], &moves);
            kws_kalman_process(f->cancellers[m], spectra, f->held[m], whole, f->residual[m],
                               f->echo[m]);
        }
        /* Without an echo a filter that looks for one finds the talker. */
        f->echo_found |= kws_alignment_echo_heard(f->alignment);
        if (f->echo_found) {
            residual = f->residual[used];
            other = f->residual[mics == 2 ? 1 - used : used];
            echo = f->echo[used];
        }
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
    metrics->delay_samples = -1;
    if (f->alignment != NULL) {
        const int32_t delay = kws_alignment_delay(f->alignment);
        metrics->delay_samples = delay == KWS_DELAY_UNKNOWN ? -1 : delay;
        metrics->drift_ppm = (float)kws_alignment_drift_ppm(f->alignment);
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
