/* Sub-blocks out of one block of memory that the caller owns. Used while a stage is set up;
 * nothing is ever given back.
 */
#ifndef KWS_BLOCK_H
#define KWS_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "vector.h"

typedef struct {
    unsigned char *next;
} kws_block;

/* Bytes that a sub-block of so many bytes takes: a multiple of the alignment. */
static inline size_t kws_block_bytes(size_t bytes) {
    return (bytes + KWS_ALIGN - 1) / KWS_ALIGN * KWS_ALIGN;
}

/* Bytes that an array of so many floats takes. */
static inline size_t kws_block_floats(size_t count) {
    return kws_block_bytes(count * sizeof(float));
}

/* The memory must be aligned to KWS_ALIGN, which every size query's caller has to see to. */
static inline kws_block kws_block_of(void *memory) {
    kws_block block = {(unsigned char *)memory};
    return block;
}

static inline void *kws_block_take(kws_block *block, size_t bytes) {
    void *taken = block->next;
    block->next += kws_block_bytes(bytes);
    return taken;
}

static inline float *kws_block_take_floats(kws_block *block, size_t count) {
    return (float *)kws_block_take(block, count * sizeof(float));
}

#endif
