#include "areas.hpp"

#include <algorithm>
#include <cstdlib>

namespace commonground {

namespace {

constexpr int kLeastRise = 3, kMostRise = 12;                    // of a riser, in cells of 2.5 cm
constexpr int kLeastTread = 3, kMostTread = 10, kUneven = 2;     // columns; cells within one tread
constexpr int kArm = 2;                                          // a column climbs if the ground so far on both sides does
constexpr int kLeastRun = 10, kMostStep = 4;                     // columns of a ramp that climb; cells from one to the next
constexpr int kSlopeRise = 7, kSlopeRun = 25;                    // cells on columns: 8 degrees
constexpr int kVoters = 2;                                       // columns on each side
constexpr std::int32_t kMissing = -1;                            // a column of a walk without ground
static_assert(kAreaReach >= kMostTread + 1 + kVoters && kAreaReach >= kLeastRun - 1 + kArm + kVoters);

class Surveyor {
public:
    Surveyor(const GroundGrid& grid, std::vector<Solid>& solids) : grid_(grid), solids_(solids) {}

    void survey() {
        find_lines();
        for (int along_x = 0; along_x < 2; ++along_x) {
            const std::vector<std::int16_t>& may_rise = along_x ? rows_may_rise_ : columns_may_rise_;
            walked_.clear();
            for (int line = 0; line < grid_.side; ++line)
                if (may_rise[static_cast<std::size_t>(line)]) survey_line(line, along_x != 0);
        }
        if (!found_.empty()) vote();
    }

private:
    // Most lines have nothing that rises: looks for one step of a riser's size, or two climbs that follow each other.
    void find_lines() {
        const int side = grid_.side;
        rows_may_rise_.assign(at(side), 0);
        columns_may_rise_.assign(at(side), 0);
        std::vector<std::int16_t> in_row(at(side));
        for (int z = 0; z < side; ++z) {
            std::fill(in_row.begin(), in_row.end(), std::int16_t{0});
            const std::int16_t* const own = grid_.ground + at(z * side);
            hint_at_steps(own, 1, side - 1, in_row.data());
            if (z + 1 < side) hint_at_steps(own, side, side, columns_may_rise_.data());
            hint_at_climbs(own + kArm, 1, side - 4 * kArm, in_row.data());
            if (z >= kArm && z + 3 * kArm < side) hint_at_climbs(own, side, side, columns_may_rise_.data());
            for (const std::int16_t may : in_row) rows_may_rise_[at(z)] |= may;
        }
    }

    static void hint_at_steps(const std::int16_t* own, int stride, int count, std::int16_t* hints) {
        for (int x = 0; x < count; ++x) {
            const auto up = static_cast<std::int16_t>(own[x + stride] - own[x]);
            const auto step = static_cast<std::int16_t>(up < 0 ? -up : up);
            hints[x] |= ((step >= kLeastRise) & (step <= kMostRise)) | (own[x] == kManyGrounds);
        }
    }

    static void hint_at_climbs(const std::int16_t* own, int stride, int count, std::int16_t* hints) {
        constexpr std::int16_t kMost = 2 * kArm * kMostStep;
        for (int x = 0; x < count; ++x) {
            const auto near = static_cast<std::int16_t>(own[x + kArm * stride] - own[x - kArm * stride]);
            const auto further = static_cast<std::int16_t>(own[x + 3 * kArm * stride] - own[x + kArm * stride]);
            const bool climbs = (near > 0) & (near <= kMost) & (further > 0) & (further <= kMost);
            const bool falls = (near < 0) & (near >= -kMost) & (further < 0) & (further >= -kMost);
            hints[x] |= climbs | falls;
        }
    }

    // Follows every floor of a line from where it begins, from column to column, as far as one can step.
    void survey_line(int line, bool along_x) {
        if (walked_.empty()) walked_.assign(solids_.size(), 0);
        for (int p = 0; p < grid_.side; ++p)
            for (std::int32_t s = first(line, p, along_x); s < last(line, p, along_x); ++s) {
                if (!is_ground(solids_[at(s)].area) || walked_[at(s)]) continue;
                walk_.clear();
                heights_.clear();
                std::int32_t here = s;
                for (int q = p; here >= 0;) {
                    walked_[at(here)] = 1;
                    walk_.push_back(here);
                    heights_.push_back(solids_[at(here)].high);
                    const int from = q;
                    here = follow(line, from, ++q, along_x, here);
                    if (here >= 0) continue;
                    here = follow(line, from, ++q, along_x, walk_.back());  // a column may be missing at a riser's edge
                    if (here < 0) break;
                    walk_.push_back(kMissing);
                    heights_.push_back(heights_.back());
                }
                find_ramps();
                find_stairs();
            }
    }

    // Where the floor of a column goes on in another one; -1 = nowhere.
    std::int32_t follow(int line, int from, int to, bool along_x, std::int32_t here) const {
        if (to >= grid_.side) return -1;
        const std::int32_t next = nearest(line, to, along_x, solids_[at(here)].high);
        if (next < 0 || grid_.ground[column(line, from, along_x)] != kManyGrounds) return next;
        return nearest(line, from, along_x, solids_[at(next)].high) == here ? next : -1;
    }

    // The ground of a column nearest to some height, if one can step to it.
    std::int32_t nearest(int line, int p, bool along_x, int height) const {
        std::int32_t best = -1;
        if (grid_.ground[column(line, p, along_x)] == kNoGround) return best;
        int least = kMostRise + 1;
        for (std::int32_t s = first(line, p, along_x); s < last(line, p, along_x); ++s) {
            const int distance = std::abs(solids_[at(s)].high - height);
            if (is_ground(solids_[at(s)].area) && distance < least) {
                least = distance;
                best = s;
            }
        }
        return best;
    }

    // From `low`, the last column before, to `high`, the first one after it.
    struct Riser {
        int low, high, rise;
    };

    void find_stairs() {
        Riser before{0, 0, 0};
        const int count = static_cast<int>(walk_.size());
        for (int p = 0; p + 1 < count; ++p) {
            if (std::abs(step(p)) < kLeastRise) continue;
            Riser riser{p, p + 1, step(p)};
            while (riser.high + 1 < count && std::abs(step(riser.high)) >= kLeastRise && (step(riser.high) > 0) == (riser.rise > 0))
                riser.rise += step(riser.high++);
            if (is_tread(before, riser)) mark(before.low + 1, riser.high, kStairs);
            before = riser;
            p = riser.high - 1;
        }
    }

    bool is_tread(const Riser& before, const Riser& after) const {
        const int tread = after.low - before.high + 1;
        if (tread < kLeastTread || tread > kMostTread || (before.rise > 0) != (after.rise > 0)) return false;
        const int one = std::abs(before.rise), other = std::abs(after.rise);
        if (std::max(one, other) > std::min({kMostRise, 2 * one, 2 * other})) return false;
        const auto [low, high] = std::minmax_element(heights_.begin() + before.high + 1, heights_.begin() + after.low);
        return *high - *low <= kUneven;
    }

    void find_ramps() {
        const int count = static_cast<int>(walk_.size());
        for (int p = kArm; p + kArm < count;) {
            const int way = climb(p);
            int end = p + 1;
            while (way && end + kArm < count && climb(end) == way) ++end;
            const int rise = std::abs(heights_[at(end - 1)] - heights_[at(p)]);
            if (way && end - p >= kLeastRun && kSlopeRun * rise >= kSlopeRise * (end - 1 - p))
                mark(p == kArm ? 0 : p + 1, end + kArm == count ? count : end - 1, kRamp);
            p = end;
        }
    }

    // Does the ground climb (1) or fall (-1) steadily around a column?
    int climb(int p) const {
        for (int q = p - kArm; q < p + kArm; ++q)
            if (std::abs(step(q)) > kMostStep) return 0;
        const int rise = heights_[at(p + kArm)] - heights_[at(p - kArm)];
        return (rise > 0) - (rise < 0);
    }

    int step(int p) const { return heights_[at(p + 1)] - heights_[at(p)]; }

    void mark(int begin, int end, std::uint8_t area) {
        for (int p = begin; p < end; ++p) {
            if (walk_[at(p)] == kMissing) continue;
            std::uint8_t& own = solids_[at(walk_[at(p)])].area;
            if (own == kFloor) found_.push_back(walk_[at(p)]);
            own = own == kStairs ? kStairs : area;
        }
    }

    // Gives every ground the area that most of the ground around it has.
    void vote() {
        struct Verdict {
            std::int32_t solid;
            std::uint8_t area;
        };
        std::vector<Verdict> verdicts;
        find_contested();
        for (int z = kVoters; z < grid_.side - kVoters; ++z)
            for (int x = kVoters; x < grid_.side - kVoters; ++x) {
                if (!contested_[at(z * grid_.side + x)]) continue;
                for (std::int32_t s = first(z, x, true); s < last(z, x, true); ++s) {
                    if (!is_ground(solids_[at(s)].area)) continue;
                    const std::uint8_t area = area_of_most(x, z, s);
                    if (area != solids_[at(s)].area) verdicts.push_back({s, area});
                }
            }
        for (const Verdict& verdict : verdicts) solids_[at(verdict.solid)].area = verdict.area;
    }

    // Columns that do not see one and the same area all around.
    void find_contested() {
        const int side = grid_.side;
        std::vector<std::uint8_t> own(at(side * side), kFloor), low(own), high(own);
        for (int column = 0; column < side * side; ++column) {
            if (grid_.ground[column] == kNoGround) continue;
            std::uint8_t least = kFloor, most = 0;
            for (std::int32_t s = grid_.starts[column]; s < grid_.starts[column + 1]; ++s)
                if (is_ground(solids_[at(s)].area)) {
                    least = std::min(least, solids_[at(s)].area);
                    most = std::max(most, solids_[at(s)].area);
                }
            own[at(column)] = least == most ? least : kBlocked;
        }
        contested_.assign(at(side * side), 0);
        for (int z = kVoters; z < side - kVoters; ++z) {
            const int row = z * side;
            for (int x = 0; x < side; ++x) {
                low[at(x)] = high[at(x)] = own[at(row + x)];
                for (int dz = -kVoters; dz <= kVoters; ++dz) {
                    low[at(x)] = std::min(low[at(x)], own[at(row + dz * side + x)]);
                    high[at(x)] = std::max(high[at(x)], own[at(row + dz * side + x)]);
                }
            }
            for (int x = kVoters; x < side - kVoters; ++x) {
                const auto least = *std::min_element(low.begin() + x - kVoters, low.begin() + x + kVoters + 1);
                const auto most = *std::max_element(high.begin() + x - kVoters, high.begin() + x + kVoters + 1);
                contested_[at(row + x)] = least != most;
            }
        }
    }

    std::uint8_t area_of_most(int x, int z, std::int32_t s) const {
        int votes[kFloor + 1] = {};
        for (int dz = -kVoters; dz <= kVoters; ++dz)
            for (int dx = -kVoters; dx <= kVoters; ++dx)
                if (const std::int32_t other = nearest(z + dz, x + dx, true, solids_[at(s)].high); other >= 0)
                    ++votes[solids_[at(other)].area];
        std::uint8_t most = solids_[at(s)].area;  // which keeps its seat in a draw
        for (const std::uint8_t area : {kFloor, kStairs, kRamp})
            if (votes[area] > votes[most]) most = area;
        return most;
    }

    static std::size_t at(int index) { return static_cast<std::size_t>(index); }
    std::size_t column(int line, int p, bool along_x) const {
        return at(along_x ? line * grid_.side + p : p * grid_.side + line);
    }
    std::int32_t first(int line, int p, bool along_x) const { return grid_.starts[column(line, p, along_x)]; }
    std::int32_t last(int line, int p, bool along_x) const { return grid_.starts[column(line, p, along_x) + 1]; }

    const GroundGrid grid_;
    std::vector<Solid>& solids_;
    std::vector<std::int16_t> rows_may_rise_, columns_may_rise_;
    std::vector<std::uint8_t> walked_, contested_;  // of each solid; of each column
    std::vector<std::int32_t> walk_, found_;        // solids of one walk; those that are no floor
    std::vector<std::int16_t> heights_;             // of the walk
};

}  // namespace

void tell_areas(const GroundGrid& grid, std::vector<Solid>& solids) { Surveyor(grid, solids).survey(); }

}  // namespace commonground
