#include "heightfield.hpp"

#include <RecastAlloc.h>

#include <cmath>
#include <stdexcept>

namespace commonground {

namespace {

constexpr int kMaxSide = 4096;
constexpr int kMaxSpansPerColumn = 255;  // rcCompactCell counts a column's spans in 8 bits
constexpr int kMaxArea = 63;

bool is_positive(float value) { return std::isfinite(value) && value > 0.0f; }

// Room for spans, as Recast's own pools give it: the field frees them.
class SpanSource {
public:
    explicit SpanSource(rcHeightfield& field) : field_(field) {}

    rcSpan* next() {
        if (left_ == 0) {
            auto* pool = static_cast<rcSpanPool*>(rcAlloc(sizeof(rcSpanPool), RC_ALLOC_PERM));
            if (!pool) throw std::bad_alloc();
            pool->next = field_.pools;
            field_.pools = pool;
            items_ = pool->items;
            left_ = RC_SPANS_PER_POOL;
        }
        --left_;
        return items_++;
    }

private:
    rcHeightfield& field_;
    rcSpan* items_ = nullptr;
    int left_ = 0;
};

}  // namespace

HeightfieldPtr make_heightfield(const Grid& grid) {
    if (grid.width < 1 || grid.depth < 1 || grid.width > kMaxSide || grid.depth > kMaxSide)
        throw std::invalid_argument("a heightfield has 1 to 4096 cells on a side");
    if (!is_positive(grid.cell_size) || !is_positive(grid.cell_height))
        throw std::invalid_argument("cell size and cell height must be positive");
    if (grid.max_height < 1 || grid.max_height > RC_SPAN_MAX_HEIGHT)
        throw std::invalid_argument("a heightfield is 1 to 8191 cell heights tall");
    for (float value : grid.origin)
        if (!std::isfinite(value)) throw std::invalid_argument("the heightfield's origin must be finite");

    const float low[3] = {grid.origin[0], grid.origin[1], grid.origin[2]};
    const float high[3] = {low[0] + grid.width * grid.cell_size, low[1] + grid.max_height * grid.cell_height,
                           low[2] + grid.depth * grid.cell_size};
    rcContext context(false);
    HeightfieldPtr field(rcAllocHeightfield());
    if (!field || !rcCreateHeightfield(&context, *field, grid.width, grid.depth, low, high, grid.cell_size,
                                       grid.cell_height))
        throw std::bad_alloc();
    return field;
}

void add_spans(rcHeightfield& field, const Span* spans, std::size_t count) {
    std::vector<std::uint16_t> per_column(static_cast<std::size_t>(field.width) * field.height, 0);
    for (std::size_t i = 0; i < count; ++i) {
        const Span& span = spans[i];
        if (span.x >= field.width || span.z >= field.height)
            throw std::invalid_argument("a span lies outside the heightfield");
        if (span.smin >= span.smax || span.smax > RC_SPAN_MAX_HEIGHT)
            throw std::invalid_argument("a span is empty or reaches above 8191 cell heights");
        if (span.area > kMaxArea) throw std::invalid_argument("an area is 0 to 63");
        if (++per_column[span.x + static_cast<std::size_t>(span.z) * field.width] > kMaxSpansPerColumn)
            throw std::invalid_argument("more than 255 spans in one column");
    }
    rcContext context(false);
    SpanSource source(field);
    std::vector<rcSpan*> tops(per_column.size(), nullptr);
    for (std::size_t i = 0; i < count; ++i) {
        const Span& span = spans[i];
        const std::size_t column = span.x + static_cast<std::size_t>(span.z) * field.width;
        rcSpan*& top = tops[column];
        if (field.spans[column] && (!top || top->smax >= span.smin)) {  // it may touch what is there: let Recast merge
            if (!rcAddSpan(&context, field, span.x, span.z, span.smin, span.smax, static_cast<unsigned char>(span.area), 1))
                throw std::bad_alloc();
            for (top = field.spans[column]; top->next;) top = top->next;
            continue;
        }
        rcSpan* const fresh = source.next();
        fresh->smin = span.smin;
        fresh->smax = span.smax;
        fresh->area = span.area;
        fresh->next = nullptr;
        (top ? top->next : field.spans[column]) = fresh;
        top = fresh;
    }
}

void rasterize(rcHeightfield& field, const float* vertices, std::size_t vertex_count, const std::int32_t* triangles,
               std::size_t triangle_count, float max_slope_deg, int merge_climb) {
    for (std::size_t i = 0; i < vertex_count * 3; ++i)
        if (!std::isfinite(vertices[i])) throw std::invalid_argument("a vertex is not finite");
    for (std::size_t i = 0; i < triangle_count * 3; ++i)
        if (triangles[i] < 0 || static_cast<std::size_t>(triangles[i]) >= vertex_count)
            throw std::invalid_argument("a triangle names a vertex that does not exist");
    rcContext context(false);
    std::vector<unsigned char> areas(triangle_count, 0);
    rcMarkWalkableTriangles(&context, max_slope_deg, vertices, static_cast<int>(vertex_count), triangles,
                            static_cast<int>(triangle_count), areas.data());
    if (!rcRasterizeTriangles(&context, vertices, static_cast<int>(vertex_count), triangles, areas.data(),
                              static_cast<int>(triangle_count), field, merge_climb))
        throw std::bad_alloc();
}

std::vector<Span> list_spans(const rcHeightfield& field) {
    std::vector<Span> out;
    for (int z = 0; z < field.height; ++z)
        for (int x = 0; x < field.width; ++x)
            for (const rcSpan* span = field.spans[x + z * field.width]; span; span = span->next)
                out.push_back({static_cast<std::uint16_t>(x), static_cast<std::uint16_t>(z),
                               static_cast<std::uint16_t>(span->smin), static_cast<std::uint16_t>(span->smax),
                               static_cast<std::uint16_t>(span->area)});
    return out;
}

bool low_height_filter_is_strict() {
    const HeightfieldPtr field = make_heightfield({1, 1, {0.0f, 0.0f, 0.0f}, 1.0f, 1.0f, 16});
    const Span floor_and_ceiling[] = {{0, 0, 0, 1, RC_WALKABLE_AREA}, {0, 0, 5, 6, RC_NULL_AREA}};
    add_spans(*field, floor_and_ceiling, 2);
    rcContext context(false);
    rcFilterWalkableLowHeightSpans(&context, 4, *field);  // the clearance is exactly 4
    return field->spans[0]->area == RC_NULL_AREA;
}

}  // namespace commonground
