#include "surface.hpp"

#include <RecastAlloc.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

namespace commonground {

namespace {

constexpr int kSky = 0xffff, kMostClearance = 0xff;
constexpr int kMostLayer = RC_NOT_CONNECTED - 1;

class Surveyor {
public:
    Surveyor(const Heightfield& field, const Reach& reach)
        : field_(field), reach_(reach), width_(field.grid().width), depth_(field.grid().depth), starts_(field.starts().data()),
          spans_(field.spans().data()), areas_(field.spans().size()) {
        for (std::size_t s = 0; s < areas_.size(); ++s) areas_[s] = spans_[s].area;
    }

    CompactPtr survey() {
        if (reach_.low_hanging) accept_low_hanging();
        find_single_spans();
        drop_ledges_and_low_ceilings();
        return link();
    }

private:
    void accept_low_hanging() {
        for (std::size_t column = 0; column + 1 < field_.starts().size(); ++column) {
            bool is_over_ground = false;
            for (std::uint32_t s = starts_[column]; s < starts_[column + 1]; ++s) {
                const bool is_ground = areas_[s] != RC_NULL_AREA;
                if (!is_ground && is_over_ground && spans_[s].high - spans_[s - 1].high <= reach_.climb) areas_[s] = areas_[s - 1];
                is_over_ground = is_ground;
            }
        }
    }

    // Most columns have one span, under the sky: those are judged by the row.
    void find_single_spans() {
        top_.assign(field_.starts().size() - 1, kNotSingle);
        bottom_.assign(top_.size(), 0);
        for (std::size_t column = 0; column < top_.size(); ++column) {
            if (starts_[column + 1] - starts_[column] != 1) continue;
            top_[column] = static_cast<std::int16_t>(spans_[starts_[column]].high);
            bottom_[column] = static_cast<std::int16_t>(spans_[starts_[column]].low);
        }
    }

    void drop_ledges_and_low_ceilings() {
        std::vector<std::int16_t> verdict(static_cast<std::size_t>(width_));
        for (int z = 0; z < depth_; ++z) {
            judge_row(z, verdict.data());
            for (int x = 0; x < width_; ++x) {
                const std::size_t column = field_.column(x, z);
                for (std::uint32_t s = starts_[column]; s < starts_[column + 1]; ++s) {
                    if (areas_[s] == RC_NULL_AREA) continue;
                    const std::int16_t known = verdict[static_cast<std::size_t>(x)];
                    const bool is_ledge = known == kUnjudged ? this->is_ledge(x, z, s) : known == kLedge;
                    if (is_ledge || ceiling(column, s) - spans_[s].high < reach_.height) areas_[s] = RC_NULL_AREA;
                }
            }
        }
    }

    // Columns of one span among four of one span.
    void judge_row(int z, std::int16_t* verdict) const {
        std::fill(verdict, verdict + width_, kUnjudged);
        if (z == 0 || z == depth_ - 1) return;
        const std::int16_t* const own = top_.data() + field_.column(0, z);
        const std::int16_t* const low = bottom_.data() + field_.column(0, z);
        const auto climb = static_cast<std::int16_t>(reach_.climb), height = static_cast<std::int16_t>(reach_.height);
        for (int x = 1; x < width_ - 1; ++x) {
            std::int16_t is_single = own[x] != kNotSingle, is_ledge = 0, lowest = 0, highest = 0;
            for (const int step : {-1, width_, 1, -width_}) {
                const auto rise = static_cast<std::int16_t>(own[x + step] - own[x]);
                const auto under = static_cast<std::int16_t>(low[x + step] - own[x]);
                const std::int16_t near = (rise >= -climb) & (rise <= climb) ? rise : std::int16_t{0};
                is_single &= own[x + step] != kNotSingle;
                is_ledge |= (rise < -climb) | (under > height);
                lowest = std::min(lowest, near);
                highest = std::max(highest, near);
            }
            is_ledge |= highest - lowest > climb;
            verdict[x] = static_cast<std::int16_t>(is_single * (kGround + is_ledge));
        }
    }

    bool is_ledge(int x, int z, std::uint32_t s) const {
        const int floor = spans_[s].high, roof = ceiling(field_.column(x, z), s);
        int lowest = floor, highest = floor;
        for (int way = 0; way < 4; ++way) {
            const int other_x = x + rcGetDirOffsetX(way), other_z = z + rcGetDirOffsetY(way);
            if (other_x < 0 || other_z < 0 || other_x >= width_ || other_z >= depth_) return true;
            const std::size_t column = field_.column(other_x, other_z);
            const std::uint32_t begin = starts_[column], end = starts_[column + 1];
            const int first = begin < end ? spans_[begin].low : kSky;
            if (std::min(roof, first) - floor > reach_.height) return true;  // nothing below to stand on
            for (std::uint32_t other = begin; other < end; ++other) {
                const int rise = spans_[other].high - floor;
                if (std::min(roof, ceiling(column, other)) - std::max(floor, floor + rise) <= reach_.height) continue;
                if (rise < -reach_.climb) return true;
                if (rise > reach_.climb) continue;
                lowest = std::min(lowest, floor + rise);
                highest = std::max(highest, floor + rise);
            }
        }
        return highest - lowest > reach_.climb;
    }

    CompactPtr link() const {
        CompactPtr compact(rcAllocCompactHeightfield());
        if (!compact) throw std::bad_alloc();
        describe(*compact);
        rcCompactSpan* next = compact->spans;
        for (std::size_t column = 0; column < top_.size(); ++column) {
            rcCompactCell& cell = compact->cells[column];
            cell.index = static_cast<unsigned>(next - compact->spans) & 0xffffffu;
            for (std::uint32_t s = starts_[column]; s < starts_[column + 1]; ++s) {
                if (areas_[s] == RC_NULL_AREA) continue;
                compact->areas[next - compact->spans] = areas_[s];
                next->y = spans_[s].high;
                next->h = static_cast<unsigned>(std::min(ceiling(column, s) - spans_[s].high, kMostClearance)) & 0xffu;
                ++next;
            }
            cell.count = (static_cast<unsigned>(next - compact->spans) - cell.index) & 0xffu;
        }
        link_places(*compact);
        return compact;
    }

    void describe(rcCompactHeightfield& compact) const {
        const Grid& grid = field_.grid();
        const auto count = static_cast<std::size_t>(std::count_if(areas_.begin(), areas_.end(), [](auto a) { return a != RC_NULL_AREA; }));
        compact.width = width_;
        compact.height = depth_;
        compact.spanCount = static_cast<int>(count);
        compact.walkableHeight = reach_.height;
        compact.walkableClimb = reach_.climb;
        compact.maxRegions = 0;
        std::copy_n(grid.origin.data(), 3, compact.bmin);
        std::copy_n(grid.far_corner().data(), 3, compact.bmax);
        compact.bmax[1] += static_cast<float>(reach_.height) * grid.cell_height;
        compact.cs = grid.cell_size;
        compact.ch = grid.cell_height;
        compact.cells = allocate<rcCompactCell>(top_.size());
        compact.spans = allocate<rcCompactSpan>(count + 1);  // so that an empty column, too, has one to look at
        compact.areas = allocate<unsigned char>(count);
    }

    // The field frees it.
    template <class T>
    static T* allocate(std::size_t count) {
        void* const memory = rcAlloc(sizeof(T) * std::max(count, std::size_t{1}), RC_ALLOC_PERM);
        if (!memory) throw std::bad_alloc();
        return static_cast<T*>(std::memset(memory, 0, sizeof(T) * count));
    }

    // Most columns have one place under the sky beside others of that kind, or none: those are linked by the row.
    void link_places(rcCompactHeightfield& compact) const {
        std::vector<std::int16_t> floor(top_.size()), links(static_cast<std::size_t>(width_));
        for (std::size_t column = 0; column < floor.size(); ++column) {
            const rcCompactCell cell = compact.cells[column];
            const rcCompactSpan& span = compact.spans[cell.index];
            floor[column] = cell.count == 0 ? kNoPlace : cell.count == 1 && span.h == kMostClearance ? span.y : kOther;
        }
        unsigned packed[16];
        for (unsigned ways = 0; ways < 16; ++ways) {
            rcCompactSpan span{};
            for (int way = 0; way < 4; ++way) rcSetCon(span, way, ways >> way & 1 ? 0 : RC_NOT_CONNECTED);
            packed[ways] = span.con;
        }
        for (int z = 0; z < depth_; ++z) {
            find_links(z, floor, links.data());
            for (int x = 0; x < width_; ++x) {
                const rcCompactCell cell = compact.cells[field_.column(x, z)];
                const auto ways = static_cast<unsigned>(links[static_cast<std::size_t>(x)]);
                if (ways >= 16)
                    link_column(compact, x, z);
                else if (cell.count)
                    compact.spans[cell.index].con = packed[ways] & 0xffffffu;
            }
        }
    }

    // Bit `way`: one can walk there from the column's one place. From 16 on: that must be looked at.
    void find_links(int z, const std::vector<std::int16_t>& floor, std::int16_t* links) const {
        std::fill(links, links + width_, std::int16_t{16});
        if (z == 0 || z == depth_ - 1) return;
        const std::int16_t* const own = floor.data() + field_.column(0, z);
        const auto most = static_cast<std::int16_t>(std::min(reach_.climb, kMostClearance - reach_.height));
        const int beside[] = {-1, width_, 1, -width_};  // as Recast counts the ways
        for (int x = 1; x < width_ - 1; ++x) {
            std::int16_t ways = own[x] == kOther ? 16 : 0;
            for (int way = 0; way < 4; ++way) {
                const std::int16_t other = own[x + beside[way]];
                const auto rise = static_cast<std::int16_t>(other - own[x]);
                ways = static_cast<std::int16_t>(ways | ((rise <= most) & (rise >= -most)) << way | (other == kOther) << 4);
            }
            links[x] = ways;
        }
    }

    // One can walk to where there is headroom all the way and no more than a step between.
    void link_column(rcCompactHeightfield& compact, int x, int z) const {
        const rcCompactCell own = compact.cells[field_.column(x, z)];
        for (unsigned i = own.index, end = own.index + own.count; i < end; ++i) {
            rcCompactSpan& span = compact.spans[i];
            for (int way = 0; way < 4; ++way) {
                const int other_x = x + rcGetDirOffsetX(way), other_z = z + rcGetDirOffsetY(way);
                rcSetCon(span, way, RC_NOT_CONNECTED);
                if (other_x < 0 || other_z < 0 || other_x >= width_ || other_z >= depth_) continue;
                const rcCompactCell cell = compact.cells[field_.column(other_x, other_z)];
                const int layers = std::min<int>(cell.count, kMostLayer + 1);
                for (int layer = 0; layer < layers; ++layer) {
                    const rcCompactSpan& other = compact.spans[cell.index + static_cast<unsigned>(layer)];
                    const int floor = std::max(span.y, other.y), roof = std::min<int>(span.y + span.h, other.y + other.h);
                    if (roof - floor < reach_.height || std::abs(other.y - span.y) > reach_.climb) continue;
                    rcSetCon(span, way, layer);
                    break;
                }
            }
        }
    }

    int ceiling(std::size_t column, std::uint32_t s) const { return s + 1 < starts_[column + 1] ? spans_[s + 1].low : kSky; }

    static constexpr std::int16_t kNotSingle = 0, kUnjudged = 0, kGround = 1, kLedge = 2;
    static constexpr std::int16_t kNoPlace = -20000, kOther = -10000;  // of a column

    const Heightfield& field_;
    const Reach reach_;
    const int width_, depth_;
    const std::uint32_t* const starts_;
    const ColumnSpan* const spans_;
    std::vector<std::uint8_t> areas_;         // of each span, as far as it is judged
    std::vector<std::int16_t> top_, bottom_;  // of each column's only span
};

}  // namespace

CompactPtr walkable_surface(const Heightfield& field, const Reach& reach) { return Surveyor(field, reach).survey(); }

}  // namespace commonground
