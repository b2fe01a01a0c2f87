// Detour tile blobs come from caches and networks too: Detour itself trusts every count and index in them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace commonground {

// Throws std::invalid_argument when a blob is not a whole, self-consistent Detour tile of version 7 without off-mesh links.
void check_blob(const std::uint8_t* data, std::size_t size);

}  // namespace commonground
