#include "heightfield.hpp"

#include <Recast.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>

namespace commonground {

namespace {

constexpr int kMaxSide = 4096;
constexpr unsigned kMaxSpansPerColumn = 255;  // rcCompactCell counts a column's spans in 8 bits
constexpr int kMaxArea = 63;

bool is_positive(float value) { return std::isfinite(value) && value > 0.0f; }

struct FreeField {
    void operator()(rcHeightfield* field) const { rcFreeHeightField(field); }
};

// Puts a span into an ascending column: those that it touches become one with it.
void insert(std::vector<ColumnSpan>& column, ColumnSpan span) {
    const auto begin = std::find_if(column.begin(), column.end(), [&](const ColumnSpan& s) { return s.high >= span.low; });
    auto end = begin;
    for (; end != column.end() && end->low <= span.high; ++end) {
        span.low = std::min(span.low, end->low);
        span.high = std::max(span.high, end->high);
        if (span.high - end->high <= 1) span.area = std::max(span.area, end->area);
    }
    column.insert(column.erase(begin, end), span);
}

}  // namespace

Heightfield::Heightfield(const Grid& grid) : grid_(grid) {
    if (grid.width < 1 || grid.depth < 1 || grid.width > kMaxSide || grid.depth > kMaxSide)
        throw std::invalid_argument("a heightfield has 1 to 4096 cells on a side");
    if (!is_positive(grid.cell_size) || !is_positive(grid.cell_height))
        throw std::invalid_argument("cell size and cell height must be positive");
    if (grid.max_height < 1 || grid.max_height > RC_SPAN_MAX_HEIGHT)
        throw std::invalid_argument("a heightfield is 1 to 8191 cell heights tall");
    for (float value : grid.origin)
        if (!std::isfinite(value)) throw std::invalid_argument("the heightfield's origin must be finite");
    starts_.assign(column(0, grid.depth) + 1, 0);
}

void Heightfield::add_spans(const Span* spans, std::size_t count) {
    if (!spans_.empty()) {
        std::vector<Span> all = list();
        all.insert(all.end(), spans, spans + count);
        spans_.clear();
        return add_spans(all.data(), all.size());
    }
    std::vector<std::uint32_t> next(starts_.size() + 1, 0);  // how many a column has, one place further on
    for (std::size_t i = 0; i < count; ++i) {
        const Span& span = spans[i];
        if (span.x >= grid_.width || span.z >= grid_.depth)
            throw std::invalid_argument("a span lies outside the heightfield");
        if (span.smin >= span.smax || span.smax > RC_SPAN_MAX_HEIGHT)
            throw std::invalid_argument("a span is empty or reaches above 8191 cell heights");
        if (span.area > kMaxArea) throw std::invalid_argument("an area is 0 to 63");
        if (++next[column(span.x, span.z) + 2] > kMaxSpansPerColumn)
            throw std::invalid_argument("more than 255 spans in one column");
    }
    for (std::size_t i = 1; i < next.size(); ++i) next[i] += next[i - 1];
    spans_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
        const Span& span = spans[i];
        spans_[next[column(span.x, span.z) + 1]++] = {span.smin, span.smax, static_cast<std::uint8_t>(span.area)};
    }
    starts_.assign(next.begin(), next.end() - 1);
    merge_touching();
}

// Most columns come in order; where one does not, its spans are put in one by one, and all that follow close up.
void Heightfield::merge_touching() {
    std::vector<ColumnSpan> column;
    std::uint32_t kept = 0;
    for (std::size_t c = 0; c + 1 < starts_.size(); ++c) {
        const std::uint32_t begin = starts_[c], end = starts_[c + 1];
        starts_[c] = kept;
        bool is_ascending = true;
        for (std::uint32_t s = begin + 1; s < end; ++s) is_ascending &= spans_[s - 1].high < spans_[s].low;
        if (is_ascending) {
            if (kept != begin) std::copy(spans_.begin() + begin, spans_.begin() + end, spans_.begin() + kept);
            kept += end - begin;
            continue;
        }
        column.clear();
        for (std::uint32_t s = begin; s < end; ++s) insert(column, spans_[s]);
        std::copy(column.begin(), column.end(), spans_.begin() + kept);
        kept += static_cast<std::uint32_t>(column.size());
    }
    starts_.back() = kept;
    spans_.resize(kept);
}

void Heightfield::rasterize(const float* vertices, std::size_t vertex_count, const std::int32_t* triangles,
                            std::size_t triangle_count, float max_slope_deg, int merge_climb) {
    for (std::size_t i = 0; i < vertex_count * 3; ++i)
        if (!std::isfinite(vertices[i])) throw std::invalid_argument("a vertex is not finite");
    for (std::size_t i = 0; i < triangle_count * 3; ++i)
        if (triangles[i] < 0 || static_cast<std::size_t>(triangles[i]) >= vertex_count)
            throw std::invalid_argument("a triangle names a vertex that does not exist");
    rcContext context(false);
    const std::unique_ptr<rcHeightfield, FreeField> field(rcAllocHeightfield());
    if (!field || !rcCreateHeightfield(&context, *field, grid_.width, grid_.depth, grid_.origin.data(),
                                       grid_.far_corner().data(), grid_.cell_size, grid_.cell_height))
        throw std::bad_alloc();
    std::vector<unsigned char> areas(triangle_count, 0);
    rcMarkWalkableTriangles(&context, max_slope_deg, vertices, static_cast<int>(vertex_count), triangles,
                            static_cast<int>(triangle_count), areas.data());
    if (!rcRasterizeTriangles(&context, vertices, static_cast<int>(vertex_count), triangles, areas.data(),
                              static_cast<int>(triangle_count), *field, merge_climb))
        throw std::bad_alloc();
    std::vector<Span> found;
    for (int z = 0; z < grid_.depth; ++z)
        for (int x = 0; x < grid_.width; ++x)
            for (const rcSpan* span = field->spans[x + z * grid_.width]; span; span = span->next)
                found.push_back({static_cast<std::uint16_t>(x), static_cast<std::uint16_t>(z),
                                 static_cast<std::uint16_t>(span->smin), static_cast<std::uint16_t>(span->smax),
                                 static_cast<std::uint16_t>(span->area)});
    add_spans(found.data(), found.size());
}

std::vector<Span> Heightfield::list() const {
    std::vector<Span> out;
    out.reserve(spans_.size());
    for (int z = 0; z < grid_.depth; ++z)
        for (int x = 0; x < grid_.width; ++x)
            for (std::uint32_t s = starts_[column(x, z)]; s < starts_[column(x, z) + 1]; ++s)
                out.push_back({static_cast<std::uint16_t>(x), static_cast<std::uint16_t>(z), spans_[s].low, spans_[s].high,
                               spans_[s].area});
    return out;
}

}  // namespace commonground
