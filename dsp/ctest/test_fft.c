/* The real FFT against the sum that defines it, and back. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fft.h"

#define PI 3.14159265358979323846

static void *block_of(size_t bytes, void **whole) {
    *whole = malloc(bytes + 64);
    if (!*whole) exit(2);
    return (void *)(((size_t)*whole + 63) / 64 * 64);
}

static int check(int32_t n) {
    void *whole;
    kws_fft *plan = block_of(kws_fft_size(n), &whole);
    kws_fft_init(plan, n);
    float *time = malloc((size_t)n * sizeof *time), *back = malloc((size_t)n * sizeof *back);
    float *re = malloc(((size_t)n / 2 + 1) * sizeof *re);
    float *im = malloc(((size_t)n / 2 + 1) * sizeof *im);
    if (!time || !back || !re || !im) exit(2);
    unsigned seed = 1;
    for (int32_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        time[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    kws_fft_forward(plan, time, re, im);
    kws_fft_inverse(plan, re, im, back);
    double worst = 0.0;
    for (int32_t bin = 0; bin <= n / 2; bin += n > 1024 ? 97 : 1) {
        double sum_re = 0.0, sum_im = 0.0;
        for (int32_t i = 0; i < n; i++) {
            double angle = -2.0 * PI * (double)((int64_t)bin * i % n) / n;
            sum_re += (double)time[i] * cos(angle);
            sum_im += (double)time[i] * sin(angle);
        }
        double off = fmax(fabs(sum_re - (double)re[bin]), fabs(sum_im - (double)im[bin]));
        worst = fmax(worst, off / sqrt(n));
    }
    for (int32_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)(time[i] - back[i])));
    free(time);
    free(back);
    free(re);
    free(im);
    free(whole);
    if (worst < 3e-6) return 0;
    printf("FFT of %d is off by %g\n", (int)n, worst);
    return 1;
}

int main(void) {
    int failed = 0;
    for (int32_t n = KWS_FFT_SHORTEST; n <= KWS_FFT_LONGEST; n *= 2) failed += check(n);
    const int32_t wrong[] = {0, -512, 32, 500, 32768};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) failed += kws_fft_size(wrong[i]) != 0;
    return failed != 0;
}
