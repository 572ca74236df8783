/* Features of the detector: twin of FeatureStream in features.py. */
#ifndef KWS_FEATURE_STREAM_H
#define KWS_FEATURE_STREAM_H

#include <stddef.h>
#include <stdint.h>

#define KWS_FEATURE_FRAME 400
#define KWS_FEATURE_HOP 160
#define KWS_FEATURE_FFT 512
#define KWS_FEATURE_BANDS 40

typedef struct kws_mel kws_mel;
typedef struct kws_features kws_features;

/* Tables and work space, which any number of streams of one thread may share. All blocks must be
 * aligned to 64 bytes. */
size_t kws_mel_size(void);
void kws_mel_init(void *mel);
size_t kws_features_size(void);
void kws_features_init(void *features, kws_mel *mel);
/* Forget held samples and the level of each band. */
void kws_features_reset(kws_features *features);
/* Take samples, write the frames that they complete, [frames][KWS_FEATURE_BANDS]; gives their
 * number, at most 1 + (count + KWS_FEATURE_FRAME) / KWS_FEATURE_HOP. */
int32_t kws_features_process(kws_features *features, const float *samples, int32_t count,
                             float *frames);

#endif
