/* Direction of arrival: twin of direction.py, which says how it is found. */
#ifndef KWS_DIRECTION_H
#define KWS_DIRECTION_H

#include <stddef.h>
#include <stdint.h>

typedef struct kws_direction kws_direction;

/* Blocks must be aligned to 64 bytes. */
size_t kws_direction_size(void);
void kws_direction_init(void *direction, int32_t spacing_mm);
void kws_direction_reset(kws_direction *direction);
/* Take a block of both microphones, [KWS_HOP]; floor_power: of the first one's noise floor. */
void kws_direction_update(kws_direction *direction, const float *first, const float *second,
                          float floor_power);
/* Degrees from straight ahead towards microphone 0; 0 in *clear where nothing is clear. */
float kws_direction_angle(const kws_direction *direction, int32_t *clear);

#endif
