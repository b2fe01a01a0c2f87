#include "blob.hpp"

#include <DetourCommon.h>
#include <DetourNavMesh.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace commonground {

namespace {

constexpr int kMaxCount = 0xffff;  // verts and polys are named by 16 bits

constexpr float kFarthest = 1e6f;  // metres; squared distances between such points stay far from infinity

bool is_place(float value) { return std::fabs(value) <= kFarthest; }

void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(std::string("not a Detour tile: ") + what);
}

std::size_t padded(std::size_t bytes) { return static_cast<std::size_t>(dtAlign4(static_cast<int>(bytes))); }

// The sections of a blob, in Detour's order, copied out so that alignment never matters.
class Reader {
public:
    Reader(const std::uint8_t* data, std::size_t size) : at_(data), left_(size) {}

    template <class T>
    std::vector<T> section(int count) {
        std::vector<T> items(static_cast<std::size_t>(count));
        const std::size_t bytes = sizeof(T) * items.size();
        require(padded(bytes) <= left_, "it is cut short");
        if (bytes) std::memcpy(items.data(), at_, bytes);
        at_ += padded(bytes);
        left_ -= padded(bytes);
        return items;
    }

    std::size_t left() const { return left_; }

private:
    const std::uint8_t* at_;
    std::size_t left_;
};

void check_header(const dtMeshHeader& header) {
    require(header.magic == DT_NAVMESH_MAGIC, "wrong magic number (or wrong byte order)");
    require(header.version == DT_NAVMESH_VERSION, "wrong version");
    const int counts[] = {header.polyCount,       header.vertCount,     header.maxLinkCount, header.detailMeshCount,
                          header.detailVertCount, header.detailTriCount, header.bvNodeCount};
    for (int count : counts) require(count >= 0 && count <= 64 * kMaxCount, "a count is out of range");
    require(header.polyCount > 0 && header.polyCount <= kMaxCount, "it has no polygons or too many");
    require(header.vertCount >= 3 && header.vertCount <= kMaxCount, "it has no vertices or too many");
    require(header.detailMeshCount == header.polyCount, "detail meshes do not match polygons");
    require(header.offMeshConCount == 0 && header.offMeshBase == header.polyCount, "it has off-mesh links");
    require(header.bvNodeCount <= 2 * header.polyCount, "its bounding tree is too large");
    for (int axis = 0; axis < 3; ++axis)
        require(is_place(header.bmin[axis]) && is_place(header.bmax[axis]), "its bounds are nowhere");
    require(is_place(header.bvQuantFactor) && is_place(header.walkableClimb), "its header makes no sense");
}

// Returns how many links the tile's own edges need: connecting a tile takes them from a list that must not run dry.
int check_polys(const std::vector<dtPoly>& polys, const dtMeshHeader& header) {
    int links = 0;
    for (const dtPoly& poly : polys) {
        require(poly.vertCount >= 3 && poly.vertCount <= DT_VERTS_PER_POLYGON, "a polygon has a wrong vertex count");
        require(poly.getType() == DT_POLYTYPE_GROUND, "a polygon is not ground");
        for (int edge = 0; edge < poly.vertCount; ++edge) {
            require(poly.verts[edge] < header.vertCount, "a polygon names a vertex that does not exist");
            const unsigned short neighbour = poly.neis[edge];
            if (neighbour & DT_EXT_LINK) continue;
            require(neighbour <= header.polyCount, "a polygon names a neighbour that does not exist");
            links += neighbour != 0;
        }
    }
    return links;
}

// Twice the area, in the xz plane, of the triangle of three vertices; its sign is the way they turn.
float turn(const std::vector<float>& verts, unsigned short a, unsigned short b, unsigned short c) {
    const float *p = &verts[3 * a], *q = &verts[3 * b], *r = &verts[3 * c];
    return (q[0] - p[0]) * (r[2] - p[2]) - (r[0] - p[0]) * (q[2] - p[2]);
}

bool shares_edge(const dtPoly& poly, unsigned short from, unsigned short to, std::size_t neighbour) {
    for (int edge = 0; edge < poly.vertCount; ++edge)
        if (poly.neis[edge] == neighbour + 1 && poly.verts[edge] == from &&
            poly.verts[(edge + 1) % poly.vertCount] == to)
            return true;
    return false;
}

// Detour walks a ray from polygon to polygon without counting its steps. It arrives because polygons are convex, all turn
// the same way, and neighbours share the edge between them; a tile that breaks this can keep it going round for ever.
void check_shapes(const std::vector<dtPoly>& polys, const std::vector<float>& verts) {
    constexpr float kFlat = 1e-4f;  // m^2: rounding may bend a straight edge by so much
    float way = 0.0f;
    for (std::size_t i = 0; i < polys.size(); ++i) {
        const dtPoly& poly = polys[i];
        float area = 0.0f, least = 0.0f, most = 0.0f;
        for (int edge = 0; edge < poly.vertCount; ++edge) {
            const unsigned short a = poly.verts[edge], b = poly.verts[(edge + 1) % poly.vertCount];
            const float bend = turn(verts, a, b, poly.verts[(edge + 2) % poly.vertCount]);
            least = std::fmin(least, bend);
            most = std::fmax(most, bend);
            area += turn(verts, poly.verts[0], a, b);
            const unsigned short neighbour = poly.neis[edge];
            if (neighbour == 0 || (neighbour & DT_EXT_LINK)) continue;
            require(shares_edge(polys[neighbour - 1], b, a, i), "neighbours do not share an edge");
        }
        require(least >= -kFlat || most <= kFlat, "a polygon is not convex");
        if (std::fabs(area) <= kFlat) continue;  // Recast makes slivers now and then; a ray leaves them where it came in
        if (way == 0.0f) way = area;
        require((area > 0) == (way > 0), "a polygon turns the wrong way");
    }
}

void check_detail(const std::vector<dtPolyDetail>& details, const std::vector<dtPoly>& polys,
                  const std::vector<unsigned char>& triangles, const dtMeshHeader& header) {
    for (std::size_t i = 0; i < details.size(); ++i) {
        const dtPolyDetail& detail = details[i];
        require(detail.vertBase <= static_cast<unsigned>(header.detailVertCount) &&
                    detail.vertBase + detail.vertCount <= static_cast<unsigned>(header.detailVertCount),
                "detail vertices out of range");
        require(detail.triBase <= static_cast<unsigned>(header.detailTriCount) &&
                    detail.triBase + detail.triCount <= static_cast<unsigned>(header.detailTriCount),
                "detail triangles out of range");
        const int corners = polys[i].vertCount + detail.vertCount;
        int rim_edges = 0;
        for (unsigned t = detail.triBase; t < detail.triBase + detail.triCount; ++t)
            for (int corner = 0; corner < 3; ++corner) {
                require(triangles[4 * t + corner] < corners, "a detail triangle names a vertex that does not exist");
                rim_edges += (dtGetDetailTriEdgeFlags(triangles[4 * t + 3], corner) & DT_DETAIL_EDGE_BOUNDARY) != 0;
            }
        // Detour looks for the rim edge nearest to a point and takes it for granted that there is one.
        require(rim_edges > 0, "a detail mesh has no rim");
    }
}

void check_bounding_tree(const std::vector<dtBVNode>& nodes, const dtMeshHeader& header) {
    const int count = static_cast<int>(nodes.size());
    for (int i = 0; i < count; ++i) {
        const int leaf_or_escape = nodes[i].i;
        require(leaf_or_escape < header.polyCount, "its bounding tree names a polygon that does not exist");
        // A negative entry says how far to jump over a subtree; the jump must move forward and end inside the tree.
        require(leaf_or_escape >= 0 || (leaf_or_escape >= -count && i - leaf_or_escape <= count),
                "its bounding tree leaves the tree");
    }
}

}  // namespace

void check_blob(const std::uint8_t* data, std::size_t size) {
    Reader reader(data, size);
    const dtMeshHeader header = reader.section<dtMeshHeader>(1)[0];
    check_header(header);
    const auto verts = reader.section<float>(3 * header.vertCount);
    for (float value : verts) require(is_place(value), "a vertex is nowhere");
    const auto polys = reader.section<dtPoly>(header.polyCount);
    const int links = check_polys(polys, header);
    require(header.maxLinkCount >= links, "it has too few links");
    check_shapes(polys, verts);
    reader.section<dtLink>(header.maxLinkCount);
    const auto details = reader.section<dtPolyDetail>(header.detailMeshCount);
    const auto detail_verts = reader.section<float>(3 * header.detailVertCount);
    for (float value : detail_verts) require(is_place(value), "a detail vertex is nowhere");
    const auto triangles = reader.section<unsigned char>(4 * header.detailTriCount);
    check_detail(details, polys, triangles, header);
    check_bounding_tree(reader.section<dtBVNode>(header.bvNodeCount), header);
    require(reader.left() == 0, "bytes are left over");
}

}  // namespace commonground
