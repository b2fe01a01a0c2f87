// Cells to solids: what stands in each column of a square, from the bottom up.
#pragma once

#include "areas.hpp"
#include "cells.hpp"

#include <cstdint>
#include <vector>

namespace commonground {

struct ColumnSquare {
    int x, z;         // of its first column, in the world's cells
    int side;         // columns
    int slope_limit;  // which of the latched limits is the agent's
};

struct Solids {
    std::vector<Solid> solids;         // those of one column after the other, z first, x within it
    std::vector<std::int32_t> starts;  // where those of each column begin, and the end
};

// The tops of solids are floor or steep ground where free air was seen right above them. At most 255 in a column, Recast's
// limit; heights in cells from the base.
Solids find_solids(const CellStore& cells, const ColumnSquare& square);

// The blocks above and below column (x, z) of the world's cells; null when there never were any in its tile.
const BlockColumn* block_column(const CellStore& cells, int x, int z);

}  // namespace commonground
