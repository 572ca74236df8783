/* Voice branch: twin of suppressor.py with its noise tracker (noise.py) and gain (log_mmse.py). */
#ifndef KWS_SUPPRESSOR_H
#define KWS_SUPPRESSOR_H

#include <stddef.h>
#include <stdint.h>

typedef struct kws_suppressor kws_suppressor;

/* The block must be aligned to 64 bytes. */
size_t kws_suppressor_size(void);
void kws_suppressor_init(void *suppressor);
void kws_suppressor_reset(kws_suppressor *suppressor);
/* One block of KWS_HOP samples each; the result lags by KWS_HOP. */
void kws_suppressor_process(kws_suppressor *suppressor, const float *error, const float *echo,
                            int32_t reduce_noise, float *voice);

#endif
