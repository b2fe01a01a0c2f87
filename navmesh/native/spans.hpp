// Cells to Recast's solid spans: one tile and a border around it, noise smoothed away, without a triangle on the way.
#pragma once

#include "cells.hpp"

#include <cstdint>
#include <vector>

namespace commonground {

struct SpanParams {
    int border_cells;    // how far beyond the tile's square spans are wanted
    int slope_limit;     // which of the latched limits is the agent's
    int speck_cells;     // a solid thing with less volume, and in fewer than four of 3 x 3 columns, is left out;
                         // so are the shreds of walls; 0 = everything is believed
    int bridge_columns;  // gaps in the ground this wide are closed
    bool areas;          // tell stairs and ramps from floor
    int step_cells;      // how high the agent steps: between two grounds no further apart, what leans is their edge
};

struct TileSpan {
    std::uint16_t x, z, low, high, area;
};

// A pure function of the cells up to kSpanReach beyond the border. Sorted by z, then x, then height, but for the bridges,
// which come last. Areas look up to kAreaReach columns far: of the ground in the tile's own square they are the same in
// every tile that sees it, as long as border and reach together are as wide. Throws std::invalid_argument for parameters that are out of range.
constexpr int kSpanReach = 6;
std::vector<TileSpan> tile_spans(const CellStore& cells, TileXZ tile, const SpanParams& params);

}  // namespace commonground
