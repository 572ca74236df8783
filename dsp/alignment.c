#include "alignment.h"

#include <math.h>
#include <string.h>

#include "block.h"
#include "companions.h"
#include "delay.h"
#include "drift.h"

/* Constants as in alignment.py. */
#define ANOTHER_PATH_SAMPLES 256
#define LATE_ESTIMATES 12
#define LOST_ERLE_DB 6.0f
#define LOST_ESTIMATES 8
#define GIVEN_UP_ESTIMATES 24
#define GIVEN_UP_ERLE_DB 12.0f

struct kws_alignment {
    kws_alignment_config config;
    int32_t heard_samples;  /* where the echo was heard last */
    int32_t lost_estimates; /* in a row that heard none where little was cancelled */
    kws_companions *companions; /* NULL where there are none */
    kws_delay_tracker *tracker;
    kws_delay_line *line;
    kws_drift *drift; /* NULL where it is switched off, like the corrector */
    kws_corrector *corrector;
    kws_reference *spectra;
    float *read;    /* [KWS_HOP], the reference at the microphones' clock */
    float *played;  /* [channels][KWS_HOP], with companions */
    float *aligned; /* [channels][KWS_HOP] */
};

static int32_t longest_of(const kws_alignment_config *config) {
    return config->delay_search_ms * KWS_SAMPLES_PER_MS;
}

size_t kws_alignment_size(const kws_alignment_config *config) {
    const size_t channels = (size_t)config->channels;
    size_t bytes = kws_block_bytes(sizeof(kws_alignment)) + kws_block_floats(KWS_HOP);
    bytes += 2 * kws_block_floats(channels * KWS_HOP);
    bytes += kws_delay_tracker_size(config->delay_search_ms);
    bytes += kws_delay_line_size(config->channels, longest_of(config), config->partitions[0] + 1);
    bytes += kws_reference_size(config->channels, config->partitions);
    bytes += config->channels > 1 ? kws_companions_size(KWS_HOP) : 0;
    bytes += config->drift ? kws_drift_size() + kws_corrector_size() : 0;
    return bytes;
}

void kws_alignment_init(void *memory, const kws_alignment_config *config) {
    kws_block block = kws_block_of(memory);
    kws_alignment *a = kws_block_take(&block, sizeof *a);
    const size_t channels = (size_t)config->channels;
    const int32_t longest = longest_of(config), history = config->partitions[0] + 1;
    memset(a, 0, sizeof *a);
    a->config = *config;
    a->heard_samples = KWS_DELAY_UNKNOWN;
    a->read = kws_block_take_floats(&block, KWS_HOP);
    a->played = kws_block_take_floats(&block, channels * KWS_HOP);
    a->aligned = kws_block_take_floats(&block, channels * KWS_HOP);
    a->tracker = kws_block_take(&block, kws_delay_tracker_size(config->delay_search_ms));
    kws_delay_tracker_init(a->tracker, config->delay_search_ms);
    a->line = kws_block_take(&block, kws_delay_line_size(config->channels, longest, history));
    kws_delay_line_init(a->line, config->channels, longest, history);
    a->spectra = kws_block_take(&block, kws_reference_size(config->channels, config->partitions));
    kws_reference_init(a->spectra, config->channels, config->partitions);
    if (config->drift) {
        a->drift = kws_block_take(&block, kws_drift_size());
        kws_drift_init(a->drift);
        a->corrector = kws_block_take(&block, kws_corrector_size());
        kws_corrector_init(a->corrector);
    }
    if (config->channels > 1) {
        a->companions = kws_block_take(&block, kws_companions_size(KWS_HOP));
        kws_companions_init(a->companions, KWS_HOP);
    }
}

/* Blocks that the corrector can leave to the delay line. */
static int32_t blocks_to_leave(const kws_alignment *a, int32_t applied) {
    const int32_t room = longest_of(&a->config) / KWS_HOP - applied / KWS_HOP;
    const int32_t blocks = kws_corrector_whole_blocks(a->corrector);
    return blocks < room ? blocks : room;
}

void kws_alignment_restart(kws_alignment *a) {
    kws_reference_reset(a->spectra);
    kws_delay_line_reset(a->line);
    int32_t applied = kws_delay_tracker_applied(a->tracker);
    if (a->drift != NULL) {
        /* The tracker looks for an echo behind what the corrector gives: that comes early. */
        const int32_t blocks = blocks_to_leave(a, applied);
        kws_corrector_leave(a->corrector, blocks);
        applied += blocks * KWS_HOP;
        a->lost_estimates = 0;
        kws_drift_restart(a->drift);
        kws_corrector_restart(a->corrector);
    }
    kws_delay_tracker_reset(a->tracker, applied);
}

void kws_alignment_reset(kws_alignment *a) {
    kws_alignment_restart(a);
    a->heard_samples = KWS_DELAY_UNKNOWN;
    kws_delay_tracker_reset(a->tracker, 0);
    if (a->drift != NULL) {
        kws_drift_reset(a->drift);
        kws_corrector_reset(a->corrector);
    }
    if (a->companions != NULL) {
        kws_companions_reset(a->companions);
    }
}

/* The reference and its companions into the delay line. */
static void line_push(kws_alignment *a, const float *reference) {
    if (a->companions != NULL) {
        kws_companions_process(a->companions, reference, a->played);
    } else {
        memcpy(a->played, reference, KWS_HOP * sizeof(float));
    }
    kws_delay_line_push(a->line, a->played);
}

/* Blocks that the delay line has taken from the corrector: all that it has, where it is full or
 * may hold the reference back behind the echo: the tracker sees it earlier then. What is not a
 * whole block is only given up for lost paths. */
static int32_t hand_over(kws_alignment *a, int32_t applied) {
    kws_corrector *corrector = a->corrector;
    const int32_t unheard = kws_delay_tracker_unheard(a->tracker);
    const int32_t delay = kws_delay_tracker_delay(a->tracker);
    const int32_t early = delay != KWS_DELAY_UNKNOWN && delay < KWS_DELAY_EARLIEST;
    if (!kws_corrector_full(corrector) && !early && unheard < LOST_ESTIMATES) return 0;
    const int32_t blocks = blocks_to_leave(a, applied);
    for (int32_t i = 0; i < blocks; i++) {
        kws_corrector_next(corrector, kws_drift_ppm(a->drift), a->read);
        line_push(a, a->read);
    }
    const int32_t lost = kws_corrector_delay(corrector) >= 2 * KWS_LOOKAHEAD &&
                         a->lost_estimates >= GIVEN_UP_ESTIMATES;
    if (blocks == 0 && (kws_corrector_full(corrector) || lost)) {
        kws_corrector_recentre(corrector);
        a->lost_estimates = 0;
    }
    return blocks;
}

/* The reference at the microphones' clock. Where the corrector's own delay reaches a bound, blocks
 * are exchanged with the delay line. */
static const float *undo_drift(kws_alignment *a, const float *reference, float erle_db,
                               int32_t *partitions) {
    kws_corrector *corrector = a->corrector;
    const double ppm = kws_drift_ppm(a->drift);
    const int32_t applied = kws_delay_tracker_applied(a->tracker);
    const int32_t followed = kws_corrector_follows(corrector, ppm);
    kws_corrector_push(corrector, reference);
    const double before = kws_corrector_delay(corrector);
    const int32_t back = kws_corrector_give_back(corrector, applied / KWS_HOP, ppm);
    kws_delay_line_unpush(a->line, back);
    const int32_t blocks = back > 0 ? -back : hand_over(a, applied);
    const int32_t delay = kws_delay_tracker_delay(a->tracker);
    const int32_t spare =
        (delay == KWS_DELAY_UNKNOWN ? 0 : delay) - applied - KWS_DELAY_MARGIN;
    /* Once it was exhausted for whole blocks, with which the paths can move; for less where they
     * are worth little and the echo is heard there: else it would be given up and begun anew. */
    const int32_t heard = kws_delay_tracker_estimates(a->tracker) > 0 &&
                          kws_delay_tracker_unheard(a->tracker) == 0;
    const int32_t afresh = heard && erle_db < GIVEN_UP_ERLE_DB;
    const int32_t again =
        kws_corrector_exhausted(corrector, ppm) && spare >= (afresh ? KWS_LOOKAHEAD : KWS_HOP);
    if (ppm != 0.0 && (before == 0.0 || again)) {
        kws_corrector_engage(corrector, spare);
        *partitions = -((int32_t)kws_corrector_delay(corrector) / KWS_HOP);
    }
    kws_corrector_process(corrector, ppm, a->read);
    const int32_t jumped = (int32_t)rint(before - kws_corrector_delay(corrector));
    if (jumped != 0) {
        kws_delay_tracker_rebase(a->tracker, jumped, applied + blocks * KWS_HOP);
    }
    if (jumped != 0 || kws_corrector_follows(corrector, ppm) != followed) {
        kws_drift_restart(a->drift);
    }
    return a->read;
}

/* Whether the echo has come back at another delay than it was heard at last, which may have been
 * before a gap, over which the tracker forgets it; or is heard for the first time, and late: what
 * the filters are sure of by then is that there is none. */
static int32_t is_another_path(kws_alignment *a, float erle_db) {
    const int32_t before = a->heard_samples, now = kws_alignment_delay(a);
    if (now == KWS_DELAY_UNKNOWN) return 0;
    a->heard_samples = now;
    const int32_t another =
        before == KWS_DELAY_UNKNOWN
            ? kws_delay_tracker_estimates(a->tracker) > LATE_ESTIMATES
            : now - before > ANOTHER_PATH_SAMPLES || before - now > ANOTHER_PATH_SAMPLES;
    return another && erle_db < LOST_ERLE_DB;
}

const float *kws_alignment_push(kws_alignment *a, const float *mic, const float *reference,
                                float erle_db, kws_path_moves *moves) {
    memset(moves, 0, sizeof *moves);
    if (a->drift != NULL) {
        reference = undo_drift(a, reference, erle_db, &moves->clock_partitions);
    }
    const int32_t before = kws_delay_tracker_applied(a->tracker);
    const int32_t estimates = kws_delay_tracker_estimates(a->tracker);
    const int32_t moved = a->config.delay_search_ms > 0 &&
                          kws_delay_tracker_push(a->tracker, mic, reference);
    moves->forget = is_another_path(a, erle_db);
    if (a->drift != NULL && kws_delay_tracker_estimates(a->tracker) != estimates) {
        const double ppm = kws_drift_ppm(a->drift);
        const int32_t follows = kws_corrector_follows(a->corrector, ppm);
        kws_drift_observe(a->drift, a->tracker, follows ? ppm : 0.0);
        const int32_t lost =
            kws_delay_tracker_unheard(a->tracker) > 0 && erle_db < GIVEN_UP_ERLE_DB;
        a->lost_estimates = lost ? a->lost_estimates + 1 : 0;
    }
    const int32_t delay = kws_delay_tracker_applied(a->tracker);
    moves->delay_partitions = (before - delay) / KWS_HOP;
    line_push(a, reference);
    if (moved) {
        kws_reference_reset(a->spectra);
        for (int32_t age = a->config.partitions[0] + 1; age >= 1; age--) {
            kws_delay_line_read(a->line, delay, age, a->aligned);
            kws_reference_push(a->spectra, a->aligned);
        }
    }
    kws_delay_line_read(a->line, delay, 0, a->aligned);
    kws_reference_push(a->spectra, a->aligned);
    return a->aligned;
}

kws_reference *kws_alignment_spectra(kws_alignment *a) { return a->spectra; }

int32_t kws_alignment_echo_heard(const kws_alignment *a) {
    return kws_delay_tracker_delay(a->tracker) != KWS_DELAY_UNKNOWN;
}

int32_t kws_alignment_delay(const kws_alignment *a) {
    const int32_t delay = kws_delay_tracker_delay(a->tracker);
    if (delay == KWS_DELAY_UNKNOWN || a->drift == NULL) return delay;
    const int32_t sum = delay + (int32_t)rint(kws_corrector_delay(a->corrector));
    return sum > 0 ? sum : 0;
}

double kws_alignment_drift_ppm(const kws_alignment *a) {
    return a->drift == NULL ? 0.0 : kws_drift_ppm(a->drift);
}
