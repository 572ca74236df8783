/* Interference canceller over two microphones: twin of interference.py, which says what it does. */
#ifndef KWS_INTERFERENCE_H
#define KWS_INTERFERENCE_H

#include <stddef.h>
#include <stdint.h>

#define KWS_INTERFERENCE_DELAY 128 /* lag of the output in samples: 8 ms */

typedef struct kws_interference kws_interference;

/* The block must be aligned to 64 bytes. */
size_t kws_interference_size(void);
void kws_interference_init(void *interference);
/* Forget everything. */
void kws_interference_reset(kws_interference *interference);
/* Forget signals, keep what was learnt of the room: after a gap. */
void kws_interference_restart(kws_interference *interference);
/* Take a block of each microphone, [KWS_HOP]. Where the second is not usable the first passes,
 * late as ever; where learn is 0 the filter stays as it is. */
void kws_interference_process(kws_interference *interference, const float *first,
                              const float *second, int32_t usable, int32_t learn, float *output);

#endif
