#include "testing.h"

using namespace testing;

namespace {
void check_statistics(const std::vector<float>& logits, int rows, int columns) {
  const int parts = divide_up(columns, 4096);
  Array<float> values(logits), partArray(rows * parts * 4), out(rows * 4);
  launch("logit_parts", grid(parts, rows), 256, 0, values.data, columns, partArray.data);
  launch("logit_statistics", grid(rows), 32, 0, partArray.data, parts, out.data);
  for (int row = 0; row < rows; row++) {
    const float* x = &logits[size_t(row) * columns];
    int argmax = 0;
    for (int i = 1; i < columns; i++) {
      if (x[i] > x[argmax]) argmax = i;
    }
    double sum = 0, moment = 0;
    for (int i = 0; i < columns; i++) {
      const double below = double(x[argmax]) - x[i];
      const double e = std::exp(-below);
      sum += e;
      moment += e == 0 ? 0 : below * e;
    }
    expect("argmax", int(bits_of(out[4 * row])) == argmax);
    expect("maximum", out[4 * row + 1] == x[argmax]);
    const std::vector<float> rest = {float(x[argmax] + std::log(sum)),
                                     float(std::log(sum) + moment / sum)};
    expect_close("log sum and entropy", &out[4 * row + 2], rest, 1e-5);
  }
}
}  // namespace

KERNEL_TEST(logit_statistics_of_odd_sizes_and_ties) {
  Random random(40);
  for (int columns : {1, 33, 4096, 4097, 49152}) {
    const int rows = columns > 10000 ? 1 : 3;
    auto logits = random.normals(size_t(rows) * columns, 5);
    check_statistics(logits, rows, columns);
    if (columns > 40) {
      logits[37] = logits[columns - 1] = 100;
      logits[5] = -INFINITY;
      check_statistics(logits, rows, columns);
    }
  }
}

KERNEL_TEST(top_k_sorts_and_breaks_ties_by_index) {
  Random random(41);
  for (int columns : {1, 40, 1500, 20000}) {
    for (int k : {1, 7, 40, 1000}) {
      if (k > columns) continue;
      const int rows = 2;
      std::vector<float> logits(rows * columns);
      // Few different values: many ties.
      for (float& value : logits) value = random.between(-50, 50) * 0.25f;
      if (columns > 3) {
        logits[1] = NAN;
        logits[2] = -INFINITY;
        logits[3] = -0.f;
      }
      Array<float> values(logits), found(rows * k);
      Array<int> indices(rows * k);
      launch("top_k", grid(rows), 1024, 0, values.data, columns, k, indices.data, found.data);
      for (int row = 0; row < rows; row++) {
        const float* x = &logits[row * columns];
        std::vector<int> order(columns);
        for (int i = 0; i < columns; i++) order[i] = i;
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
          if (std::isnan(x[a]) || std::isnan(x[b])) return !std::isnan(x[a]) && std::isnan(x[b]);
          if (x[a] == x[b]) return std::signbit(x[b]) && !std::signbit(x[a]);
          return x[a] > x[b];
        });
        for (int i = 0; i < k; i++) {
          expect(text("index %d of the top %d of %d: %d, expected %d", i, k, columns,
                      indices[row * k + i], order[i]),
                 indices[row * k + i] == order[i]);
          expect("value", std::memcmp(&found[row * k + i], &x[order[i]], 4) == 0);
        }
      }
    }
  }
}
