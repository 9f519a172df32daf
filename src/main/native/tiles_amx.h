// The matrix unit's registers.

#ifndef KVFREEZE_TILES_AMX_H
#define KVFREEZE_TILES_AMX_H

#include <immintrin.h>
#include <stdint.h>

// Bytes from one row of a tile to the next where a tile lies by itself.
enum { TILE_STRIDE = 64 };

// All eight tiles get 16 rows of 64 bytes, until _tile_release.
static inline void configure_tiles(void) {
  struct {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } __attribute__((aligned(64))) tiles = {.palette = 1};
  for (int i = 0; i < 8; i++) {
    tiles.row_bytes[i] = TILE_STRIDE;
    tiles.rows[i] = 16;
  }
  _tile_loadconfig(&tiles);
}

#endif
