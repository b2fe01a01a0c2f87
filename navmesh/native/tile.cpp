#include "tile.hpp"

#include "erosion.hpp"
#include "surface.hpp"

#include <DetourAlloc.h>
#include <DetourNavMesh.h>
#include <DetourNavMeshBuilder.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>

namespace commonground {

namespace {

template <auto Free>
struct Freed {
    template <class T>
    void operator()(T* pointer) const { Free(pointer); }
};
using ContoursPtr = std::unique_ptr<rcContourSet, Freed<rcFreeContourSet>>;
using PolyMeshPtr = std::unique_ptr<rcPolyMesh, Freed<rcFreePolyMesh>>;
using DetailPtr = std::unique_ptr<rcPolyMeshDetail, Freed<rcFreePolyMeshDetail>>;
using BlobPtr = std::unique_ptr<unsigned char, Freed<dtFree>>;

void require(bool done, const char* stage) {
    if (!done) throw std::runtime_error(std::string("Recast could not build the tile: ") + stage);
}

void check(const Grid& grid, const TileParams& p) {
    // rcCompactSpan keeps the clearance in 8 bits, and erosion a doubled radius in an unsigned char.
    if (p.walkable_height < 3 || p.walkable_height >= 255)
        throw std::invalid_argument("agent height must be 3 to 254 cell heights");
    if (p.walkable_radius < 0 || p.walkable_radius > 127)
        throw std::invalid_argument("agent radius must be 0 to 127 cells");
    if (p.walkable_climb < 0 || p.walkable_climb > 254)
        throw std::invalid_argument("agent climb must be 0 to 254 cell heights");
    if (p.border < 0 || 2 * p.border >= grid.width || 2 * p.border >= grid.depth)
        throw std::invalid_argument("the border leaves no tile");
    if (p.min_region_area < 0 || p.merge_region_area < 0 || p.max_edge_length < 0 || !(p.max_contour_error >= 0.0f))
        throw std::invalid_argument("region areas, edge length and contour error must not be negative");
    if (p.detail && (!(p.detail_sample_m >= 0.0f) || !(p.detail_error_m >= 0.0f)))
        throw std::invalid_argument("detail distances must not be negative");
}

// Recast sweeps each row into runs and keeps them in an array with room for one run per column, which it never checks: with
// many storeys above each other there are more.
bool sweeps_fit(const rcCompactHeightfield& compact, int border) {
    const int room = std::max(compact.width, compact.height);
    for (int z = border; z < compact.height - border; ++z) {
        int runs = 1;  // they are counted from one
        for (int x = border; x < compact.width - border; ++x) {
            const rcCompactCell& cell = compact.cells[x + z * compact.width];
            for (unsigned i = cell.index, end = cell.index + cell.count; i < end; ++i) {
                if (compact.areas[i] == RC_NULL_AREA) continue;
                const int west = rcGetCon(compact.spans[i], 0);
                const bool goes_on = x > border && west != RC_NOT_CONNECTED &&
                                     compact.areas[compact.cells[x - 1 + z * compact.width].index + west] == compact.areas[i];
                runs += !goes_on;
            }
        }
        if (runs >= room) return false;
    }
    return true;
}

void divide_into_regions(rcContext& context, rcCompactHeightfield& compact, const TileParams& p) {
    const bool by_sweeps = p.partition != Partition::watershed && sweeps_fit(compact, p.border);
    switch (by_sweeps ? p.partition : Partition::watershed) {
        case Partition::watershed:
            require(rcBuildDistanceField(&context, compact), "distance field");
            require(rcBuildRegions(&context, compact, p.border, p.min_region_area, p.merge_region_area), "regions");
            return;
        case Partition::monotone:
            require(rcBuildRegionsMonotone(&context, compact, p.border, p.min_region_area, p.merge_region_area),
                    "monotone regions");
            return;
        case Partition::layers:
            require(rcBuildLayerRegions(&context, compact, p.border, p.min_region_area), "layer regions");
            return;
    }
    throw std::invalid_argument("no such partition");
}

int vertex_count(const unsigned short* poly) {
    return static_cast<int>(std::find(poly, poly + kVertsPerPoly, RC_MESH_NULL_IDX) - poly);
}

// Twice the signed area of a polygon, in cells.
int turning(const rcPolyMesh& mesh, const unsigned short* poly) {
    const auto x = [&](int corner) { return static_cast<int>(mesh.verts[3 * poly[corner]]); };
    const auto z = [&](int corner) { return static_cast<int>(mesh.verts[3 * poly[corner] + 2]); };
    int area = 0;
    const int count = vertex_count(poly);
    for (int a = count - 1, b = 0; b < count; a = b++) area += x(a) * z(b) - x(b) * z(a);
    return area;
}

// Where a contour touches itself, a few of Recast's triangles overlap others and turn the wrong way. No ray of Detour's can be
// trusted to leave such a polygon: it goes, and what bordered on it ends there.
void drop_inverted(rcPolyMesh& mesh) {
    constexpr int stride = 2 * kVertsPerPoly;
    std::vector<int> turns(mesh.npolys);
    for (int i = 0; i < mesh.npolys; ++i) turns[i] = turning(mesh, mesh.polys + stride * i);
    const bool is_left = std::accumulate(turns.begin(), turns.end(), 0) > 0;
    std::vector<unsigned short> new_of_old(mesh.npolys, RC_MESH_NULL_IDX);
    int kept = 0;
    for (int i = 0; i < mesh.npolys; ++i) {
        if (is_left ? turns[i] < 0 : turns[i] > 0) continue;
        std::copy_n(mesh.polys + stride * i, stride, mesh.polys + stride * kept);
        mesh.regs[kept] = mesh.regs[i];
        mesh.areas[kept] = mesh.areas[i];
        new_of_old[i] = static_cast<unsigned short>(kept++);
    }
    if (kept == mesh.npolys) return;
    for (int i = 0; i < kept; ++i)
        for (int edge = 0; edge < kVertsPerPoly; ++edge) {
            unsigned short& neighbour = mesh.polys[stride * i + kVertsPerPoly + edge];
            if (neighbour != RC_MESH_NULL_IDX && !(neighbour & 0x8000)) neighbour = new_of_old[neighbour];
        }
    mesh.npolys = kept;
}

std::vector<std::uint8_t> detour_blob(const rcPolyMesh& mesh, const rcPolyMeshDetail* detail, const TileParams& p) {
    std::vector<unsigned short> flags(mesh.npolys, 1);
    dtNavMeshCreateParams create{};
    create.verts = mesh.verts;
    create.vertCount = mesh.nverts;
    create.polys = mesh.polys;
    create.polyFlags = flags.data();
    create.polyAreas = mesh.areas;
    create.polyCount = mesh.npolys;
    create.nvp = mesh.nvp;
    if (detail) {
        create.detailMeshes = detail->meshes;
        create.detailVerts = detail->verts;
        create.detailVertsCount = detail->nverts;
        create.detailTris = detail->tris;
        create.detailTriCount = detail->ntris;
    }
    create.tileX = p.tile_x;
    create.tileY = p.tile_z;
    for (int axis = 0; axis < 3; ++axis) {
        create.bmin[axis] = mesh.bmin[axis];
        create.bmax[axis] = mesh.bmax[axis];
    }
    create.walkableHeight = p.agent_height_m;
    create.walkableRadius = p.agent_radius_m;
    create.walkableClimb = p.agent_climb_m;
    create.cs = mesh.cs;
    create.ch = mesh.ch;
    create.buildBvTree = true;

    unsigned char* data = nullptr;
    int size = 0;
    require(dtCreateNavMeshData(&create, &data, &size), "Detour data");
    const BlobPtr owner(data);
    return {data, data + size};
}

// Is there anything to walk on in the tile's own square? In the border alone it makes no polygon.
bool has_ground(const Heightfield& field, int border) {
    for (int z = border; z < field.grid().depth - border; ++z) {
        const std::uint32_t end = field.starts()[field.column(field.grid().width - border, z)];
        for (std::uint32_t s = field.starts()[field.column(border, z)]; s < end; ++s)
            if (field.spans()[s].area != RC_NULL_AREA) return true;
    }
    return false;
}

Tile empty_tile(const Grid& grid, const TileParams& p) {
    const float border_m = p.border * grid.cell_size;
    Tile tile;
    tile.origin = {grid.origin[0] + border_m, grid.origin[1], grid.origin[2] + border_m};
    return tile;
}

Tile copy_polygons(const rcPolyMesh& mesh) {
    Tile tile;
    tile.origin = {mesh.bmin[0], mesh.bmin[1], mesh.bmin[2]};
    tile.verts.assign(mesh.verts, mesh.verts + 3 * mesh.nverts);
    tile.areas.assign(mesh.areas, mesh.areas + mesh.npolys);
    tile.polys.reserve(mesh.npolys * kVertsPerPoly);
    tile.neighbours.reserve(mesh.npolys * kVertsPerPoly);
    for (int i = 0; i < mesh.npolys; ++i) {
        const unsigned short* poly = mesh.polys + 2 * kVertsPerPoly * i;
        tile.polys.insert(tile.polys.end(), poly, poly + kVertsPerPoly);
        tile.neighbours.insert(tile.neighbours.end(), poly + kVertsPerPoly, poly + 2 * kVertsPerPoly);
    }
    return tile;
}

}  // namespace

Tile build_tile(const Heightfield& field, const TileParams& p) {
    check(field.grid(), p);
    rcContext context(false);
    if (!has_ground(field, p.border)) return empty_tile(field.grid(), p);

    const CompactPtr compact = walkable_surface(field, {p.walkable_height, p.walkable_climb, p.filter_low_hanging});
    require(erode(context, p.walkable_radius, *compact), "erosion by the agent's radius");
    divide_into_regions(context, *compact, p);

    const ContoursPtr contours(rcAllocContourSet());
    require(contours && rcBuildContours(&context, *compact, p.max_contour_error, p.max_edge_length, *contours),
            "contours");
    if (contours->nconts == 0) return empty_tile(field.grid(), p);
    const PolyMeshPtr mesh(rcAllocPolyMesh());
    require(mesh && rcBuildPolyMesh(&context, *contours, kVertsPerPoly, *mesh), "polygons");
    drop_inverted(*mesh);
    if (mesh->npolys == 0) return empty_tile(field.grid(), p);
    DetailPtr detail;
    if (p.detail) {
        detail.reset(rcAllocPolyMeshDetail());
        require(detail && rcBuildPolyMeshDetail(&context, *mesh, *compact, p.detail_sample_m, p.detail_error_m, *detail),
                "detail heights");
    }
    Tile tile = copy_polygons(*mesh);
    tile.blob = detour_blob(*mesh, detail.get(), p);
    return tile;
}

}  // namespace commonground
