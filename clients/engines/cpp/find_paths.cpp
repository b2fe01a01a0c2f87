// Example: load a tile set and find ways over it.
//   g++ -std=c++17 -I/usr/include/recastnavigation find_paths.cpp -lDetour -o find_paths
//   echo "0.5 0 0.5  8 0 8" | ./find_paths nav.bin
// Reads start and goal, six numbers a line, from stdin; prints the corners of each path, or "none".
#include "commonground_navmesh.hpp"

#include <DetourNavMeshQuery.h>

#include <cstdio>
#include <fstream>
#include <iostream>

int main(int argc, char** argv) try {
    if (argc != 2) throw std::runtime_error("usage: find_paths nav.bin < queries");
    std::ifstream file(argv[1], std::ios::binary);
    if (!file) throw std::runtime_error(std::string("cannot open ") + argv[1]);
    const commonground::NavMesh mesh = commonground::read_tile_set(file);

    constexpr int kMost = 1 << 14;
    const std::unique_ptr<dtNavMeshQuery, decltype(&dtFreeNavMeshQuery)> query(dtAllocNavMeshQuery(), &dtFreeNavMeshQuery);
    if (dtStatusFailed(query->init(mesh.get(), kMost))) throw std::bad_alloc();
    const dtQueryFilter filter;
    const float reach[3] = {1.0f, 2.0f, 1.0f};
    std::vector<dtPolyRef> corridor(kMost);
    std::vector<float> corners(3 * kMost);

    for (float a[3], b[3]; std::cin >> a[0] >> a[1] >> a[2] >> b[0] >> b[1] >> b[2];) {
        dtPolyRef start, goal;
        float from[3], to[3];
        query->findNearestPoly(a, reach, &filter, &start, from);
        query->findNearestPoly(b, reach, &filter, &goal, to);
        int length = 0, count = 0;
        if (start && goal) query->findPath(start, goal, from, to, &filter, corridor.data(), &length, kMost);
        if (length == 0 || corridor[length - 1] != goal) {
            std::puts("none");
            continue;
        }
        query->findStraightPath(from, to, corridor.data(), length, corners.data(), nullptr, nullptr, &count, kMost);
        for (int i = 0; i < 3 * count; ++i) std::printf("%.9g ", corners[i]);
        std::puts("");
    }
} catch (const std::exception& error) {
    std::fprintf(stderr, "find_paths: %s\n", error.what());
    return 1;
}
