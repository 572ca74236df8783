#define _POSIX_C_SOURCE 200809L
#include "alsa_thread.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The part of ALSA's interface that is used, declared here since its headers are not needed
 * anywhere else. Numbers are those of its stable ABI. */
typedef struct snd_pcm snd_pcm_t;
typedef struct snd_pcm_hw_params snd_pcm_hw_params_t;
typedef struct snd_pcm_sw_params snd_pcm_sw_params_t;
typedef long snd_pcm_sframes_t;
typedef unsigned long snd_pcm_uframes_t;

enum { STREAM_CAPTURE = 1, ACCESS_RW_INTERLEAVED = 3, MODE_NONBLOCK = 1 };
enum { FORMAT_S16_LE = 2, FORMAT_S32_LE = 10, FORMAT_S24_3LE = 32 };
enum { TSTAMP_ENABLE = 1, TSTAMP_TYPE_MONOTONIC = 1 };

typedef struct {
    void *library;
    int (*open)(snd_pcm_t **, const char *, int, int);
    int (*close)(snd_pcm_t *);
    int (*nonblock)(snd_pcm_t *, int);
    int (*prepare)(snd_pcm_t *);
    int (*start)(snd_pcm_t *);
    int (*drop)(snd_pcm_t *);
    int (*wait)(snd_pcm_t *, int);
    int (*recover)(snd_pcm_t *, int, int);
    snd_pcm_sframes_t (*readi)(snd_pcm_t *, void *, snd_pcm_uframes_t);
    int (*htimestamp)(snd_pcm_t *, snd_pcm_uframes_t *, struct timespec *);
    int (*hw_malloc)(snd_pcm_hw_params_t **);
    void (*hw_free)(snd_pcm_hw_params_t *);
    int (*hw_any)(snd_pcm_t *, snd_pcm_hw_params_t *);
    int (*hw_access)(snd_pcm_t *, snd_pcm_hw_params_t *, int);
    int (*hw_format)(snd_pcm_t *, snd_pcm_hw_params_t *, int);
    int (*hw_channels)(snd_pcm_t *, snd_pcm_hw_params_t *, unsigned);
    int (*hw_rate)(snd_pcm_t *, snd_pcm_hw_params_t *, unsigned, int);
    int (*hw_resample)(snd_pcm_t *, snd_pcm_hw_params_t *, unsigned);
    int (*hw_period)(snd_pcm_t *, snd_pcm_hw_params_t *, snd_pcm_uframes_t *, int *);
    int (*hw_buffer)(snd_pcm_t *, snd_pcm_hw_params_t *, snd_pcm_uframes_t *);
    int (*hw_set)(snd_pcm_t *, snd_pcm_hw_params_t *);
    int (*sw_malloc)(snd_pcm_sw_params_t **);
    void (*sw_free)(snd_pcm_sw_params_t *);
    int (*sw_current)(snd_pcm_t *, snd_pcm_sw_params_t *);
    int (*sw_avail_min)(snd_pcm_t *, snd_pcm_sw_params_t *, snd_pcm_uframes_t);
    int (*sw_tstamp)(snd_pcm_t *, snd_pcm_sw_params_t *, int);
    int (*sw_tstamp_type)(snd_pcm_t *, snd_pcm_sw_params_t *, int);
    int (*sw_set)(snd_pcm_t *, snd_pcm_sw_params_t *);
    const char *(*strerror)(int);
    int (*quiet)(void *);
} alsa_api;

struct kws_capture {
    alsa_api api;
    snd_pcm_t *pcm;
    kws_capture_format format;
    size_t frame_bytes;
    size_t period_bytes;
    pthread_t thread;
    int thread_runs;
    pthread_mutex_t lock;
    pthread_cond_t ready;
    int stop;
    int64_t position;
    int pending_gap;
    uint32_t ring_periods;
    uint32_t ring_first;
    uint32_t ring_count;
    unsigned char *ring;
    kws_capture_period *ring_info;
    unsigned char *scratch;
    kws_capture_counters counters;
};

/* A function pointer out of a data pointer without the cast that ISO C does not define. */
static int load_symbol(void *library, const char *name, void *target) {
    void *symbol = dlsym(library, name);
    memcpy(target, &symbol, sizeof symbol);
    return symbol != NULL;
}

static void silent_handler(const char *file, int line, const char *function, int error,
                           const char *format, ...) {
    (void)file;
    (void)line;
    (void)function;
    (void)error;
    (void)format;
}

static int load_api(alsa_api *api) {
    /* RTLD_GLOBAL: ALSA's own plugins look its symbols up. */
    api->library = dlopen("libasound.so.2", RTLD_NOW | RTLD_GLOBAL);
    if (api->library == NULL) {
        return 0;
    }
    const struct {
        const char *name;
        void *target;
    } table[] = {
        {"snd_pcm_open", &api->open},
        {"snd_pcm_close", &api->close},
        {"snd_pcm_nonblock", &api->nonblock},
        {"snd_pcm_prepare", &api->prepare},
        {"snd_pcm_start", &api->start},
        {"snd_pcm_drop", &api->drop},
        {"snd_pcm_wait", &api->wait},
        {"snd_pcm_recover", &api->recover},
        {"snd_pcm_readi", &api->readi},
        {"snd_pcm_htimestamp", &api->htimestamp},
        {"snd_pcm_hw_params_malloc", &api->hw_malloc},
        {"snd_pcm_hw_params_free", &api->hw_free},
        {"snd_pcm_hw_params_any", &api->hw_any},
        {"snd_pcm_hw_params_set_access", &api->hw_access},
        {"snd_pcm_hw_params_set_format", &api->hw_format},
        {"snd_pcm_hw_params_set_channels", &api->hw_channels},
        {"snd_pcm_hw_params_set_rate", &api->hw_rate},
        {"snd_pcm_hw_params_set_rate_resample", &api->hw_resample},
        {"snd_pcm_hw_params_set_period_size_near", &api->hw_period},
        {"snd_pcm_hw_params_set_buffer_size_near", &api->hw_buffer},
        {"snd_pcm_hw_params", &api->hw_set},
        {"snd_pcm_sw_params_malloc", &api->sw_malloc},
        {"snd_pcm_sw_params_free", &api->sw_free},
        {"snd_pcm_sw_params_current", &api->sw_current},
        {"snd_pcm_sw_params_set_avail_min", &api->sw_avail_min},
        {"snd_pcm_sw_params_set_tstamp_mode", &api->sw_tstamp},
        {"snd_pcm_sw_params_set_tstamp_type", &api->sw_tstamp_type},
        {"snd_pcm_sw_params", &api->sw_set},
        {"snd_strerror", &api->strerror},
        {"snd_lib_error_set_handler", &api->quiet},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (!load_symbol(api->library, table[i].name, table[i].target)) {
            return 0;
        }
    }
    /* ALSA prints to standard error by itself otherwise; its reasons come back as error numbers. */
    void (*handler)(const char *, int, const char *, int, const char *, ...) = silent_handler;
    void *address;
    memcpy(&address, &handler, sizeof address);
    api->quiet(address);
    return 1;
}

static int set_format(kws_capture *capture, snd_pcm_hw_params_t *hw, size_t *sample_bytes) {
    static const struct {
        int alsa;
        uint32_t ours;
        size_t bytes;
    } formats[] = {{FORMAT_S16_LE, KWS_FORMAT_S16, 2},
                   {FORMAT_S32_LE, KWS_FORMAT_S32, 4},
                   {FORMAT_S24_3LE, KWS_FORMAT_S24_3, 3}};
    int error = -EINVAL;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        error = capture->api.hw_format(capture->pcm, hw, formats[i].alsa);
        if (error >= 0) {
            capture->format.format = formats[i].ours;
            *sample_bytes = formats[i].bytes;
            return 0;
        }
    }
    return error;
}

static int set_hardware(kws_capture *capture, const kws_capture_request *request,
                        const char **what) {
    const alsa_api *api = &capture->api;
    snd_pcm_hw_params_t *hw = NULL;
    size_t sample_bytes = 0;
    snd_pcm_uframes_t period = request->period_frames;
    snd_pcm_uframes_t buffer = (snd_pcm_uframes_t)request->period_frames * request->periods;
    int error = api->hw_malloc(&hw);
    *what = "memory";
    if (error < 0) {
        return error;
    }
    do {
        *what = "parameters";
        if ((error = api->hw_any(capture->pcm, hw)) < 0) break;
        *what = "interleaved access";
        if ((error = api->hw_access(capture->pcm, hw, ACCESS_RW_INTERLEAVED)) < 0) break;
        *what = "sample format (S16, S32 or S24)";
        if ((error = set_format(capture, hw, &sample_bytes)) < 0) break;
        *what = "channels";
        if ((error = api->hw_channels(capture->pcm, hw, request->channels)) < 0) break;
        *what = "sample rate";
        if ((error = api->hw_rate(capture->pcm, hw, request->rate_hz, 0)) < 0) break;
        *what = "period size";
        if ((error = api->hw_period(capture->pcm, hw, &period, NULL)) < 0) break;
        *what = "buffer size";
        if ((error = api->hw_buffer(capture->pcm, hw, &buffer)) < 0) break;
        *what = "the combination of parameters";
        error = api->hw_set(capture->pcm, hw);
    } while (0);
    api->hw_free(hw);
    if (error < 0) {
        return error;
    }
    capture->format.rate_hz = request->rate_hz;
    capture->format.channels = request->channels;
    capture->format.period_frames = (uint32_t)period;
    capture->format.buffer_frames = (uint32_t)buffer;
    capture->frame_bytes = sample_bytes * request->channels;
    capture->period_bytes = capture->frame_bytes * period;
    return 0;
}

static int set_software(kws_capture *capture) {
    const alsa_api *api = &capture->api;
    snd_pcm_sw_params_t *sw = NULL;
    int error = api->sw_malloc(&sw);
    if (error < 0) {
        return error;
    }
    error = api->sw_current(capture->pcm, sw);
    if (error >= 0) {
        error = api->sw_avail_min(capture->pcm, sw, capture->format.period_frames);
    }
    if (error >= 0) {
        /* Plugins that cannot stamp still record: positions then carry no time. */
        (void)api->sw_tstamp(capture->pcm, sw, TSTAMP_ENABLE);
        (void)api->sw_tstamp_type(capture->pcm, sw, TSTAMP_TYPE_MONOTONIC);
        error = api->sw_set(capture->pcm, sw);
    }
    api->sw_free(sw);
    return error;
}

static int64_t frame_time_ns(kws_capture *capture) {
    snd_pcm_uframes_t available = 0;
    struct timespec stamp = {0, 0};
    if (capture->api.htimestamp(capture->pcm, &available, &stamp) < 0 || stamp.tv_sec == 0) {
        return 0;
    }
    const int64_t now = (int64_t)stamp.tv_sec * 1000000000 + stamp.tv_nsec;
    return now - (int64_t)available * 1000000000 / (int64_t)capture->format.rate_hz;
}

static void deliver(kws_capture *capture, uint32_t frames, int64_t time_ns) {
    pthread_mutex_lock(&capture->lock);
    capture->counters.frames += frames;
    if (capture->ring_count == capture->ring_periods) {
        capture->counters.dropped_periods++;
        capture->pending_gap = 1;
    } else {
        const uint32_t slot = (capture->ring_first + capture->ring_count) % capture->ring_periods;
        kws_capture_period *info = &capture->ring_info[slot];
        memcpy(capture->ring + slot * capture->period_bytes, capture->scratch,
               frames * capture->frame_bytes);
        info->first_frame = capture->position;
        info->monotonic_ns = time_ns;
        info->frames = frames;
        info->gap = (uint32_t)capture->pending_gap;
        capture->pending_gap = 0;
        capture->ring_count++;
        pthread_cond_signal(&capture->ready);
    }
    capture->position += frames;
    pthread_mutex_unlock(&capture->lock);
}

/* After an overrun the device starts anew; how much is missing is known from the clock only. */
static int recover(kws_capture *capture, int error, int64_t *expected_ns) {
    int64_t lost = (int64_t)capture->format.buffer_frames;
    int result = capture->api.recover(capture->pcm, error, 1);
    if (result >= 0) {
        result = capture->api.start(capture->pcm);
        if (result == -EBADFD) {
            result = 0; /* it runs already */
        }
    }
    if (*expected_ns > 0) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        const int64_t late = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - *expected_ns;
        if (late > 0) {
            lost = late * (int64_t)capture->format.rate_hz / 1000000000;
        }
    }
    pthread_mutex_lock(&capture->lock);
    capture->counters.overruns++;
    capture->pending_gap = 1;
    capture->position += lost;
    pthread_mutex_unlock(&capture->lock);
    *expected_ns = 0;
    return result;
}

static int stopping(kws_capture *capture) {
    pthread_mutex_lock(&capture->lock);
    const int stop = capture->stop;
    pthread_mutex_unlock(&capture->lock);
    return stop;
}

static void *run(void *argument) {
    kws_capture *capture = argument;
    const uint32_t period = capture->format.period_frames;
    uint32_t have = 0;
    int64_t first_ns = 0, expected_ns = 0;
    int flows = 0;
    int error = capture->api.start(capture->pcm);
    while (error >= 0 && !stopping(capture)) {
        /* ALSA's pulse plugin is woken without audio until its first fragment comes, up to two
           seconds after the start, and snd_pcm_wait burns a core meanwhile: look now and then. */
        error = flows ? capture->api.wait(capture->pcm, 100) : 1;
        if (error == 0) {
            continue; /* nothing yet: the caller sees its own time-out */
        }
        if (error > 0) {
            if (have == 0) {
                first_ns = frame_time_ns(capture);
            }
            const snd_pcm_sframes_t got = capture->api.readi(
                capture->pcm, capture->scratch + have * capture->frame_bytes, period - have);
            if (got == -EAGAIN || got == 0) {
                const struct timespec pause = {0, 1000000};
                nanosleep(&pause, NULL);
                error = 0;
                continue;
            }
            if (got >= 0) {
                flows = 1;
                have += (uint32_t)got;
                error = 0;
                if (have == period) {
                    deliver(capture, have, first_ns);
                    expected_ns = first_ns == 0 ? 0
                                                : first_ns + (int64_t)have * 1000000000 /
                                                                 (int64_t)capture->format.rate_hz;
                    have = 0;
                }
                continue;
            }
            error = (int)got;
        }
        if (error == -EPIPE || error == -ESTRPIPE || error == -EINTR) {
            flows = 0;
            have = 0; /* half a period before a hole is worth nothing */
            error = recover(capture, error, &expected_ns);
        }
    }
    pthread_mutex_lock(&capture->lock);
    capture->counters.error = error < 0 ? error : -ECANCELED;
    pthread_cond_broadcast(&capture->ready);
    pthread_mutex_unlock(&capture->lock);
    return NULL;
}

static int start_thread(kws_capture *capture, int32_t realtime) {
    pthread_attr_t attributes;
    int error = ENOTSUP;
    if (realtime > 0) {
        struct sched_param priority;
        memset(&priority, 0, sizeof priority);
        priority.sched_priority = realtime;
        pthread_attr_init(&attributes);
        pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
        pthread_attr_setschedparam(&attributes, &priority);
        error = pthread_create(&capture->thread, &attributes, run, capture);
        pthread_attr_destroy(&attributes);
        capture->format.is_realtime = error == 0;
    }
    if (error != 0) {
        error = pthread_create(&capture->thread, NULL, run, capture);
    }
    capture->thread_runs = error == 0;
    return -error;
}

static void release(kws_capture *capture) {
    if (capture->thread_runs) {
        pthread_mutex_lock(&capture->lock);
        capture->stop = 1;
        pthread_mutex_unlock(&capture->lock);
        pthread_join(capture->thread, NULL);
    }
    if (capture->pcm != NULL) {
        (void)capture->api.drop(capture->pcm);
        capture->api.close(capture->pcm);
    }
    /* libasound stays loaded: its plugins leave threads and handlers behind. */
    pthread_cond_destroy(&capture->ready);
    pthread_mutex_destroy(&capture->lock);
    free(capture->ring);
    free(capture->ring_info);
    free(capture->scratch);
    free(capture);
}

int32_t kws_capture_abi(void) { return KWS_CAPTURE_ABI; }

kws_capture *kws_capture_open(const char *device, const kws_capture_request *request,
                              int32_t *error, char *message, size_t message_size) {
    const char *what = "device";
    kws_capture *capture = calloc(1, sizeof *capture);
    if (capture == NULL) {
        *error = -ENOMEM;
        snprintf(message, message_size, "out of memory");
        return NULL;
    }
    pthread_condattr_t attributes;
    pthread_mutex_init(&capture->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&capture->ready, &attributes);
    pthread_condattr_destroy(&attributes);
    if (!load_api(&capture->api)) {
        *error = -ENOSYS;
        snprintf(message, message_size, "libasound.so.2 cannot be loaded");
        release(capture);
        return NULL;
    }
    /* Non-blocking open: a device in use fails at once instead of hanging. */
    int code = capture->api.open(&capture->pcm, device, STREAM_CAPTURE, MODE_NONBLOCK);
    if (code >= 0) {
        code = set_hardware(capture, request, &what);
    } else {
        capture->pcm = NULL;
    }
    if (code >= 0) {
        what = "wake-up level";
        code = set_software(capture);
    }
    if (code >= 0) {
        what = "memory";
        /* As long as asked for, whatever period the device gave. */
        capture->ring_periods =
            (uint32_t)(((uint64_t)request->ring_periods * request->period_frames +
                        capture->format.period_frames - 1) /
                       capture->format.period_frames);
        if (capture->ring_periods < 2) {
            capture->ring_periods = 2;
        }
        capture->ring = calloc(capture->ring_periods, capture->period_bytes);
        capture->ring_info = calloc(capture->ring_periods, sizeof *capture->ring_info);
        capture->scratch = calloc(1, capture->period_bytes);
        if (capture->ring == NULL || capture->ring_info == NULL || capture->scratch == NULL) {
            code = -ENOMEM;
        }
    }
    if (code >= 0) {
        what = "start";
        code = capture->api.prepare(capture->pcm);
    }
    if (code >= 0) {
        what = "thread";
        code = start_thread(capture, request->realtime);
    }
    if (code < 0) {
        *error = code;
        snprintf(message, message_size, "%s: %s", what, capture->api.strerror(code));
        release(capture);
        return NULL;
    }
    *error = 0;
    return capture;
}

void kws_capture_describe(const kws_capture *capture, kws_capture_format *format) {
    *format = capture->format;
}

int32_t kws_capture_read(kws_capture *capture, void *samples, int32_t timeout_ms,
                         kws_capture_period *period) {
    struct timespec until;
    int32_t result = KWS_READ_TIMEOUT;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&capture->lock);
    while (capture->ring_count == 0 && capture->counters.error == 0) {
        if (pthread_cond_timedwait(&capture->ready, &capture->lock, &until) == ETIMEDOUT) {
            break;
        }
    }
    if (capture->ring_count > 0) {
        *period = capture->ring_info[capture->ring_first];
        memcpy(samples, capture->ring + capture->ring_first * capture->period_bytes,
               period->frames * capture->frame_bytes);
        capture->ring_first = (capture->ring_first + 1) % capture->ring_periods;
        capture->ring_count--;
        result = KWS_READ_PERIOD;
    } else if (capture->counters.error != 0) {
        result = KWS_READ_ENDED;
    }
    pthread_mutex_unlock(&capture->lock);
    return result;
}

void kws_capture_count(kws_capture *capture, kws_capture_counters *counters) {
    pthread_mutex_lock(&capture->lock);
    *counters = capture->counters;
    pthread_mutex_unlock(&capture->lock);
}

void kws_capture_close(kws_capture *capture) {
    if (capture != NULL) {
        release(capture);
    }
}
