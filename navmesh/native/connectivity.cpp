#include "connectivity.hpp"

#include <algorithm>
#include <numeric>

namespace commonground {

namespace {

constexpr int kSectorTiles = 16;
constexpr std::uint32_t kNone = 0xffffffff;

int sector_of(int tile) { return tile >= 0 ? tile / kSectorTiles : -((-tile - 1) / kSectorTiles) - 1; }

// Disjoint sets (Tarjan 1975), with path halving.
class Sets {
public:
    explicit Sets(std::size_t count) : parent_(count) { std::iota(parent_.begin(), parent_.end(), 0u); }
    std::uint32_t find(std::uint32_t i) {
        while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
        return i;
    }
    void join(std::uint32_t a, std::uint32_t b) { parent_[find(a)] = find(b); }
    // Gives each member the number of its set, counted from 0; returns how many there are.
    std::uint32_t number(std::vector<std::uint32_t>& out) {
        std::vector<std::uint32_t> of_root(parent_.size(), kNone);
        std::uint32_t count = 0;
        for (std::uint32_t i = 0; i < parent_.size(); ++i) {
            std::uint32_t& own = of_root[find(i)];
            if (own == kNone) own = count++;
            out[i] = own;
        }
        return count;
    }

private:
    std::vector<std::uint32_t> parent_;
};

}  // namespace

Connectivity::Connectivity(const dtNavMesh& mesh) : mesh_(mesh), tiles_(static_cast<std::size_t>(mesh.getMaxTiles())) {}

void Connectivity::changed(int x, int z) { stale_.insert({x, z}); }

std::uint32_t Connectivity::island_of(dtPolyRef poly) {
    if (!stale_.empty()) refresh();
    const TilePieces& tile = tiles_[mesh_.decodePolyIdTile(poly)];
    return island_[sectors_[tile.sector].first + tile.in_sector[tile.of_poly[mesh_.decodePolyIdPoly(poly)]]];
}

void Connectivity::refresh() {
    for (const Place& place : stale_) {  // all that went before all that came: slots are used again
        const auto old = slot_at_.find(place);
        if (old == slot_at_.end()) continue;
        sectors_[tiles_[old->second].sector].slots.erase(old->second);
        tiles_[old->second] = {};
        slot_at_.erase(old);
    }
    // Links are made and cut at both ends: the tiles around touch others now.
    std::set<unsigned> slots, joined, linked;
    for (const Place& place : stale_) {
        if (const dtTileRef ref = mesh_.getTileRefAt(place.first, place.second, 0)) {
            const unsigned slot = slot_at_[place] = mesh_.decodePolyIdTile(ref);
            tiles_[slot].sector = sector_around(place);
            sectors_[tiles_[slot].sector].slots.insert(slot);
        }
    }
    for (const auto& [x, z] : stale_)
        for (int dx = -1; dx <= 1; ++dx)
            for (int dz = -1; dz <= 1; ++dz) {
                joined.insert(sector_around({x + dx, z + dz}));
                if (const auto near = slot_at_.find({x + dx, z + dz}); near != slot_at_.end()) slots.insert(near->second);
            }
    stale_.clear();
    for (const unsigned slot : slots) read_tile(slot);
    for (const unsigned sector : joined) {
        join_sector(sector);
        const auto [x, z] = sectors_[sector].place;
        for (int dx = -1; dx <= 1; ++dx)
            for (int dz = -1; dz <= 1; ++dz)
                if (const auto near = sector_at_.find({x + dx, z + dz}); near != sector_at_.end()) linked.insert(near->second);
    }
    for (const unsigned sector : linked) link_sector(sector);
    join_map();
}

unsigned Connectivity::sector_around(Place tile) {
    const Place place{sector_of(tile.first), sector_of(tile.second)};
    const auto [found, is_new] = sector_at_.insert({place, static_cast<unsigned>(sectors_.size())});
    if (is_new) sectors_.emplace_back().place = place;
    return found->second;
}

// The pieces of a tile, and the polygons of other tiles that they touch.
void Connectivity::read_tile(unsigned slot) {
    const dtMeshTile& tile = *mesh_.getTile(static_cast<int>(slot));
    TilePieces& pieces = tiles_[slot];
    const unsigned count = static_cast<unsigned>(tile.header->polyCount);
    Sets sets(count);
    pieces.beyond.clear();
    for (unsigned p = 0; p < count; ++p)
        for (unsigned link = tile.polys[p].firstLink; link != DT_NULL_LINK; link = tile.links[link].next) {
            const Piece next{mesh_.decodePolyIdTile(tile.links[link].ref), mesh_.decodePolyIdPoly(tile.links[link].ref)};
            if (next.first == slot) sets.join(p, next.second);
            else pieces.beyond.push_back({p, next});
        }
    pieces.of_poly.resize(count);
    pieces.in_sector.assign(sets.number(pieces.of_poly), 0);
    for (auto& [piece, next] : pieces.beyond) piece = pieces.of_poly[piece];
}

// The pieces of a sector, out of those of its tiles.
void Connectivity::join_sector(unsigned number) {
    SectorPieces& sector = sectors_[number];
    std::uint32_t total = 0;
    for (const unsigned slot : sector.slots) {
        tiles_[slot].first = total;
        total += static_cast<std::uint32_t>(tiles_[slot].in_sector.size());
    }
    Sets sets(total);
    sector.doors.clear();
    for (const unsigned slot : sector.slots)
        for (const auto& [piece, next] : tiles_[slot].beyond) {
            const TilePieces& other = tiles_[next.first];
            if (other.sector == number) sets.join(tiles_[slot].first + piece, other.first + other.of_poly[next.second]);
            else sector.doors.push_back({tiles_[slot].first + piece, next});
        }
    std::vector<std::uint32_t> of_piece(total);
    sector.count = sets.number(of_piece);
    for (const unsigned slot : sector.slots)
        for (std::uint32_t piece = 0; piece < tiles_[slot].in_sector.size(); ++piece)
            tiles_[slot].in_sector[piece] = of_piece[tiles_[slot].first + piece];
    for (auto& [piece, next] : sector.doors) piece = of_piece[piece];
}

// Which pieces of other sectors a sector's pieces touch, each once.
void Connectivity::link_sector(unsigned number) {
    SectorPieces& sector = sectors_[number];
    sector.links.clear();
    for (const auto& [piece, next] : sector.doors) {
        const TilePieces& tile = tiles_[next.first];
        sector.links.push_back({piece, {tile.sector, tile.in_sector[tile.of_poly[next.second]]}});
    }
    std::sort(sector.links.begin(), sector.links.end());
    sector.links.erase(std::unique(sector.links.begin(), sector.links.end()), sector.links.end());
}

void Connectivity::join_map() {
    std::uint32_t total = 0;
    for (SectorPieces& sector : sectors_) {
        sector.first = total;
        total += sector.count;
    }
    Sets sets(total);
    for (const SectorPieces& sector : sectors_)
        for (const auto& [piece, next] : sector.links) sets.join(sector.first + piece, sectors_[next.first].first + next.second);
    island_.resize(total);
    sets.number(island_);
}

}  // namespace commonground
