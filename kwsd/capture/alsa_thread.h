/* Capture thread on ALSA: blocking reads with time-outs, exact timestamps, overruns told.
 *
 * libasound is loaded at run time, so the library builds and loads without it. One thread reads
 * periods into a ring; the caller takes them with a time-out and never waits for the device. What
 * the ring cannot hold is dropped and counted, and the period behind the hole is marked.
 */
#ifndef KWS_ALSA_THREAD_H
#define KWS_ALSA_THREAD_H

#include <stddef.h>
#include <stdint.h>

#define KWS_CAPTURE_ABI 1

#if defined(__GNUC__)
#define KWS_CAPTURE_API __attribute__((visibility("default")))
#else
#define KWS_CAPTURE_API
#endif

typedef struct kws_capture kws_capture;

/* Sample formats, in the order in which they are tried. */
enum { KWS_FORMAT_S16 = 1, KWS_FORMAT_S32 = 2, KWS_FORMAT_S24_3 = 3 };

typedef struct {
    uint32_t channels;
    uint32_t rate_hz;
    uint32_t period_frames;
    uint32_t periods;       /* of the device's own buffer */
    uint32_t ring_periods;  /* asked-for periods in the ring between thread and caller */
    int32_t realtime;       /* SCHED_FIFO priority, 0 for none; refused silently without the right */
} kws_capture_request;

typedef struct {
    uint32_t format;        /* KWS_FORMAT_* */
    uint32_t rate_hz;
    uint32_t channels;
    uint32_t period_frames;
    uint32_t buffer_frames;
    int32_t is_realtime;
} kws_capture_format;

typedef struct {
    int64_t first_frame;    /* position since open, holes included */
    int64_t monotonic_ns;   /* when the first frame was converted; 0 where the driver cannot say */
    uint32_t frames;
    uint32_t gap;           /* 1 if frames are missing before these */
} kws_capture_period;

typedef struct {
    uint64_t overruns;      /* the device's buffer ran over */
    uint64_t dropped_periods; /* the ring ran over: the caller was too slow */
    uint64_t frames;
    int32_t error;          /* negative errno that ended the thread, 0 while it runs */
} kws_capture_counters;

/* Results of kws_capture_read besides 1. */
enum { KWS_READ_TIMEOUT = 0, KWS_READ_PERIOD = 1, KWS_READ_ENDED = -1 };

KWS_CAPTURE_API int32_t kws_capture_abi(void);

/* Opens and starts. NULL on failure: `*error` gets a negative errno (-ENOSYS without libasound,
 * -ENODEV or -ENOENT for an unknown device, -EBUSY, -EINVAL for channels, rate or format that the
 * device does not have) and `message` one line. */
KWS_CAPTURE_API kws_capture *kws_capture_open(const char *device, const kws_capture_request *request,
                                              int32_t *error, char *message, size_t message_size);

KWS_CAPTURE_API void kws_capture_describe(const kws_capture *capture, kws_capture_format *format);

/* Waits up to `timeout_ms` for a period; `samples` holds period_frames x channels samples, as the
 * device gives them. Periods that were complete before the thread ended are still delivered. */
KWS_CAPTURE_API int32_t kws_capture_read(kws_capture *capture, void *samples, int32_t timeout_ms,
                                         kws_capture_period *period);

KWS_CAPTURE_API void kws_capture_count(kws_capture *capture, kws_capture_counters *counters);

/* Stops the thread and closes the device; the handle is gone afterwards. */
KWS_CAPTURE_API void kws_capture_close(kws_capture *capture);

#endif
