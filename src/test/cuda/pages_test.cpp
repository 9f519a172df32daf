#include "testing.h"

using namespace testing;

KERNEL_TEST(pages_go_out_and_come_back_bit_for_bit) {
  Random random(8);
  for (int pageBytes : {256, 4096, 8192, 5120}) {
    const int capacity = 9;
    std::vector<uint8_t> content(capacity * pageBytes);
    for (uint8_t& byte : content) byte = static_cast<uint8_t>(random.below(256));
    const std::vector<int> from = {8, 0, 5}, to = {1, 7, 2};
    Array<uint8_t> pool(content), staging(3 * pageBytes);
    Array<int> sources(from), targets(to);
    launch("gather_pages", grid(3), 128, 0, pool.data, sources.data, pageBytes, staging.data);
    launch("scatter_pages", grid(3), 128, 0, staging.data, targets.data, pageBytes, pool.data);
    for (int i = 0; i < 3; i++) {
      std::memcpy(&content[to[i] * pageBytes], &content[from[i] * pageBytes], pageBytes);
    }
    expect("the pool", std::memcmp(pool.data, content.data(), content.size()) == 0);
  }
}
