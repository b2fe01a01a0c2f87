// The cells of a whole map: bit planes per block, found by tile, column and height, and which of them must be read again.
#pragma once

#include "latch.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

namespace commonground {

constexpr int kTileBlocks = 8;

// Heights count from so many cells below y = 0, in every tile of every map; Recast can tell 8191 of them apart.
constexpr int kBaseCells = 4096;
constexpr int kMostCells = 8191;
constexpr std::int32_t kLowestBlock = -kBaseCells / kCellsTall, kHighestBlock = (kMostCells - kBaseCells) / kCellsTall;

using BlockKey = std::array<std::int32_t, 3>;  // (i, j, k): x, height, z
using TileXZ = std::array<std::int32_t, 2>;

struct TileHash {
    std::size_t operator()(const TileXZ& tile) const {
        const auto both = static_cast<std::uint64_t>(static_cast<std::uint32_t>(tile[0])) << 32 |
                          static_cast<std::uint32_t>(tile[1]);
        return static_cast<std::size_t>((both * 0x9E3779B97F4A7C15ull) >> 20);
    }
};

// Blocks above each other: the slot of each height from `bottom` up, kNoSlot where there is none.
struct BlockColumn {
    std::int32_t bottom = 0;
    std::vector<std::int32_t> slots;
};

// Voxels of a map where they lie: `rows` has the place of each asked-for block, -1 where there is none.
struct VoxelPool {
    const std::int64_t* rows;
    std::size_t count;             // of rows
    const float *tsdf_m, *weight;  // 512 for each block
    std::size_t blocks;
};

struct Refreshed {
    std::vector<TileXZ> changed;  // tiles with a changed block within `reach` blocks of their square
    std::vector<TileXZ> stale;    // tiles that must be read now, because something moved there
};

// One thread at a time, but `latch` of different ranges, and anything const, may run side by side.
class CellStore {
public:
    static constexpr std::int32_t kNoSlot = -1;
    static constexpr std::int32_t kFarthest = 1 << 20;  // blocks from the origin

    explicit CellStore(LatchParams params);  // throws std::invalid_argument
    CellStore(const CellStore&) = delete;

    void clear();
    int limits() const { return static_cast<int>(params_.limits.size()); }
    std::size_t size() const { return blocks_.size(); }
    std::size_t bytes() const;

    // Notes that the voxels of blocks changed: those, and the blocks around them that exist, must be read again.
    // Returns the tiles they lie in. Blocks beyond the range of heights are passed over.
    // Throws std::invalid_argument for a block too far out to the side.
    std::vector<TileXZ> mark(const BlockKey* keys, std::size_t count);

    // Reading has three steps. `begin` picks the stale blocks of some tiles and returns all blocks that they look at;
    // `latch` reads picked blocks [first, last); `finish` tells what came of it. Throw std::out_of_range or
    // std::invalid_argument for what does not fit to what was picked.
    std::vector<BlockKey> begin(const std::vector<TileXZ>& tiles);
    std::size_t picked() const { return picked_.size(); }
    void latch(std::size_t first, std::size_t last, const VoxelPool& voxels, float known_weight);
    Refreshed finish(int reach);

    // Null when no block of that tile was ever marked.
    const BlockColumn* columns(TileXZ tile) const;  // 64 of them, x * 8 + z
    const std::uint16_t* planes(std::int32_t slot) const { return chunks_[slot / kChunk].get() + (slot % kChunk) * words(); }
    std::uint16_t* planes(std::int32_t slot) { return chunks_[slot / kChunk].get() + (slot % kChunk) * words(); }
    const BlockKey& key(std::int32_t slot) const { return blocks_[slot].key; }
    std::size_t words() const { return (kSteep + params_.limits.size()) * kBlockColumns; }  // of a block's planes
    std::int32_t find(const BlockKey& key) const;
    std::int32_t insert(const BlockKey& key);  // a new block is unknown throughout; kNoSlot beyond the range of heights

private:
    static constexpr std::int32_t kChunk = 1024;
    enum class Stale : std::uint8_t { no, yes, afresh };

    struct Block {
        BlockKey key;
        std::int32_t number = kNoSlot;  // within a list that is being made
        Stale stale = Stale::no;
    };
    struct Tile {
        std::array<BlockColumn, kTileBlocks * kTileBlocks> columns;
        std::vector<std::int32_t> stale;
        std::size_t blocks = 0;
    };
    struct Picked {
        std::int32_t slot;
        bool afresh;
        std::array<std::int32_t, 27> looks_at;  // into the list that `begin` returned; kNoSlot = no block
        Outcome outcome{};
    };

    bool is_all_stale_around(const BlockKey& key) const;
    void make_stale(std::int32_t slot, Stale how);
    template <class Visit>
    void around(const BlockKey& key, Visit visit) const;

    LatchParams params_;
    std::unordered_map<TileXZ, std::unique_ptr<Tile>, TileHash> tiles_;
    std::vector<Block> blocks_;  // by slot
    std::vector<std::unique_ptr<std::uint16_t[]>> chunks_;
    std::vector<Picked> picked_;
    std::size_t looked_at_ = 0;
};

}  // namespace commonground
