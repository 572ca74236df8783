/* FFT of real signals: a complex FFT of half the length, and what makes a real one of it.
 *
 * Stockham's self-sorting form in radix 8 and 4 (P. Swarztrauber, "FFT algorithms for vector
 * computers", Parallel Computing 1, 1984): no bit reversal, and every pass runs over rows that
 * lie together in memory.
 */
#ifndef KWS_FFT_H
#define KWS_FFT_H

#include <stddef.h>
#include <stdint.h>

#define KWS_FFT_SHORTEST 64
#define KWS_FFT_LONGEST 16384

typedef struct kws_fft kws_fft;

/* Bytes of a plan with its tables and work space, for n a power of two between the limits above;
 * 0 for any other n. The block must be aligned to 64 bytes. */
size_t kws_fft_size(int32_t n);
void kws_fft_init(void *plan, int32_t n);

/* Both directions use the plan's work space: one thread at a time for each plan. Arrays need no
 * alignment, and must not overlap. */

/* n samples to n / 2 + 1 bins, unscaled. */
void kws_fft_forward(kws_fft *plan, const float *time, float *re, float *im);

/* n / 2 + 1 bins to n samples, scaled by 1 / n. Imaginary parts of the outer bins are ignored. */
void kws_fft_inverse(kws_fft *plan, const float *re, const float *im, float *time);

#endif
