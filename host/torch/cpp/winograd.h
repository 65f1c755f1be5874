// What Winograd's minimal filtering F(4, 3) takes (Lavin and Gray 2016): of 3 taps, 6 inputs and 6 products make 4 outputs.
// Along each axis y = A' (G w * B' x).
#pragma once
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

namespace anneal::winograd {

inline constexpr int64_t TILE = 4, SIDE = 6, TAPS = 3;

template <int ROWS, int COLS>
struct Matrix {
  float at[ROWS][COLS];
  constexpr Matrix<COLS, ROWS> transposed() const {
    Matrix<COLS, ROWS> t{};
    for (int i = 0; i < ROWS; i++) {
      for (int j = 0; j < COLS; j++) t.at[j][i] = at[i][j];
    }
    return t;
  }
};

inline constexpr Matrix<6, 6> BT{{{4, 0, -5, 0, 1, 0},
                           {0, -4, -4, 1, 1, 0},
                           {0, 4, -4, -1, 1, 0},
                           {0, -2, -1, 2, 1, 0},
                           {0, 2, -1, -2, 1, 0},
                           {0, 4, 0, -5, 0, 1}}};
inline constexpr Matrix<6, 3> G{{{1.f / 4, 0, 0},
                          {-1.f / 6, -1.f / 6, -1.f / 6},
                          {-1.f / 6, 1.f / 6, -1.f / 6},
                          {1.f / 24, 1.f / 12, 1.f / 6},
                          {1.f / 24, -1.f / 12, 1.f / 6},
                          {0, 0, 1}}};
inline constexpr Matrix<4, 6> AT{{{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}}};
inline constexpr Matrix<6, 6> B = BT.transposed();
inline constexpr Matrix<3, 6> GT = G.transposed();
inline constexpr Matrix<6, 4> A = AT.transposed();

template <typename Part>
void over_channels(int64_t channels, Part part) {
  at::parallel_for(0, channels, std::max<int64_t>(1, channels / at::get_num_threads()), part);
}

}  // namespace anneal::winograd
