// What kind of ground a column has: floor, stairs or ramp, told from the heights of the ground around it.
#pragma once

#include <cstdint>
#include <vector>

namespace commonground {

// Areas of solids: one that cannot be walked on, one too steep (only while spans are made), and the kinds of ground. Recast
// lets the higher area win where spans merge; further kinds count down.
constexpr std::uint8_t kBlocked = 0, kSteepGround = 1, kRamp = 61, kStairs = 62, kFloor = 63;

constexpr bool is_ground(std::uint8_t area) { return area > kSteepGround; }

// A solid interval of a column, in cells; its top is ground if the area says so.
struct Solid {
    std::int16_t low, high;
    std::uint8_t area;
};

// What stands in a column, as far as the ground is concerned: the height of its only ground, or one of these.
constexpr std::int16_t kNoGround = -20000, kManyGrounds = -10000;

// A square of columns, z first, x within it.
struct GroundGrid {
    int side;
    const std::int32_t* starts;  // where the solids of each column begin, and the end
    const std::int16_t* ground;  // of each column
};

// Turns floor into stairs or ramp where the heights along x or along z say so:
// - Stairs: level treads of 0.15 to 0.5 m between two similar risers of 7.5 to 30 cm that go the same way, at 5 cm a column.
// - Ramp: at least 0.4 m that rise steadily by about 8 degrees or more, with no step above 10 cm.
// One step, or a kerb, is floor. Lines are read apart and noise is outvoted among 5 x 5 columns; a column's kind depends on
// the ground at most kAreaReach columns away.
constexpr int kAreaReach = 13;
void tell_areas(const GroundGrid& grid, std::vector<Solid>& solids);

}  // namespace commonground
