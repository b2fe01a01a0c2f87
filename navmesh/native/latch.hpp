// What one block of voxels says about each of its cells, given what was believed before: solid, free or unknown, too steep.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace commonground {

constexpr int kBlockEdge = 8;                         // voxels; also columns of cells
constexpr int kBlockColumns = kBlockEdge * kBlockEdge;
constexpr int kCellsTall = 2 * kBlockEdge;            // a cell is half a voxel tall

// Cells of a block as planes of 64 words, one word for each column (x * 8 + z), one bit for each height, the lowest first:
// plane 0 = solid, plane 1 = free (neither = unknown), plane 2 + k = too steep for slope limit k.
constexpr int kSolid = 0, kFree = 1, kSteep = 2;

// Cosines of the angle at which ground is too steep: at first sight, when it was not before, when it was.
struct SlopeLimit {
    float at_first, while_level, while_steep;
};

struct LatchParams {
    float known_weight, min_weight;  // a voxel is known when its weight is at least the one and more than the other
    float hysteresis_m;              // a solid cell turns free above this distance, a free one solid below minus it
    float contradiction_m;           // a cell this far on the wrong side was moved, not measured badly
    int contradiction_cells;         // so many cells of one block that turn at once were moved, too
    float max_step_m;                // more than this between two voxels of a column is no surface but a silhouette
    std::vector<SlopeLimit> limits;
};

// A block and the 26 around it, (dx + 1) * 9 + (dy + 1) * 3 + dz + 1; null = not there. Voxels are (x, y, z), z the fastest.
struct Neighbourhood {
    std::array<const float*, 27> tsdf_m, weight;
};

struct Outcome {
    bool changed, contradicted;
};

// Brings the planes of a block up to date in place. `afresh`: what they hold is from a world that is no more.
Outcome latch_block(const Neighbourhood& voxels, const LatchParams& params, bool afresh, std::uint16_t* planes);

}  // namespace commonground
