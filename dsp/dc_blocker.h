/* High-pass at 20 Hz: twin of dc_blocker.py. */
#ifndef KWS_DC_BLOCKER_H
#define KWS_DC_BLOCKER_H

#include <stdint.h>

/* State of one channel; zeros are its start. */
typedef struct {
    float input;
    float output;
    int32_t started;
} kws_dc_blocker;

void kws_dc_blocker_reset(kws_dc_blocker *blocker);
/* Filter in place. */
void kws_dc_blocker_process(kws_dc_blocker *blocker, float *samples, int32_t count);

#endif
