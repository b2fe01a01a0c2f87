// Takes the agent's radius off the rim of what can be walked on.
#pragma once

#include <Recast.h>

namespace commonground {

// The same as `rcErodeWalkableArea` to the last cell, and twenty times faster where no place lies above another.
// Returns false when Recast ran out of memory.
bool erode(rcContext& context, int radius, rcCompactHeightfield& compact);

}  // namespace commonground
