/* Tensors of a graph container v0.5; a reading of its own, independent of the one under test. */
#include "double.h"

#include <string.h>

struct reader {
  const uint8_t *data;
  size_t at, size;
  bool short_read;
};

static uint32_t word(struct reader *reader) {
  uint32_t value = 0;
  if (reader->at + 4 > reader->size) {
    reader->short_read = true;
    return 0;
  }
  memcpy(&value, reader->data + reader->at, 4);
  reader->at += 4;
  return value;
}

static int subsection(struct reader *reader, struct graph *graph) {
  word(reader);
  const uint32_t size = word(reader), kind = word(reader), id = word(reader), type = word(reader);
  const uint32_t scale_bits = word(reader), zero_bits = word(reader);
  for (int spare = 0; spare < 4; spare++) word(reader); /* three spare words, the address mask */
  const uint32_t relocations = word(reader);
  for (uint32_t i = 0; i < relocations && !reader->short_read; i++) word(reader);
  if (reader->short_read || id >= MAX_TENSORS) return INVALID_GRAPH;
  if (kind > 1) return OK;
  struct tensor tensor = {.size = size, .type = type};
  memcpy(&tensor.scale, &scale_bits, 4);
  memcpy(&tensor.zero_point, &zero_bits, 4);
  struct tensor *table = kind == 0 ? graph->input : graph->output;
  uint32_t *used = kind == 0 ? &graph->inputs : &graph->outputs;
  table[id] = tensor;
  if (id + 1 > *used) *used = id + 1;
  return OK;
}

int parse_graph(const uint8_t *data, size_t size, struct graph *graph) {
  if (size < 16 || memcmp(data, "AIPU BIN\0\0\0\0\0\0\0", 16) != 0) return VERSION_UNSUPPORTED;
  if (size < 104) return INVALID_GRAPH;
  struct reader header = {data, 16, size, false};
  const uint32_t device = word(&header), version = word(&header);
  word(&header);
  word(&header);
  if (version >> 24 != 5) return VERSION_UNSUPPORTED;
  if (word(&header) != size) return INVALID_GRAPH;
  if ((device & 0xFFFFF) != 0x102BD) return TARGET_NOT_FOUND;
  struct reader pair = {data, 48 + 32, size, false};
  const uint32_t start = word(&pair), length = word(&pair);
  if ((uint64_t)start + length > size) return INVALID_GRAPH;
  struct reader bss = {data, start, (size_t)start + length, false};
  word(&bss);
  word(&bss);
  const uint64_t sections = (uint64_t)word(&bss) + word(&bss);
  for (uint64_t i = 0; i < sections; i++) {
    word(&bss);
    word(&bss);
    word(&bss);
    const uint32_t parts = word(&bss);
    for (uint32_t part = 0; part < parts; part++) {
      const int status = subsection(&bss, graph);
      if (status != OK) return status;
    }
  }
  word(&bss);
  return bss.short_read ? INVALID_GRAPH : OK;
}
