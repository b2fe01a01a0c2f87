#include "erosion.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace commonground {

namespace {

// A row of columns, one bit each.
using Bits = std::uint64_t*;
constexpr int kBits = 64;

bool is_one_storey(const rcCompactHeightfield& compact) {
    const std::size_t columns = static_cast<std::size_t>(compact.width) * compact.height;
    return std::all_of(compact.cells, compact.cells + columns, [](const rcCompactCell& cell) { return cell.count <= 1; });
}

bool is_rim(const rcCompactSpan& span) {
    for (int way = 0; way < 4; ++way)
        if (rcGetCon(span, way) == RC_NOT_CONNECTED) return true;
    return false;
}

// Recast's distance between places counts 2 for a step along x or z and 3 for one across: what is nearer to the rim than
// twice the radius goes. On one storey nothing can come between, so that is all that lies in an octagon around a place of
// the rim: as many rows on both sides, and in each row as many columns, as the distance allows.
int half_width(int radius, int row) {
    const int flat = (2 * radius - row - 1) / 2;
    return flat >= row ? flat : 2 * radius - 2 * row - 1;
}

class Octagons {
public:
    Octagons(const rcCompactHeightfield& compact, int radius)
        : compact_(compact), words_(static_cast<std::size_t>((compact.width + kBits - 1) / kBits)),
          covered_(words_ * static_cast<std::size_t>(compact.height)), grown_(words_ * static_cast<std::size_t>(radius)),
          rows_(radius), radius_(radius) {
        while (half_width(radius, rows_ - 1) < 0) --rows_;
        for (int z = 0; z < compact.height; ++z)
            if (find_rim(z)) cover(z);
    }

    bool cover(int x, int z) const { return row(z)[x / kBits] >> (x % kBits) & 1; }

private:
    const std::uint64_t* row(int z) const { return covered_.data() + words_ * static_cast<std::size_t>(z); }
    Bits grown(int by) { return grown_.data() + words_ * static_cast<std::size_t>(by); }

    bool find_rim(int z) {
        bool any = false;
        std::fill_n(grown(0), words_, 0);
        for (int x = 0; x < compact_.width; ++x) {
            const rcCompactCell& cell = compact_.cells[x + z * compact_.width];
            if (cell.count == 0 || !is_rim(compact_.spans[cell.index])) continue;
            grown(0)[x / kBits] |= std::uint64_t{1} << (x % kBits);
            any = true;
        }
        return any;
    }

    void cover(int z) {
        for (int by = 1; by < radius_; ++by) grow(grown(by - 1), grown(by));
        for (int dz = 1 - rows_; dz < rows_; ++dz) {
            if (z + dz < 0 || z + dz >= compact_.height) continue;
            const std::uint64_t* const from = grown(half_width(radius_, std::abs(dz)));
            std::uint64_t* const to = covered_.data() + words_ * static_cast<std::size_t>(z + dz);
            for (std::size_t word = 0; word < words_; ++word) to[word] |= from[word];
        }
    }

    // By one column on both sides.
    void grow(const std::uint64_t* from, Bits to) const {
        for (std::size_t word = 0; word < words_; ++word) {
            const std::uint64_t before = word ? from[word - 1] >> (kBits - 1) : 0;
            const std::uint64_t after = word + 1 < words_ ? from[word + 1] << (kBits - 1) : 0;
            to[word] = from[word] | from[word] << 1 | from[word] >> 1 | before | after;
        }
    }

    const rcCompactHeightfield& compact_;
    const std::size_t words_;  // of a row
    std::vector<std::uint64_t> covered_, grown_;
    int rows_;
    const int radius_;
};

}  // namespace

bool erode(rcContext& context, int radius, rcCompactHeightfield& compact) {
    if (radius == 0) return true;
    if (!is_one_storey(compact)) return rcErodeWalkableArea(&context, radius, compact);
    const Octagons near_rim(compact, radius);
    for (int z = 0; z < compact.height; ++z)
        for (int x = 0; x < compact.width; ++x) {
            const rcCompactCell& cell = compact.cells[x + z * compact.width];
            if (cell.count && near_rim.cover(x, z)) compact.areas[cell.index] = RC_NULL_AREA;
        }
    return true;
}

}  // namespace commonground
