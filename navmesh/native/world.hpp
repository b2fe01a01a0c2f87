// A live Detour navmesh: tiles come and go by their bytes, queries run in between.
#pragma once

#include "connectivity.hpp"

#include <DetourNavMesh.h>
#include <DetourNavMeshQuery.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace commonground {

using Point = std::array<float, 3>;
using TileXZ = std::array<int, 2>;

// A tile that an answer rests on, and the revision it had.
struct TileUse {
    int x, z;
    std::uint32_t revision;
};

struct WorldParams {
    Point origin{};
    float tile_size_m = 3.2f;
    int tile_bits = 12;  // 2^tile_bits tiles of 2^poly_bits polygons; Detour needs the sum to be at most 22
    int poly_bits = 10;
    int max_nodes = 16384;  // how much one search may explore
    std::vector<std::pair<int, float>> area_costs;  // what a metre on an area counts for in a path; 1 if it is not named
};

struct Nearest {
    Point point;
    TileUse tile;
    int area;
};

struct PathResult {
    std::vector<Point> points;  // string-pulled, both ends included; empty when there is nowhere to stand
    std::vector<TileUse> tiles;  // those the corridor passes, in order, without repeats
    bool partial = true;        // the last point is not the goal
};

struct RayResult {
    Point hit;      // where the ray left the walkable surface, or its end
    bool blocked;
    bool sees;      // not blocked, and the end stands on the floor that the ray ended on
    std::vector<TileUse> tiles;
};

// Polygons within a walk of some length, the nearest first. All vectors but `tiles` are of one length.
struct ReachResult {
    std::vector<std::int32_t> tile_of;  // index into `tiles`
    std::vector<std::int32_t> polygon;  // index within its tile
    std::vector<float> walk_m;          // to the middle of the edge over which it is entered
    std::vector<TileUse> tiles;
    bool cut = false;  // there is more than a search may explore
};

// Every method takes the world's lock, so threads may call them without Python's.
class World {
public:
    explicit World(const WorldParams& params);  // throws std::invalid_argument

    // Add or replace a tile; an untouched copy of the bytes is not needed afterwards.
    // Throws std::invalid_argument when the blob is corrupt, is not of tile (x, z), or does not fit into this world.
    void set_tile(const std::uint8_t* data, std::size_t size, int x, int z, std::uint32_t revision);
    bool remove_tile(int x, int z);
    int tile_count() const;

    std::optional<Nearest> nearest(const Point& point, const Point& half_extents) const;
    PathResult path(const Point& from, const Point& to, const Point& half_extents) const;
    std::optional<RayResult> raycast(const Point& from, const Point& to, const Point& half_extents) const;
    bool reachable(const Point& from, const Point& to, const Point& half_extents) const;
    std::optional<ReachResult> reach(const Point& from, float within_m, const Point& half_extents) const;

private:
    struct Anchor {
        dtPolyRef poly = 0;
        Point point{};
    };

    Anchor anchor(const Point& point, const Point& half_extents,
                  const std::function<bool(dtPolyRef)>& accepts = nullptr) const;
    TileUse tile_of(dtPolyRef poly) const;
    std::vector<TileUse> tiles_of(const dtPolyRef* polys, int count) const;
    float climb_of(dtPolyRef poly) const;
    const dtNavMesh& const_mesh() const { return *mesh_; }

    mutable std::mutex mutex_;
    std::unique_ptr<dtNavMesh, void (*)(dtNavMesh*)> mesh_;
    std::unique_ptr<dtNavMeshQuery, void (*)(dtNavMeshQuery*)> query_;
    dtQueryFilter filter_, priced_;  // every metre counts alike; as the areas' costs say
    int max_path_;
    mutable std::vector<dtPolyRef> corridor_;  // of the query that holds the lock
    int tile_count_ = 0;
    std::vector<std::uint32_t> revisions_;  // per tile slot
    mutable std::optional<Connectivity> connectivity_;  // brought up to date by the first query after a change
};

}  // namespace commonground
