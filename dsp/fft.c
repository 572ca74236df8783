#include "fft.h"

#include <math.h>

#include "block.h"
#include "vector.h"

#define MOST_STAGES 8
#define PI 3.14159265358979323846

typedef struct {
    int32_t radix;
    int32_t length; /* of the transforms that this stage splits */
    int32_t stride; /* how many of them there are */
    const float *re, *im; /* twiddles: for each power 1 .. radix - 1, length / radix of them */
} fft_stage;

struct kws_fft {
    int32_t half;
    int32_t stages;
    fft_stage stage[MOST_STAGES];
    float *turn_re, *turn_im; /* exp(-2 pi i k / n), k = 0 .. n / 4 */
    float *work[4];           /* two complex arrays of half */
};

static int32_t next_radix(int32_t length, int first) {
    if (length == 2) return 2;
    int32_t bits = 0;
    while ((1 << bits) < length) bits++;
    if (first) return 8;
    return bits % 2 ? 8 : 4;
}

static size_t twiddles(int32_t half) {
    size_t total = 0;
    for (int32_t length = half; length > 1;) {
        int32_t radix = next_radix(length, length == half);
        total += 2 * kws_block_floats((size_t)((radix - 1) * (length / radix)));
        length /= radix;
    }
    return total;
}

size_t kws_fft_size(int32_t n) {
    if (n < KWS_FFT_SHORTEST || n > KWS_FFT_LONGEST || (n & (n - 1))) return 0;
    size_t half = (size_t)n / 2;
    return kws_block_bytes(sizeof(kws_fft)) + twiddles(n / 2) + 2 * kws_block_floats(half / 2 + 1) +
           4 * kws_block_floats(half);
}

void kws_fft_init(void *memory, int32_t n) {
    kws_block block = kws_block_of(memory);
    kws_fft *plan = kws_block_take(&block, sizeof *plan);
    plan->half = n / 2;
    plan->stages = 0;
    int32_t stride = 1;
    for (int32_t length = plan->half; length > 1;) {
        fft_stage *stage = &plan->stage[plan->stages++];
        int32_t radix = next_radix(length, stride == 1);
        int32_t parts = length / radix;
        float *re = kws_block_take_floats(&block, (size_t)((radix - 1) * parts));
        float *im = kws_block_take_floats(&block, (size_t)((radix - 1) * parts));
        for (int32_t power = 1; power < radix; power++) {
            for (int32_t p = 0; p < parts; p++) {
                double angle = -2.0 * PI * power * p / length;
                re[(power - 1) * parts + p] = (float)cos(angle);
                im[(power - 1) * parts + p] = (float)sin(angle);
            }
        }
        stage->radix = radix;
        stage->length = length;
        stage->stride = stride;
        stage->re = re;
        stage->im = im;
        stride *= radix;
        length = parts;
    }
    plan->turn_re = kws_block_take_floats(&block, (size_t)(n / 4 + 1));
    plan->turn_im = kws_block_take_floats(&block, (size_t)(n / 4 + 1));
    for (int32_t k = 0; k <= n / 4; k++) {
        plan->turn_re[k] = (float)cos(-2.0 * PI * k / n);
        plan->turn_im[k] = (float)sin(-2.0 * PI * k / n);
    }
    for (int i = 0; i < 4; i++) plan->work[i] = kws_block_take_floats(&block, (size_t)n / 2);
}

/* Real and imaginary part of (a + ib) times twiddle number `power` at p. */
#define TWIDDLE(power, a, b, out_re, out_im)             \
    do {                                                 \
        float wr_ = wr[((power)-1) * parts + p];         \
        float wi_ = wi[((power)-1) * parts + p];         \
        float a_ = (a), b_ = (b);                        \
        (out_re) = a_ * wr_ - b_ * wi_;                  \
        (out_im) = a_ * wi_ + b_ * wr_;                  \
    } while (0)

KWS_INLINE void radix4(const fft_stage *stage, int32_t s, const float *restrict xr,
                       const float *restrict xi, float *restrict yr, float *restrict yi) {
    const int32_t parts = stage->length / 4;
    const float *restrict wr = stage->re, *restrict wi = stage->im;
    const int32_t apart = s * parts;
    for (int32_t p = 0; p < parts; p++) {
        const float *ar = xr + s * p, *ai = xi + s * p;
        float *zr = yr + 4 * s * p, *zi = yi + 4 * s * p;
        KWS_INDEPENDENT
        for (int32_t q = 0; q < s; q++) {
            float sum_r = ar[q] + ar[q + 2 * apart], sum_i = ai[q] + ai[q + 2 * apart];
            float dif_r = ar[q] - ar[q + 2 * apart], dif_i = ai[q] - ai[q + 2 * apart];
            float odd_r = ar[q + apart] + ar[q + 3 * apart];
            float odd_i = ai[q + apart] + ai[q + 3 * apart];
            float cross_r = ar[q + apart] - ar[q + 3 * apart];
            float cross_i = ai[q + apart] - ai[q + 3 * apart];
            zr[q] = sum_r + odd_r;
            zi[q] = sum_i + odd_i;
            TWIDDLE(1, dif_r + cross_i, dif_i - cross_r, zr[q + s], zi[q + s]);
            TWIDDLE(2, sum_r - odd_r, sum_i - odd_i, zr[q + 2 * s], zi[q + 2 * s]);
            TWIDDLE(3, dif_r - cross_i, dif_i + cross_r, zr[q + 3 * s], zi[q + 3 * s]);
        }
    }
}

#define HALF_ROOT 0.70710678118654752440f

/* Eight values to their transform: out[k] = sum of in[j] exp(-2 pi i j k / 8). */
#define EIGHT(xr, xi, at, o_r, o_i)                                                         \
    float a0r = xr[at(0)] + xr[at(4)], a0i = xi[at(0)] + xi[at(4)];                         \
    float a1r = xr[at(0)] - xr[at(4)], a1i = xi[at(0)] - xi[at(4)];                         \
    float a2r = xr[at(2)] + xr[at(6)], a2i = xi[at(2)] + xi[at(6)];                         \
    float a3r = xi[at(2)] - xi[at(6)], a3i = xr[at(6)] - xr[at(2)];                         \
    float b0r = xr[at(1)] + xr[at(5)], b0i = xi[at(1)] + xi[at(5)];                         \
    float b1r = xr[at(1)] - xr[at(5)], b1i = xi[at(1)] - xi[at(5)];                         \
    float b2r = xr[at(3)] + xr[at(7)], b2i = xi[at(3)] + xi[at(7)];                         \
    float b3r = xi[at(3)] - xi[at(7)], b3i = xr[at(7)] - xr[at(3)];                         \
    float c0r = a0r + a2r, c0i = a0i + a2i, c2r = a0r - a2r, c2i = a0i - a2i;               \
    float c1r = a1r + a3r, c1i = a1i + a3i, c3r = a1r - a3r, c3i = a1i - a3i;               \
    float d0r = b0r + b2r, d0i = b0i + b2i, d2r = b0i - b2i, d2i = b2r - b0r;               \
    float e1r = b1r + b3r, e1i = b1i + b3i, e3r = b1r - b3r, e3i = b1i - b3i;               \
    float d1r = HALF_ROOT * (e1r + e1i), d1i = HALF_ROOT * (e1i - e1r);                     \
    float d3r = HALF_ROOT * (e3i - e3r), d3i = -HALF_ROOT * (e3r + e3i);                    \
    float o_r[8] = {c0r + d0r, c1r + d1r, c2r + d2r, c3r + d3r,                             \
                    c0r - d0r, c1r - d1r, c2r - d2r, c3r - d3r};                            \
    float o_i[8] = {c0i + d0i, c1i + d1i, c2i + d2i, c3i + d3i,                             \
                    c0i - d0i, c1i - d1i, c2i - d2i, c3i - d3i}

KWS_INLINE void radix8(const fft_stage *stage, int32_t s, const float *restrict xr,
                       const float *restrict xi, float *restrict yr, float *restrict yi) {
    const int32_t parts = stage->length / 8;
    const float *restrict wr = stage->re, *restrict wi = stage->im;
    const int32_t apart = s * parts;
    for (int32_t p = 0; p < parts; p++) {
        const float *ar = xr + s * p, *ai = xi + s * p;
        float *zr = yr + 8 * s * p, *zi = yi + 8 * s * p;
        KWS_INDEPENDENT
        for (int32_t q = 0; q < s; q++) {
#define AT(j) (q + (j)*apart)
            EIGHT(ar, ai, AT, out_r, out_i);
            zr[q] = out_r[0];
            zi[q] = out_i[0];
            TWIDDLE(1, out_r[1], out_i[1], zr[q + s], zi[q + s]);
            TWIDDLE(2, out_r[2], out_i[2], zr[q + 2 * s], zi[q + 2 * s]);
            TWIDDLE(3, out_r[3], out_i[3], zr[q + 3 * s], zi[q + 3 * s]);
            TWIDDLE(4, out_r[4], out_i[4], zr[q + 4 * s], zi[q + 4 * s]);
            TWIDDLE(5, out_r[5], out_i[5], zr[q + 5 * s], zi[q + 5 * s]);
            TWIDDLE(6, out_r[6], out_i[6], zr[q + 6 * s], zi[q + 6 * s]);
            TWIDDLE(7, out_r[7], out_i[7], zr[q + 7 * s], zi[q + 7 * s]);
        }
    }
}

KWS_INLINE void radix2(int32_t s, const float *restrict xr, const float *restrict xi,
                       float *restrict yr, float *restrict yi) {
    KWS_INDEPENDENT
    for (int32_t q = 0; q < s; q++) {
        yr[q] = xr[q] + xr[q + s];
        yi[q] = xi[q] + xi[q + s];
        yr[q + s] = xr[q] - xr[q + s];
        yi[q + s] = xi[q] - xi[q + s];
    }
}

/* Complex transform of work[0], work[1]; gives which pair of work arrays has the result. */
KWS_INLINE int complex_forward(kws_fft *plan) {
    int from = 0;
    for (int32_t i = 0; i < plan->stages; i++) {
        const fft_stage *stage = &plan->stage[i];
        const float *xr = plan->work[from], *xi = plan->work[from + 1];
        from ^= 2;
        float *yr = plan->work[from], *yi = plan->work[from + 1];
        if (stage->radix == 8) {
            if (stage->stride == 1) {
                radix8(stage, 1, xr, xi, yr, yi);
            } else {
                radix8(stage, stage->stride, xr, xi, yr, yi);
            }
        } else if (stage->radix == 4) {
            radix4(stage, stage->stride, xr, xi, yr, yi);
        } else {
            radix2(stage->stride, xr, xi, yr, yi);
        }
    }
    return from;
}

KWS_CLONES void kws_fft_forward(kws_fft *plan, const float *time, float *re, float *im) {
    const int32_t half = plan->half;
    float *restrict even = plan->work[0], *restrict odd = plan->work[1];
    KWS_INDEPENDENT
    for (int32_t k = 0; k < half; k++) {
        even[k] = time[2 * k];
        odd[k] = time[2 * k + 1];
    }
    int at = complex_forward(plan);
    const float *restrict zr = plan->work[at], *restrict zi = plan->work[at + 1];
    const float *restrict wr = plan->turn_re, *restrict wi = plan->turn_im;
    float *restrict out_r = re, *restrict out_i = im;
    out_r[0] = zr[0] + zi[0];
    out_r[half] = zr[0] - zi[0];
    out_i[0] = 0.0f;
    out_i[half] = 0.0f;
    KWS_INDEPENDENT
    for (int32_t k = 1; k < half / 2; k++) {
        float sum_r = 0.5f * (zr[k] + zr[half - k]), sum_i = 0.5f * (zi[k] + zi[half - k]);
        float dif_r = 0.5f * (zr[k] - zr[half - k]), dif_i = 0.5f * (zi[k] - zi[half - k]);
        float turn_r = sum_i * wr[k] + dif_r * wi[k];
        float turn_i = sum_i * wi[k] - dif_r * wr[k];
        out_r[k] = sum_r + turn_r;
        out_i[k] = dif_i + turn_i;
        out_r[half - k] = sum_r - turn_r;
        out_i[half - k] = turn_i - dif_i;
    }
    out_r[half / 2] = zr[half / 2];
    out_i[half / 2] = -zi[half / 2];
}

KWS_CLONES void kws_fft_inverse(kws_fft *plan, const float *re, const float *im, float *time) {
    const int32_t half = plan->half;
    const float *restrict in_r = re, *restrict in_i = im;
    /* Real and imaginary parts swapped in and out turn the forward transform round. */
    float *restrict zi = plan->work[0], *restrict zr = plan->work[1];
    const float *restrict wr = plan->turn_re, *restrict wi = plan->turn_im;
    const float scale = 0.5f / (float)half;
    zr[0] = scale * (in_r[0] + in_r[half]);
    zi[0] = scale * (in_r[0] - in_r[half]);
    KWS_INDEPENDENT
    for (int32_t k = 1; k < half / 2; k++) {
        float sum_r = scale * (in_r[k] + in_r[half - k]);
        float dif_i = scale * (in_i[k] - in_i[half - k]);
        float dif_r = scale * (in_r[k] - in_r[half - k]);
        float sum_i = scale * (in_i[k] + in_i[half - k]);
        float turn_r = dif_r * wi[k] - sum_i * wr[k];
        float turn_i = dif_r * wr[k] + sum_i * wi[k];
        zr[k] = sum_r + turn_r;
        zi[k] = dif_i + turn_i;
        zr[half - k] = sum_r - turn_r;
        zi[half - k] = turn_i - dif_i;
    }
    zr[half / 2] = 2.0f * scale * in_r[half / 2];
    zi[half / 2] = -2.0f * scale * in_i[half / 2];
    int at = complex_forward(plan);
    const float *restrict even = plan->work[at + 1], *restrict odd = plan->work[at];
    float *restrict out = time;
    KWS_INDEPENDENT
    for (int32_t k = 0; k < half; k++) {
        out[2 * k] = even[k];
        out[2 * k + 1] = odd[k];
    }
}
