// A grid of columns, each a stack of solid spans: what Recast builds tiles from.
#pragma once

#include <Recast.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace commonground {

// One solid interval of a column: cells smin .. smax - 1 above the field's floor; area 0 = cannot be walked on.
struct Span {
    std::uint16_t x, z, smin, smax, area;
};

struct FreeHeightfield {
    void operator()(rcHeightfield* field) const { rcFreeHeightField(field); }
};
using HeightfieldPtr = std::unique_ptr<rcHeightfield, FreeHeightfield>;

struct Grid {
    int width, depth;             // cells along x and z
    std::array<float, 3> origin;  // world position of the low corner of cell (0, 0) at height 0
    float cell_size, cell_height;
    int max_height;  // cell heights
};

// Throws std::invalid_argument when the grid is empty or a size is not positive and finite.
HeightfieldPtr make_heightfield(const Grid& grid);

// Throws std::invalid_argument when a span lies outside the grid or is empty, or a column would overflow.
void add_spans(rcHeightfield& field, const Span* spans, std::size_t count);

// Spans of triangles, for meshes that never were voxels. Throws std::invalid_argument on an index out of range.
void rasterize(rcHeightfield& field, const float* vertices, std::size_t vertex_count, const std::int32_t* triangles,
               std::size_t triangle_count, float max_slope_deg, int merge_climb);

std::vector<Span> list_spans(const rcHeightfield& field);

// Does this library's low-height filter refuse a clearance of exactly `height` cells? (It did until 2023, by mistake.)
bool low_height_filter_is_strict();

}  // namespace commonground
