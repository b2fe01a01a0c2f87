#include "world.hpp"

#include "blob.hpp"

#include <DetourAlloc.h>
#include <DetourCommon.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <unordered_set>

namespace commonground {

namespace {

bool is_finite(const Point& point) {
    return std::all_of(point.begin(), point.end(), [](float value) { return std::isfinite(value); });
}

void check_query(const Point& point, const Point& half_extents) {
    if (!is_finite(point) || !is_finite(half_extents)) throw std::invalid_argument("query points must be finite");
    for (float extent : half_extents)
        if (extent <= 0.0f) throw std::invalid_argument("search distances must be positive");
}

// Finds the walkable point nearest to a place within a box around it. (Detour's own search accepts any point of a
// polygon whose bounding box touches the search box, however far away.)
class NearestInBox : public dtPolyQuery {
public:
    NearestInBox(const dtNavMeshQuery& query, const Point& center, const Point& half_extents,
                 std::function<bool(dtPolyRef)> accepts)
        : query_(query), center_(center), half_extents_(half_extents), accepts_(std::move(accepts)) {}

    void process(const dtMeshTile* tile, dtPoly**, dtPolyRef* refs, int count) override {
        for (int i = 0; i < count; ++i) {
            Point closest;
            bool is_over = false;
            query_.closestPointOnPoly(refs[i], center_.data(), closest.data(), &is_over);
            if (!is_in_box(closest) || (accepts_ && !accepts_(refs[i]))) continue;
            // A polygon one stands above wins over a nearer edge, as long as the agent could step down to it.
            const float drop = std::fabs(center_[1] - closest[1]) - tile->header->walkableClimb;
            const float distance = is_over ? dtSqr(std::max(drop, 0.0f)) : dtVdistSqr(center_.data(), closest.data());
            if (distance < best_distance_) {
                best_distance_ = distance;
                poly = refs[i];
                point = closest;
            }
        }
    }

    dtPolyRef poly = 0;
    Point point{};

private:
    bool is_in_box(const Point& place) const {
        constexpr float kSlack = 1e-3f;
        for (int axis = 0; axis < 3; ++axis)
            if (!(std::fabs(place[axis] - center_[axis]) <= half_extents_[axis] + kSlack)) return false;
        return true;
    }

    const dtNavMeshQuery& query_;
    const Point center_, half_extents_;
    const std::function<bool(dtPolyRef)> accepts_;
    float best_distance_ = FLT_MAX;
};

}  // namespace

World::World(const WorldParams& params)
    : mesh_(dtAllocNavMesh(), dtFreeNavMesh), query_(dtAllocNavMeshQuery(), dtFreeNavMeshQuery) {
    if (params.tile_bits < 1 || params.poly_bits < 1 || params.tile_bits + params.poly_bits > 22)
        throw std::invalid_argument("tile bits and polygon bits must be positive and at most 22 together");
    if (!is_finite(params.origin) || !std::isfinite(params.tile_size_m) || params.tile_size_m <= 0.0f)
        throw std::invalid_argument("origin and tile size must be finite, the size positive");
    if (params.max_nodes < 1 || params.max_nodes > 65535)
        throw std::invalid_argument("a search has 1 to 65535 nodes");
    dtNavMeshParams mesh{};
    std::copy(params.origin.begin(), params.origin.end(), mesh.orig);
    mesh.tileWidth = mesh.tileHeight = params.tile_size_m;
    mesh.maxTiles = 1 << params.tile_bits;
    mesh.maxPolys = 1 << params.poly_bits;
    if (!mesh_ || !query_ || dtStatusFailed(mesh_->init(&mesh)) ||
        dtStatusFailed(query_->init(mesh_.get(), params.max_nodes)))
        throw std::bad_alloc();
    for (const auto& [area, cost] : params.area_costs) {
        if (area < 0 || area >= DT_MAX_AREAS) throw std::invalid_argument("an area is 0 to 63");
        if (!(cost >= 1.0f) || !std::isfinite(cost)) throw std::invalid_argument("an area's cost is at least 1");
        priced_.setAreaCost(area, cost);
    }
    max_path_ = params.max_nodes;
    corridor_.resize(static_cast<std::size_t>(max_path_));
    connectivity_.emplace(*mesh_);
    revisions_.resize(static_cast<std::size_t>(mesh.maxTiles));
}

void World::set_tile(const std::uint8_t* data, std::size_t size, int x, int z, std::uint32_t revision) {
    check_blob(data, size);
    dtMeshHeader header;
    std::memcpy(&header, data, sizeof header);
    if (header.x != x || header.y != z || header.layer != 0)
        throw std::invalid_argument("the blob belongs to another tile");
    const std::lock_guard<std::mutex> lock(mutex_);
    const dtNavMeshParams& params = *mesh_->getParams();
    if (header.polyCount > params.maxPolys)
        throw std::invalid_argument("the tile has more polygons than this world allows");
    const dtTileRef old = mesh_->getTileRefAt(x, z, 0);
    if (!old && tile_count_ == params.maxTiles) throw std::invalid_argument("the world has no room for another tile");

    // Detour writes links into the buffer it is given, so it gets one of its own.
    auto* copy = static_cast<unsigned char*>(dtAlloc(static_cast<int>(size), DT_ALLOC_PERM));
    if (!copy) throw std::bad_alloc();
    std::memcpy(copy, data, size);
    if (old) mesh_->removeTile(old, nullptr, nullptr);
    dtTileRef added = 0;
    if (dtStatusFailed(mesh_->addTile(copy, static_cast<int>(size), DT_TILE_FREE_DATA, 0, &added))) {
        dtFree(copy);
        tile_count_ -= old != 0;
        connectivity_->changed(x, z);
        throw std::invalid_argument("Detour refused the tile");
    }
    revisions_[mesh_->decodePolyIdTile(added)] = revision;
    tile_count_ += old == 0;
    connectivity_->changed(x, z);
}

bool World::remove_tile(int x, int z) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const dtTileRef tile = mesh_->getTileRefAt(x, z, 0);
    if (!tile) return false;
    mesh_->removeTile(tile, nullptr, nullptr);
    --tile_count_;
    connectivity_->changed(x, z);
    return true;
}

int World::tile_count() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return tile_count_;
}

std::optional<Nearest> World::nearest(const Point& point, const Point& half_extents) const {
    check_query(point, half_extents);
    const std::lock_guard<std::mutex> lock(mutex_);
    const Anchor found = anchor(point, half_extents);
    if (!found.poly) return std::nullopt;
    unsigned char area = 0;
    mesh_->getPolyArea(found.poly, &area);
    return Nearest{found.point, tile_of(found.poly), area};
}

bool World::reachable(const Point& from, const Point& to, const Point& half_extents) const {
    check_query(from, half_extents);
    check_query(to, half_extents);
    const std::lock_guard<std::mutex> lock(mutex_);
    const Anchor start = anchor(from, half_extents), goal = anchor(to, half_extents);
    return start.poly && goal.poly && connectivity_->island_of(start.poly) == connectivity_->island_of(goal.poly);
}

PathResult World::path(const Point& from, const Point& to, const Point& half_extents) const {
    check_query(from, half_extents);
    check_query(to, half_extents);
    const std::lock_guard<std::mutex> lock(mutex_);
    PathResult result;
    const Anchor start = anchor(from, half_extents);
    if (!start.poly) return result;
    Anchor goal = anchor(to, half_extents);
    // An island that cannot be reached would make the search visit everything that can: ask the labels first.
    bool reached = goal.poly && connectivity_->island_of(goal.poly) == connectivity_->island_of(start.poly);
    if (!reached) {
        const std::uint32_t home = connectivity_->island_of(start.poly);
        goal = anchor(to, half_extents, [&](dtPolyRef poly) { return connectivity_->island_of(poly) == home; });
    }
    if (!goal.poly) return result;

    std::vector<dtPolyRef>& corridor = corridor_;
    int corridor_size = 0;
    query_->findPath(start.poly, goal.poly, start.point.data(), goal.point.data(), &priced_, corridor.data(),
                     &corridor_size, max_path_);
    if (corridor_size == 0) return result;
    if (corridor[corridor_size - 1] != goal.poly) {  // the search ran out of nodes
        reached = false;
        Point clamped;
        query_->closestPointOnPoly(corridor[corridor_size - 1], goal.point.data(), clamped.data(), nullptr);
        goal.point = clamped;
    }
    // A string-pulled path turns at most once in each polygon it passes.
    const int most_points = corridor_size + 2;
    std::vector<float> straight(3 * static_cast<std::size_t>(most_points));
    int points = 0;
    query_->findStraightPath(start.point.data(), goal.point.data(), corridor.data(), corridor_size, straight.data(),
                             nullptr, nullptr, &points, most_points);
    for (int i = 0; i < points; ++i) result.points.push_back({straight[3 * i], straight[3 * i + 1], straight[3 * i + 2]});
    result.tiles = tiles_of(corridor.data(), corridor_size);
    result.partial = !reached;
    return result;
}

std::optional<RayResult> World::raycast(const Point& from, const Point& to, const Point& half_extents) const {
    check_query(from, half_extents);
    check_query(to, half_extents);
    const std::lock_guard<std::mutex> lock(mutex_);
    const Anchor start = anchor(from, half_extents);
    if (!start.poly) return std::nullopt;
    std::vector<dtPolyRef>& passed = corridor_;
    dtRaycastHit hit{};
    hit.path = passed.data();
    hit.maxPath = max_path_;
    if (dtStatusFailed(query_->raycast(start.poly, start.point.data(), to.data(), &filter_, 0, &hit, 0)))
        return std::nullopt;
    RayResult result;
    result.blocked = hit.t < 1.0f;
    result.hit = to;
    if (result.blocked) dtVlerp(result.hit.data(), start.point.data(), to.data(), hit.t);
    if (hit.pathCount) {  // the ray runs in the plane: stand its end on the surface again
        float height = result.hit[1];
        if (dtStatusSucceed(query_->getPolyHeight(passed[hit.pathCount - 1], result.hit.data(), &height)))
            result.hit[1] = height;
    }
    const Anchor goal = result.blocked ? Anchor{} : anchor(to, half_extents);
    result.sees = goal.poly && std::fabs(goal.point[1] - result.hit[1]) <= climb_of(goal.poly);
    result.tiles = tiles_of(passed.data(), hit.pathCount);
    return result;
}

std::optional<ReachResult> World::reach(const Point& from, float within_m, const Point& half_extents) const {
    check_query(from, half_extents);
    if (!(within_m > 0.0f) || !std::isfinite(within_m)) throw std::invalid_argument("the walk must be positive");
    const std::lock_guard<std::mutex> lock(mutex_);
    const Anchor start = anchor(from, half_extents);
    if (!start.poly) return std::nullopt;
    std::vector<dtPolyRef>& polys = corridor_;
    std::vector<float> walk_m(polys.size());
    int count = 0;
    const dtStatus status = query_->findPolysAroundCircle(start.poly, start.point.data(), within_m, &filter_,
                                                          polys.data(), nullptr, walk_m.data(), &count, max_path_);
    ReachResult result;
    result.cut = dtStatusDetail(status, DT_OUT_OF_NODES) || dtStatusDetail(status, DT_BUFFER_TOO_SMALL);
    std::vector<dtPolyRef> near;
    for (int i = 0; i < count; ++i) {
        if (walk_m[i] > within_m) continue;
        near.push_back(polys[i]);
        result.walk_m.push_back(walk_m[i]);
        result.polygon.push_back(static_cast<std::int32_t>(mesh_->decodePolyIdPoly(polys[i])));
    }
    std::vector<std::int32_t> number(static_cast<std::size_t>(mesh_->getMaxTiles()), -1);
    for (const dtPolyRef poly : near) {
        std::int32_t& tile = number[mesh_->decodePolyIdTile(poly)];
        if (tile < 0) {
            tile = static_cast<std::int32_t>(result.tiles.size());
            result.tiles.push_back(tile_of(poly));
        }
        result.tile_of.push_back(tile);
    }
    return result;
}

World::Anchor World::anchor(const Point& point, const Point& half_extents,
                            const std::function<bool(dtPolyRef)>& accepts) const {
    NearestInBox nearest(*query_, point, half_extents, accepts);
    query_->queryPolygons(point.data(), half_extents.data(), &filter_, &nearest);
    return {nearest.poly, nearest.point};
}

TileUse World::tile_of(dtPolyRef poly) const {
    const unsigned slot = mesh_->decodePolyIdTile(poly);
    const dtMeshHeader& header = *const_mesh().getTile(static_cast<int>(slot))->header;
    return {header.x, header.y, revisions_[slot]};
}

std::vector<TileUse> World::tiles_of(const dtPolyRef* polys, int count) const {
    std::vector<TileUse> tiles;
    std::unordered_set<unsigned> met;
    for (int i = 0; i < count; ++i)
        if (met.insert(mesh_->decodePolyIdTile(polys[i])).second) tiles.push_back(tile_of(polys[i]));
    return tiles;
}

float World::climb_of(dtPolyRef poly) const {
    return const_mesh().getTile(static_cast<int>(mesh_->decodePolyIdTile(poly)))->header->walkableClimb;
}

}  // namespace commonground
