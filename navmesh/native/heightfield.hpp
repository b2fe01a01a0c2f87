// A grid of columns, each a stack of solid spans: what tiles are built from.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace commonground {

// One solid interval of a column: cells smin .. smax - 1 above the field's floor; area 0 = cannot be walked on.
struct Span {
    std::uint16_t x, z, smin, smax, area;
};

// The same, within its column.
struct ColumnSpan {
    std::uint16_t low, high;
    std::uint8_t area;
};

struct Grid {
    int width, depth;             // cells along x and z
    std::array<float, 3> origin;  // world position of the low corner of cell (0, 0) at height 0
    float cell_size, cell_height;
    int max_height;  // cell heights

    std::array<float, 3> far_corner() const {
        return {origin[0] + width * cell_size, origin[1] + max_height * cell_height, origin[2] + depth * cell_size};
    }
};

class Heightfield {
public:
    // Throws std::invalid_argument when the grid is empty or a size is not positive and finite.
    explicit Heightfield(const Grid& grid);

    // Spans that touch become one, in which the higher area wins if their tops are at most a cell apart.
    // Throws std::invalid_argument when a span lies outside the grid or is empty, or a column would overflow.
    void add_spans(const Span* spans, std::size_t count);

    // Spans of triangles, for meshes that never were voxels. Throws std::invalid_argument on an index out of range.
    void rasterize(const float* vertices, std::size_t vertex_count, const std::int32_t* triangles,
                   std::size_t triangle_count, float max_slope_deg, int merge_climb);

    std::vector<Span> list() const;

    const Grid& grid() const { return grid_; }
    std::size_t column(int x, int z) const { return static_cast<std::size_t>(z) * grid_.width + x; }
    // Of each column, z first, and the end: where its spans begin. They ascend, and none touches the next.
    const std::vector<std::uint32_t>& starts() const { return starts_; }
    const std::vector<ColumnSpan>& spans() const { return spans_; }

private:
    void merge_touching();

    Grid grid_;
    std::vector<std::uint32_t> starts_;
    std::vector<ColumnSpan> spans_;
};

}  // namespace commonground
