/* Companions of the reference: twin of companions.py, which says what they are for. */
#ifndef KWS_COMPANIONS_H
#define KWS_COMPANIONS_H

#include <stddef.h>
#include <stdint.h>

#define KWS_COMPANIONS 2
#define KWS_COMPANION_PARTITIONS 6

typedef struct kws_companions kws_companions;

size_t kws_companions_size(int32_t samples);
void kws_companions_init(void *companions, int32_t samples);
/* Forget the level. */
void kws_companions_reset(kws_companions *companions);
/* Take [samples], give [1 + KWS_COMPANIONS][samples]: reference, odd, even. */
void kws_companions_process(kws_companions *companions, const float *reference, float *channels);

#endif
