// Recast's pipeline for one tile: heightfield in; polygons and a Detour blob out.
#pragma once

#include "heightfield.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace commonground {

enum class Partition { watershed = 0, monotone = 1, layers = 2 };

// Lengths in cells unless they say metres; names follow rcConfig.
struct TileParams {
    int tile_x = 0, tile_z = 0;
    int border = 8;
    int walkable_height = 68, walkable_climb = 10, walkable_radius = 5;
    bool filter_low_hanging = false;
    Partition partition = Partition::watershed;
    int min_region_area = 64, merge_region_area = 400;
    int max_edge_length = 0;
    float max_contour_error = 1.3f;
    bool detail = true;
    float detail_sample_m = 0.3f, detail_error_m = 0.025f;
    float agent_height_m = 1.7f, agent_radius_m = 0.25f, agent_climb_m = 0.25f;
};

constexpr int kVertsPerPoly = 6;

struct Tile {
    std::array<float, 3> origin{};
    std::vector<std::uint16_t> verts;       // (n, 3)
    std::vector<std::uint16_t> polys;       // (m, 6)
    std::vector<std::uint16_t> neighbours;  // (m, 6)
    std::vector<std::uint8_t> areas;        // (m,)
    std::vector<std::uint8_t> blob;
};

// A tile with nothing walkable is empty.
// Throws std::invalid_argument for parameters beyond Recast's limits, std::runtime_error when a stage fails.
Tile build_tile(const Heightfield& field, const TileParams& params);

}  // namespace commonground
