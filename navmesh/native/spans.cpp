#include "spans.hpp"

#include "areas.hpp"
#include "solids.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace commonground {

namespace {

constexpr int kTileCells = kTileBlocks * kBlockEdge;
constexpr int kThinCells = 4;     // two voxels: as tall as what noise makes of a wall's face
constexpr int kTread = 3;         // columns of level ground that noise does not make of a slope, all within two of a place
constexpr int kBoardColumns = 5;  // of 3 x 3; a strip one column wide fills three, its ragged ends and steps a fourth

struct Bridge {
    std::int16_t x, z, high;
    std::uint8_t area;
};

// A square of columns, z first, x within it; heights in cells from the base.
class Field {
public:
    Field(const CellStore& cells, TileXZ tile, const SpanParams& params)
        : cells_(cells), params_(params), margin_(kSpanReach), side_(kTileCells + 2 * (params.border_cells + margin_)) {
        origin_x_ = tile[0] * kTileCells - params.border_cells - margin_;
        origin_z_ = tile[1] * kTileCells - params.border_cells - margin_;
        Solids found = find_solids(cells, {origin_x_, origin_z_, side_, params.slope_limit});
        solids_ = std::move(found.solids);
        starts_ = std::move(found.starts);
        ground_.assign(static_cast<std::size_t>(side_) * side_, kNoGround);
    }

    std::vector<TileSpan> make() {
        forgive_edges();
        find_grounds();
        level();
        if (params_.areas) tell_areas({side_, starts_.data(), ground_.data()}, solids_);
        bridge_gaps();
        return without_specks();
    }

private:
    // Calls steep ground level where level ground of the same height lies within two columns, or some lower and some higher
    // that are no more than a step apart. The gradient at the edge of a step, halfway up a riser, or at the foot of a wall is
    // that of both sides: it leans where nothing leans. A slope that is truly too steep has nothing level beside it.
    void forgive_edges() {
        std::vector<std::int32_t> forgiven;
        for (int z = 2; z < side_ - 2; ++z)
            for (int x = 2; x < side_ - 2; ++x)
                for (std::int32_t s = first(x, z); s < last(x, z); ++s)
                    if (solids_[s].area == kSteepGround && is_edge(x, z, solids_[s].high)) forgiven.push_back(s);
        for (const std::int32_t s : forgiven) solids_[s].area = kFloor;
    }

    bool is_edge(int x, int z, int height) const {
        int lowest = height, highest = height, lower = 0, higher = 0;
        for (int dz = -2; dz <= 2; ++dz)
            for (std::int32_t s = first(x - 2, z + dz); s < last(x + 2, z + dz); ++s) {
                const int rise = solids_[s].high - height;
                if (!is_ground(solids_[s].area)) continue;
                if (std::abs(rise) <= 1) return true;
                if (std::abs(rise) > params_.step_cells) continue;
                lowest = std::min(lowest, height + rise);
                highest = std::max(highest, height + rise);
                ++(rise < 0 ? lower : higher);
            }
        return lower >= kTread && higher >= kTread && highest - lowest <= params_.step_cells;
    }

    void find_grounds() {
        const Solid* solid = solids_.data();
        for (std::size_t column = 0; column < ground_.size(); ++column) {
            std::int16_t ground = kNoGround;
            for (const Solid* const end = solids_.data() + starts_[column + 1]; solid < end; ++solid)
                if (is_ground(solid->area)) ground = ground == kNoGround ? solid->high : kManyGrounds;
            ground_[column] = ground;
        }
    }

    // Brings ground that stands out by one cell to the height that most of the eight columns around it share.
    void level() {
        std::vector<std::pair<std::int32_t, int>> levelled;
        std::vector<std::int16_t> verdict(static_cast<std::size_t>(side_));
        for (int z = 1; z < side_ - 1; ++z) {
            judge_row(z, verdict.data());
            for (int x = 1; x < side_ - 1; ++x) {
                if (!verdict[static_cast<std::size_t>(x)]) continue;
                for (std::int32_t s = first(x, z); s < last(x, z); ++s) {
                    if (!is_ground(solids_[s].area)) continue;
                    const int step = step_to_most(x, z, solids_[s].high);
                    if (step > 0 || (step < 0 && solids_[s].high - 1 > solids_[s].low)) levelled.emplace_back(s, step);
                }
            }
        }
        for (const auto& [s, step] : levelled) solids_[s].high = static_cast<std::int16_t>(solids_[s].high + step);
        if (!levelled.empty()) find_grounds();
    }

    // Which columns of a row may stand out: five neighbours differ from them, or there are several grounds to compare.
    void judge_row(int z, std::int16_t* verdict) const {
        std::fill(verdict, verdict + side_, std::int16_t{0});
        const std::int16_t* const own = &ground_[static_cast<std::size_t>(at(0, z))];
        for (int dz = -1; dz <= 1; ++dz)
            for (int dx = -1; dx <= 1; ++dx) {
                const std::int16_t* const other = &ground_[static_cast<std::size_t>(at(0, z + dz))] + dx;
                for (int x = 1; x < side_ - 1; ++x) {
                    const bool is_higher = other[x] == own[x] + 1, is_lower = other[x] == own[x] - 1;
                    verdict[x] = static_cast<std::int16_t>(verdict[x] + is_higher + 16 * is_lower + 256 * (other[x] == kManyGrounds));
                }
            }
        for (int x = 0; x < side_; ++x) {
            const int v = verdict[x];
            verdict[x] = own[x] != kNoGround && (v >= 256 || (v & 15) >= 5 || (v >> 4) >= 5);
        }
    }

    int step_to_most(int x, int z, int height) const {
        int higher = 0, lower = 0;
        for (int dx = -1; dx <= 1; ++dx)
            for (int dz = -1; dz <= 1; ++dz) {
                const int there = ground_at(x + dx, z + dz, height);
                higher += there == height + 1;
                lower += there == height - 1;
            }
        return higher >= 5 ? 1 : lower >= 5 ? -1 : 0;
    }

    // Lays ground across gaps along x or z that nobody measured, with ground of the same height on both sides.
    void bridge_gaps() {
        const int gap = params_.bridge_columns;
        if (gap == 0) return;
        std::vector<Solid> measured;  // what is laid must not carry the next bridge
        std::vector<std::int16_t> may_need(static_cast<std::size_t>(side_));
        for (int z = gap; z < side_ - gap; ++z) {
            find_gaps(z, gap, may_need.data());
            for (int x = gap; x < side_ - gap; ++x) {
                if (!may_need[static_cast<std::size_t>(x)]) continue;
                if (measured.empty()) measured = solids_;
                bridge_column(measured, x, z, gap);
            }
        }
    }

    // Which columns of a row have no ground as high as that of a column shortly before them.
    void find_gaps(int z, int gap, std::int16_t* may_need) const {
        std::fill(may_need, may_need + side_, std::int16_t{0});
        const std::int16_t* const own = &ground_[static_cast<std::size_t>(at(0, z))];
        for (int back = 1; back <= gap; ++back)
            for (const std::int16_t* other : {own - back, own - back * side_})
                for (int x = gap; x < side_ - gap; ++x) {
                    const auto rise = static_cast<std::int16_t>(other[x] - own[x]);
                    may_need[x] |= (other[x] != kNoGround) & ((rise > 2) | (rise < -2) | (own[x] == kManyGrounds));
                }
    }

    void bridge_column(const std::vector<Solid>& measured, int x, int z, int gap) {
        const std::size_t own_bridges = bridges_.size();
        for (int along_x = 0; along_x < 2; ++along_x) {
            const int dx = along_x, dz = 1 - along_x;
            for (int back = 1; back <= gap; ++back) {
                if (ground_[static_cast<std::size_t>(at(x - back * dx, z - back * dz))] == kNoGround) continue;
                for (std::int32_t s = first(x - back * dx, z - back * dz); s < last(x - back * dx, z - back * dz); ++s) {
                    const int height = measured[s].high;
                    if (!is_ground(measured[s].area) || ground_at(measured, x, z, height) >= 0) continue;
                    for (int ahead = 1; ahead < gap + 2 - back; ++ahead) {
                        const int there = ground_at(measured, x + ahead * dx, z + ahead * dz, height);
                        if (there < 0) continue;
                        const int floor = (height + there) / 2;
                        if (!lies_open(x, z, floor)) lay(own_bridges, x, z, floor, measured[s].area);
                        break;
                    }
                }
            }
        }
    }

    // Was air seen right below this height? Then the gap is a hole.
    bool lies_open(int x, int z, int height) const {
        const BlockColumn* const blocks = block_column(cells_, origin_x_ + x, origin_z_ + z);
        if (!blocks) return false;
        const int h = height - 3 - kBaseCells;
        const std::int64_t at = (h >> 4) - static_cast<std::int64_t>(blocks->bottom);
        if (at < 0 || at >= static_cast<std::int64_t>(blocks->slots.size())) return false;
        const std::int32_t slot = blocks->slots[static_cast<std::size_t>(at)];
        if (slot == CellStore::kNoSlot) return false;
        const int column = ((origin_x_ + x) & 7) * kBlockEdge + ((origin_z_ + z) & 7);
        return cells_.planes(slot)[kFree * kBlockColumns + column] >> (h & 15) & 1;
    }

    // Makes ground at a height of one column, out of the solid that ends there if some does, unless solid fills it.
    void lay(std::size_t own_bridges, int x, int z, int height, std::uint8_t area) {
        for (std::size_t b = own_bridges; b < bridges_.size(); ++b)
            if (std::abs(bridges_[b].high - height) <= 2) return;
        for (std::int32_t s = first(x, z); s < last(x, z); ++s) {
            if (std::abs(solids_[s].high - height) <= 2) {
                solids_[s].area = area;
                return;
            }
            if (solids_[s].low < height && height < solids_[s].high) return;
        }
        if (height >= 1)
            bridges_.push_back({static_cast<std::int16_t>(x), static_cast<std::int16_t>(z), static_cast<std::int16_t>(height), area});
    }

    // Cuts the margin off and drops every speck.
    std::vector<TileSpan> without_specks() const {
        std::vector<TileSpan> kept;
        kept.reserve(solids_.size() + bridges_.size());
        for (int z = margin_; z < side_ - margin_; ++z)
            for (int x = margin_; x < side_ - margin_; ++x)
                for (std::int32_t s = first(x, z); s < last(x, z); ++s)
                    if (has_company(x, z, solids_[s]) && !is_shred(x, z, solids_[s])) kept.push_back(span(x, z, solids_[s]));
        for (const Bridge& b : bridges_)
            if (is_inside(b.x) && is_inside(b.z))
                kept.push_back(span(b.x, b.z, {static_cast<std::int16_t>(b.high - 1), b.high, b.area}));
        return kept;
    }

    // Is a solid part of something with volume or area, among those in the columns around it that touch its heights?
    bool has_company(int x, int z, const Solid& solid) const {
        int volume = solid.high - solid.low, columns = 0;
        if (volume >= params_.speck_cells) return true;
        volume = 0;
        for (int dz = -1; dz <= 1; ++dz)
            for (int dx = -1; dx <= 1; ++dx) {
                const int before = volume;
                for (std::int32_t s = first(x + dx, z + dz); s < last(x + dx, z + dz); ++s)
                    if (solids_[s].low <= solid.high && solids_[s].high >= solid.low)
                        volume += solids_[s].high - solids_[s].low;
                columns += volume > before;
                if (volume >= params_.speck_cells || columns >= 4) return true;
            }
        return false;
    }

    // Is a solid what noise frays from a wall: a thin thing beside it that hangs over ground and is no board, as no more
    // than a strip along the wall is as thin?
    bool is_shred(int x, int z, const Solid& solid) const {
        if (params_.speck_cells == 0 || solid.high - solid.low > kThinCells || !hangs_over_ground(x, z, solid)) return false;
        bool is_beside_wall = false;
        int columns = 0;
        for (int dz = -1; dz <= 1; ++dz)
            for (int dx = -1; dx <= 1; ++dx) {
                bool is_thin = false;
                for (std::int32_t s = first(x + dx, z + dz); s < last(x + dx, z + dz); ++s) {
                    if (solids_[s].low > solid.high || solids_[s].high < solid.low) continue;
                    (solids_[s].high - solids_[s].low > 2 * kThinCells ? is_beside_wall : is_thin) = true;
                }
                columns += is_thin;
            }
        return is_beside_wall && columns < kBoardColumns;
    }

    bool hangs_over_ground(int x, int z, const Solid& solid) const {
        for (std::int32_t s = first(x, z); s < last(x, z) && solids_[s].high < solid.low; ++s)
            if (is_ground(solids_[s].area)) return true;
        return false;
    }

    TileSpan span(int x, int z, const Solid& solid) const {
        return {static_cast<std::uint16_t>(x - margin_), static_cast<std::uint16_t>(z - margin_),
                static_cast<std::uint16_t>(solid.low), static_cast<std::uint16_t>(solid.high),
                solid.area == kSteepGround ? kBlocked : solid.area};
    }

    // Height of a column's ground within two cells of some height; -1 = there is none.
    int ground_at(const std::vector<Solid>& solids, int x, int z, int height) const {
        const int only = ground_[static_cast<std::size_t>(at(x, z))];
        if (only != kManyGrounds) return std::abs(only - height) <= 2 ? only : -1;
        for (std::int32_t s = first(x, z); s < last(x, z); ++s)
            if (is_ground(solids[s].area) && std::abs(solids[s].high - height) <= 2) return solids[s].high;
        return -1;
    }
    int ground_at(int x, int z, int height) const { return ground_at(solids_, x, z, height); }

    bool is_inside(int x) const { return x >= margin_ && x < side_ - margin_; }
    int at(int x, int z) const { return z * side_ + x; }
    std::int32_t first(int x, int z) const { return starts_[static_cast<std::size_t>(at(x, z))]; }
    std::int32_t last(int x, int z) const { return starts_[static_cast<std::size_t>(at(x, z)) + 1]; }

    const CellStore& cells_;
    const SpanParams params_;
    const int margin_, side_;
    int origin_x_ = 0, origin_z_ = 0;  // of column (0, 0), in the world's cells
    std::vector<Solid> solids_;
    std::vector<std::int32_t> starts_;  // where the solids of each column begin
    std::vector<std::int16_t> ground_;  // of each column: the height of its only ground, kNoGround or kManyGrounds
    std::vector<Bridge> bridges_;
};

}  // namespace

std::vector<TileSpan> tile_spans(const CellStore& cells, TileXZ tile, const SpanParams& params) {
    if (params.border_cells < 0 || params.border_cells > 1024) throw std::invalid_argument("a border has 0 to 1024 cells");
    if (params.slope_limit < 0 || params.slope_limit >= cells.limits())
        throw std::invalid_argument("the cells were not latched for that slope limit");
    if (params.speck_cells < 0 || params.step_cells < 0 || params.bridge_columns < 0 || params.bridge_columns > 4)
        throw std::invalid_argument("specks and steps must not be negative, bridges 0 to 4 columns long");
    return Field(cells, tile, params).make();
}

}  // namespace commonground
