// A Commonground NavMesh in your own Detour: from a file (`commonground export SCENE nav.bin`), or tile by tile as the
// map changes (part `blob` of the `nav` layer; see server/protocol/asyncapi.yaml). Needs Detour 1.5 or newer with 32-bit
// references, and the server's own check of tiles, which Detour would trust: navmesh/native/blob.hpp and blob.cpp.
#pragma once

#include <DetourAlloc.h>
#include <DetourNavMesh.h>

#include "blob.hpp"

#include <cstdint>
#include <cstring>
#include <istream>
#include <memory>
#include <stdexcept>
#include <vector>

namespace commonground {

static_assert(sizeof(dtPolyRef) == 4, "build Detour without DT_POLYREF64: tiles have 32-bit references");

using NavMesh = std::unique_ptr<dtNavMesh, decltype(&dtFreeNavMesh)>;

// An empty NavMesh for the tiles of one scene. `tile_size` is 64 cells (3.2 m); `base` is the y of any tile's bmin.
inline NavMesh make_navmesh(float tile_size, float base, int max_tiles = 1 << 12, int max_polys_per_tile = 1 << 10) {
    dtNavMeshParams params{};
    params.orig[1] = base;
    params.tileWidth = params.tileHeight = tile_size;
    params.maxTiles = max_tiles;
    params.maxPolys = max_polys_per_tile;
    NavMesh mesh(dtAllocNavMesh(), &dtFreeNavMesh);
    if (!mesh || dtStatusFailed(mesh->init(&params))) throw std::runtime_error("no room for so many tiles and polygons");
    return mesh;
}

// Add a tile, or replace the one that lies there. References to polygons of the old one become invalid. Throws
// std::invalid_argument when it is no whole, self-consistent tile; the old one then stays.
inline void put_tile(dtNavMesh& mesh, const void* blob, std::size_t size, dtTileRef at = 0) {
    check_blob(static_cast<const std::uint8_t*>(blob), size);
    dtMeshHeader header;
    std::memcpy(&header, blob, sizeof header);
    if (const dtTileRef old = mesh.getTileRefAt(header.x, header.y, header.layer)) mesh.removeTile(old, nullptr, nullptr);
    // Detour links tiles inside their buffers, and frees them: it gets a copy of its own.
    auto* copy = static_cast<unsigned char*>(dtAlloc(size, DT_ALLOC_PERM));
    if (!copy) throw std::bad_alloc();
    std::memcpy(copy, blob, size);
    if (dtStatusFailed(mesh.addTile(copy, static_cast<int>(size), DT_TILE_FREE_DATA, at, nullptr))) {
        dtFree(copy);
        throw std::runtime_error("Detour has no room for this tile");
    }
}

// Take out the tile of a `remove` message with key [x, z, agent].
inline void remove_tile(dtNavMesh& mesh, int x, int z) {
    if (const dtTileRef old = mesh.getTileRefAt(x, z, 0)) mesh.removeTile(old, nullptr, nullptr);
}

// Read a Detour tile set, as `commonground export SCENE nav.bin` or RecastDemo write it.
inline NavMesh read_tile_set(std::istream& file) {
    constexpr std::int32_t kMagic = 'M' << 24 | 'S' << 16 | 'E' << 8 | 'T', kVersion = 1;
    constexpr std::int32_t kLargestTile = 64 << 20;
    const auto read = [&](void* into, std::size_t size) {
        if (!file.read(static_cast<char*>(into), static_cast<std::streamsize>(size)))
            throw std::runtime_error("the tile set is cut short");
    };
    std::int32_t magic, version, count;
    read(&magic, 4);
    read(&version, 4);
    read(&count, 4);
    if (magic != kMagic || version != kVersion) throw std::runtime_error("not a Detour tile set");
    dtNavMeshParams params;
    read(&params, sizeof params);
    NavMesh mesh(dtAllocNavMesh(), &dtFreeNavMesh);
    if (!mesh || dtStatusFailed(mesh->init(&params))) throw std::runtime_error("the tile set's parameters make no sense");
    std::vector<char> blob;
    for (; count > 0; --count) {
        dtTileRef ref;
        std::int32_t size;
        read(&ref, sizeof ref);
        read(&size, sizeof size);
        if (size < 0 || size > kLargestTile) throw std::runtime_error("a tile's size makes no sense");
        blob.resize(static_cast<std::size_t>(size));
        read(blob.data(), blob.size());
        put_tile(*mesh, blob.data(), blob.size(), ref);
    }
    return mesh;
}

}  // namespace commonground
