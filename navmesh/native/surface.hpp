// Where an agent can stand in a heightfield, and which of those places lie beside each other.
#pragma once

#include "heightfield.hpp"

#include <Recast.h>

#include <memory>

namespace commonground {

struct FreeCompact {
    void operator()(rcCompactHeightfield* field) const { rcFreeCompactHeightfield(field); }
};
using CompactPtr = std::unique_ptr<rcCompactHeightfield, FreeCompact>;

// In cells.
struct Reach {
    int height, climb;
    bool low_hanging;  // what lies no higher than a step above ground is ground, too, as kerbs made of triangles are
};

// The tops of walkable spans that have headroom and are no ledge, linked to those beside them, as Recast's next stages want
// them. A ledge is where the ground beside falls by more than a step, or the ground around differs by more than one: the
// rules of Recast's own filters, whose versions disagree on a clearance of exactly the agent's height; here it is enough.
// Throws std::bad_alloc.
CompactPtr walkable_surface(const Heightfield& field, const Reach& reach);

}  // namespace commonground
