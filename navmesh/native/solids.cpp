#include "solids.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace commonground {

namespace {

constexpr std::size_t kMostSpans = 255;  // in a column: Recast's limit

class Finder {
public:
    Finder(const CellStore& cells, const ColumnSquare& square) : cells_(cells), square_(square) {
        const std::size_t columns = static_cast<std::size_t>(square.side) * square.side;
        found_.starts.reserve(columns + 1);
        found_.solids.resize(2 * columns);
    }

    // Every column from the bottom up, a whole row of blocks at a time.
    Solids find() {
        std::vector<Stack> row(static_cast<std::size_t>((square_.side + 14) / 8));
        for (int z = 0; z < square_.side; ++z) {
            if (z == 0 || ((square_.z + z) & 7) == 0) {
                int x = square_.x & ~7;
                for (Stack& blocks : row) {
                    stack(x, square_.z + z, blocks);
                    x += 8;
                }
            }
            for (int x = 0; x < square_.side; ++x) {
                found_.starts.push_back(static_cast<std::int32_t>(count_));
                if (found_.solids.size() < count_ + kMostSpans) found_.solids.resize(2 * found_.solids.size() + kMostSpans);
                const int world_x = square_.x + x;
                add_column(row[static_cast<std::size_t>((world_x >> 3) - (square_.x >> 3))],
                           (world_x & 7) * kBlockEdge + ((square_.z + z) & 7));
            }
        }
        found_.starts.push_back(static_cast<std::int32_t>(count_));
        found_.solids.resize(count_);
        return std::move(found_);
    }

private:
    // Four blocks above each other as one word for each column, the lowest height first. Only blocks that matter are in it:
    // with something solid in them, or right above such a one, to say whether that is ground.
    struct Storey {
        int height;
        std::uint64_t solid[kBlockColumns], free[kBlockColumns], steep[kBlockColumns];
    };
    using Stack = std::vector<Storey>;
    static constexpr int kStoreyCells = 64;

    void stack(int x, int z, Stack& stack) const {
        stack.clear();
        const BlockColumn* const blocks = block_column(cells_, x, z);
        if (!blocks) return;
        bool was_solid = false;
        int height = blocks->bottom * kCellsTall + kBaseCells;
        for (const std::int32_t slot : blocks->slots) {
            const std::uint16_t* const planes = slot == CellStore::kNoSlot ? nullptr : cells_.planes(slot);
            unsigned any = 0;
            for (int column = 0; planes && column < kBlockColumns; ++column) any |= planes[kSolid * kBlockColumns + column];
            if (planes && (any || was_solid)) {
                if (stack.empty() || height >= stack.back().height + kStoreyCells) stack.push_back({height, {}, {}, {}});
                add_block(planes, height - stack.back().height, stack.back());
            }
            was_solid = any != 0;
            height += kCellsTall;
        }
    }

    void add_block(const std::uint16_t* planes, int shift, Storey& storey) const {
        const std::uint16_t* const solid = planes + kSolid * kBlockColumns;
        const std::uint16_t* const free = planes + kFree * kBlockColumns;
        const std::uint16_t* const steep = planes + (kSteep + square_.slope_limit) * kBlockColumns;
        for (int column = 0; column < kBlockColumns; ++column) {
            storey.solid[column] |= std::uint64_t{solid[column]} << shift;
            storey.free[column] |= std::uint64_t{free[column]} << shift;
            storey.steep[column] |= std::uint64_t{steep[column]} << shift;
        }
    }

    void add_column(const Stack& stack, int column) {
        const std::size_t begin = count_;
        int bottom = -1, end = 0;  // of the solid that goes on above the storey before; of that storey
        bool is_steep = false;
        for (const Storey& storey : stack) {
            if (bottom >= 0 && end != storey.height) {  // no block in between: unknown above what ends there
                emit(begin, bottom, end, kBlocked);
                bottom = -1;
            }
            end = storey.height + kStoreyCells;
            const std::uint64_t solid = storey.solid[column], free = storey.free[column], steep = storey.steep[column];
            const std::uint64_t below = solid << 1 | (bottom >= 0);
            std::uint64_t begins = solid & ~below, ends = ~solid & below;
            for (; ends; ends &= ends - 1) {
                if (bottom < 0) {
                    bottom = storey.height + __builtin_ctzll(begins);
                    begins &= begins - 1;
                }
                const int h = __builtin_ctzll(ends);
                if (h > 0) is_steep = steep >> (h - 1) & 1;
                const bool is_seen = free >> h & 1;  // from above
                emit(begin, bottom, storey.height + h, !is_seen ? kBlocked : is_steep ? kSteepGround : kFloor);
                bottom = -1;
            }
            if (begins) bottom = storey.height + __builtin_ctzll(begins);
            is_steep = steep >> (kStoreyCells - 1) & 1;
        }
        if (bottom >= 0) emit(begin, bottom, end, kBlocked);
    }

    void emit(std::size_t column_begin, int low, int high, std::uint8_t area) {
        const int cut = std::min(high, kMostCells);
        if (low < cut && count_ - column_begin < kMostSpans)
            found_.solids[count_++] = {static_cast<std::int16_t>(low), static_cast<std::int16_t>(cut), cut == high ? area : kBlocked};
    }

    const CellStore& cells_;
    const ColumnSquare square_;
    Solids found_;
    std::size_t count_ = 0;  // of solids found so far
};

}  // namespace

Solids find_solids(const CellStore& cells, const ColumnSquare& square) { return Finder(cells, square).find(); }

const BlockColumn* block_column(const CellStore& cells, int x, int z) {
    const int i = x >> 3, k = z >> 3;
    const BlockColumn* const tile = cells.columns({i >> 3, k >> 3});
    return tile ? tile + (i & 7) * kTileBlocks + (k & 7) : nullptr;
}

}  // namespace commonground
