#include "cells.hpp"

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <unordered_set>

namespace commonground {

namespace {

constexpr std::size_t kMostLimits = 6;

TileXZ tile_of(const BlockKey& key) { return {key[0] >> 3, key[2] >> 3}; }  // an arithmetic shift rounds down

int column_in_tile(std::int32_t i, std::int32_t k) { return (i & 7) * kTileBlocks + (k & 7); }

std::int32_t slot_at(const BlockColumn& column, std::int32_t j) {
    const std::int64_t at = static_cast<std::int64_t>(j) - column.bottom;
    return at >= 0 && at < static_cast<std::int64_t>(column.slots.size()) ? column.slots[at] : CellStore::kNoSlot;
}

}  // namespace

CellStore::CellStore(LatchParams params) : params_(std::move(params)) {
    if (params_.limits.empty() || params_.limits.size() > kMostLimits)
        throw std::invalid_argument("there must be 1 to 6 slope limits");
    for (float value : {params_.min_weight, params_.hysteresis_m, params_.contradiction_m, params_.max_step_m})
        if (!std::isfinite(value)) throw std::invalid_argument("the latch's distances must be finite");
}

void CellStore::clear() {
    tiles_.clear();
    blocks_.clear();
    chunks_.clear();
    picked_.clear();
}

std::size_t CellStore::bytes() const {
    std::size_t total = chunks_.size() * kChunk * words() * sizeof(std::uint16_t) + blocks_.capacity() * sizeof(Block);
    for (const auto& [key, tile] : tiles_) {
        total += sizeof key + sizeof *tile + tile->stale.capacity() * sizeof(std::int32_t);
        for (const BlockColumn& column : tile->columns) total += column.slots.capacity() * sizeof(std::int32_t);
    }
    return total;
}

std::vector<TileXZ> CellStore::mark(const BlockKey* keys, std::size_t count) {
    for (std::size_t n = 0; n < count; ++n)
        for (std::int32_t part : keys[n])
            if (part < -kFarthest || part > kFarthest) throw std::invalid_argument("a block is too far from the origin");
    std::unordered_set<TileXZ, TileHash> tiles;
    TileXZ last{2 * kFarthest, 2 * kFarthest};
    for (std::size_t n = 0; n < count; ++n)
        if (const std::int32_t slot = insert(keys[n]); slot != kNoSlot) make_stale(slot, Stale::yes);
    for (std::size_t n = 0; n < count; ++n) {
        if (is_all_stale_around(keys[n])) {
            if (const TileXZ tile = tile_of(keys[n]); tile != last) tiles.insert(last = tile);
            continue;
        }
        around(keys[n], [&](int, std::int32_t slot) {
            make_stale(slot, Stale::yes);
            const TileXZ tile = tile_of(blocks_[slot].key);
            if (tile != last) tiles.insert(last = tile);
        });
    }
    return {tiles.begin(), tiles.end()};
}

std::vector<BlockKey> CellStore::begin(const std::vector<TileXZ>& tiles) {
    picked_.clear();
    for (const TileXZ& key : tiles) {
        const auto found = tiles_.find(key);
        if (found == tiles_.end()) continue;
        for (std::int32_t slot : found->second->stale) {
            picked_.push_back({slot, blocks_[slot].stale == Stale::afresh, {}, {}});
            blocks_[slot].stale = Stale::no;
        }
        found->second->stale.clear();
    }
    std::vector<std::int32_t> seen;
    for (Picked& block : picked_) {
        block.looks_at.fill(kNoSlot);
        around(blocks_[block.slot].key, [&](int place, std::int32_t slot) {
            std::int32_t& number = blocks_[slot].number;
            if (number == kNoSlot) {
                number = static_cast<std::int32_t>(seen.size());
                seen.push_back(slot);
            }
            block.looks_at[place] = number;
        });
    }
    looked_at_ = seen.size();
    std::vector<BlockKey> keys;
    keys.reserve(seen.size());
    for (std::int32_t slot : seen) {
        blocks_[slot].number = kNoSlot;
        keys.push_back(blocks_[slot].key);
    }
    return keys;
}

void CellStore::latch(std::size_t first, std::size_t last, const VoxelPool& voxels, float known_weight) {
    if (first > last || last > picked_.size()) throw std::out_of_range("so many blocks were not picked");
    if (voxels.count != looked_at_) throw std::invalid_argument("there must be one row for each block looked at");
    LatchParams params = params_;
    params.known_weight = known_weight;
    for (std::size_t n = first; n < last; ++n) {
        Picked& block = picked_[n];
        Neighbourhood near{};
        for (std::size_t place = 0; place < near.tsdf_m.size(); ++place) {
            const std::int64_t row = block.looks_at[place] < 0 ? -1 : voxels.rows[block.looks_at[place]];
            if (row < 0) continue;
            if (static_cast<std::size_t>(row) >= voxels.blocks) throw std::invalid_argument("a row outside the pool");
            near.tsdf_m[place] = voxels.tsdf_m + 512 * row;
            near.weight[place] = voxels.weight + 512 * row;
        }
        block.outcome = latch_block(near, params, block.afresh, planes(block.slot));
    }
}

Refreshed CellStore::finish(int reach) {
    std::unordered_set<TileXZ, TileHash> changed, stale;
    std::unordered_set<std::int32_t> contradicted;
    for (const Picked& block : picked_) {
        if (block.outcome.contradicted) contradicted.insert(block.slot);
        if (!block.outcome.changed) continue;
        const BlockKey& key = blocks_[block.slot].key;
        for (std::int32_t x = (key[0] - reach) >> 3; x <= (key[0] + reach) >> 3; ++x)
            for (std::int32_t z = (key[2] - reach) >> 3; z <= (key[2] + reach) >> 3; ++z) changed.insert({x, z});
    }
    for (std::int32_t slot : contradicted)  // itself was read afresh just now; so must be what stands around it
        around(blocks_[slot].key, [&](int, std::int32_t other) {
            if (contradicted.count(other)) return;
            make_stale(other, Stale::afresh);
            stale.insert(tile_of(blocks_[other].key));
        });
    picked_.clear();
    return {{changed.begin(), changed.end()}, {stale.begin(), stale.end()}};
}

const BlockColumn* CellStore::columns(TileXZ tile) const {
    const auto found = tiles_.find(tile);
    return found == tiles_.end() ? nullptr : found->second->columns.data();
}

std::int32_t CellStore::find(const BlockKey& key) const {
    const BlockColumn* const tile = columns(tile_of(key));
    return tile ? slot_at(tile[column_in_tile(key[0], key[2])], key[1]) : kNoSlot;
}

std::int32_t CellStore::insert(const BlockKey& key) {
    if (key[1] < kLowestBlock || key[1] > kHighestBlock) return kNoSlot;
    std::unique_ptr<Tile>& tile = tiles_[tile_of(key)];
    if (!tile) tile = std::make_unique<Tile>();
    BlockColumn& column = tile->columns[column_in_tile(key[0], key[2])];
    const std::int32_t found = slot_at(column, key[1]);
    if (found != kNoSlot) return found;
    if (column.slots.empty()) column.bottom = key[1];
    if (key[1] < column.bottom) {
        column.slots.insert(column.slots.begin(), static_cast<std::size_t>(column.bottom - key[1]), kNoSlot);
        column.bottom = key[1];
    }
    const auto at = static_cast<std::size_t>(key[1] - column.bottom);
    if (at >= column.slots.size()) column.slots.resize(at + 1, kNoSlot);
    const auto slot = static_cast<std::int32_t>(blocks_.size());
    if (slot % kChunk == 0) chunks_.push_back(std::make_unique<std::uint16_t[]>(kChunk * words()));
    blocks_.push_back({key});
    ++tile->blocks;
    return column.slots[at] = slot;
}

// Where a whole map is marked, most blocks stand amid a tile of which nothing more can become stale.
bool CellStore::is_all_stale_around(const BlockKey& key) const {
    const auto is_inner = [](std::int32_t at) { return (at & 7) != 0 && (at & 7) != 7; };
    if (!is_inner(key[0]) || !is_inner(key[2])) return false;
    const auto tile = tiles_.find(tile_of(key));
    return tile != tiles_.end() && tile->second->stale.size() == tile->second->blocks;
}

void CellStore::make_stale(std::int32_t slot, Stale how) {
    Block& block = blocks_[slot];
    if (block.stale == Stale::no) tiles_[tile_of(block.key)]->stale.push_back(slot);
    if (block.stale != Stale::afresh) block.stale = how;
}

// Visits a block and the 26 around it, those that exist, with their place in a Neighbourhood.
template <class Visit>
void CellStore::around(const BlockKey& key, Visit visit) const {
    TileXZ at = tile_of(key);
    const BlockColumn* tile = columns(at);
    for (int dx = -1; dx <= 1; ++dx)
        for (int dz = -1; dz <= 1; ++dz) {
            const std::int32_t i = key[0] + dx, k = key[2] + dz;
            const TileXZ here{i >> 3, k >> 3};
            if (here != at) tile = columns(at = here);
            if (!tile) continue;
            const BlockColumn& column = tile[column_in_tile(i, k)];
            for (int dy = -1; dy <= 1; ++dy) {
                const std::int32_t slot = slot_at(column, key[1] + dy);
                if (slot != kNoSlot) visit((dx + 1) * 9 + (dy + 1) * 3 + dz + 1, slot);
            }
        }
}

}  // namespace commonground
