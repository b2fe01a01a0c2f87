// What hangs together in a Detour navmesh, kept up to date tile by tile: a change costs the tile, its neighbours and
// their sector, never the whole map.
#pragma once

#include <DetourNavMesh.h>

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace commonground {

// Three levels: the pieces of a tile (polygons that hang together inside it), the pieces of a sector of 16 x 16 tiles,
// and the islands of the map. Only what a change has made stale is joined anew, by the first question after it.
class Connectivity {
public:
    explicit Connectivity(const dtNavMesh& mesh);

    // The tile at (x, z) came, went or was replaced. Call it after the navmesh has done it.
    void changed(int x, int z);

    // The island that a polygon belongs to: equal numbers hang together. Valid until the next change.
    std::uint32_t island_of(dtPolyRef poly);

private:
    using Place = std::pair<int, int>;           // x, z of a tile, or of a sector
    using Piece = std::pair<unsigned, unsigned>;  // tile slot and polygon; sector and piece of it

    struct TilePieces {
        unsigned sector = 0;
        std::uint32_t first = 0;                        // number of its piece 0 within the sector
        std::vector<std::uint32_t> of_poly;
        std::vector<std::uint32_t> in_sector;           // of each piece: the piece of the sector it belongs to
        std::vector<std::pair<unsigned, Piece>> beyond;  // piece, and polygon of another tile that it touches
    };
    struct SectorPieces {
        Place place{};
        std::set<unsigned> slots;
        std::uint32_t count = 0;
        std::vector<std::pair<unsigned, Piece>> doors;  // piece, and polygon of a tile outside that it touches
        std::vector<std::pair<unsigned, Piece>> links;  // piece, and piece of another sector that it touches
        std::uint32_t first = 0;                        // number of its piece 0 among those of all sectors
    };

    void refresh();
    unsigned sector_around(Place tile);
    void read_tile(unsigned slot);
    void join_sector(unsigned sector);
    void link_sector(unsigned sector);
    void join_map();

    const dtNavMesh& mesh_;
    std::vector<TilePieces> tiles_;  // by slot
    std::vector<SectorPieces> sectors_;
    std::map<Place, unsigned> sector_at_, slot_at_;
    std::set<Place> stale_;
    std::vector<std::uint32_t> island_;  // of each piece of each sector
};

}  // namespace commonground
