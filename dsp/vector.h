/* What the compiler is told so that plain loops become vector code.
 *
 * Everything that depends on a processor or a compiler stands here and nowhere else. Loops work
 * on split complex arrays (real parts, imaginary parts) whose rows are padded to KWS_LANES.
 */
#ifndef KWS_VECTOR_H
#define KWS_VECTOR_H

#include <stdint.h>

/* Floats of the widest register that rows are padded for: 256 bits. */
#define KWS_LANES 8

/* Bytes that every array and every caller-owned block is aligned to: a cache line. */
#define KWS_ALIGN 64

/* Floats of a padded row. */
#define KWS_PADDED(count) (((count) + KWS_LANES - 1) / KWS_LANES * KWS_LANES)

/* A function that is compiled twice, for AVX2 and for the base processor, and chosen when the
 * library is loaded. Both give the same bits: it is built with -ffp-contract=off, so nothing is
 * fused though the first could. Sanitizers and hosts without a dynamic loader do without. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && \
    __GNUC__ >= 12 && __STDC_HOSTED__ && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__) && !defined(KWS_NO_CLONES)
#define KWS_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define KWS_CLONES
#endif

/* Stands before a loop whose passes do not depend on each other, though the compiler may not see
 * that its arrays do not overlap. */
#if defined(__clang__)
#define KWS_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define KWS_INDEPENDENT _Pragma("GCC ivdep")
#else
#define KWS_INDEPENDENT
#endif

#if defined(__GNUC__)
#define KWS_INLINE static inline __attribute__((always_inline))
/* Promise that a pointer is the start of a padded row. */
#define KWS_ROW(pointer) __builtin_assume_aligned((pointer), 4 * KWS_LANES)
#else
#define KWS_INLINE static inline
#define KWS_ROW(pointer) (pointer)
#endif

#endif
