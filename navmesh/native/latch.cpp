#include "latch.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

// Eight columns are worked on at once, in GCC's portable vectors; machines with wider registers get a build of their own.
// The same operations in the same order, and no fused ones: every machine gives the same bits.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define COMMONGROUND_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define COMMONGROUND_CLONES
#endif
#define COMMONGROUND_INLINE static inline __attribute__((always_inline))
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors never cross a real function call

namespace commonground {

namespace {

using Floats = float __attribute__((vector_size(32)));
using Ints = std::int32_t __attribute__((vector_size(32)));
using Words = std::uint16_t __attribute__((vector_size(16)));

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int kCentre = 13, kBelow = 10, kAbove = 16;  // places in a Neighbourhood

COMMONGROUND_INLINE Floats all(float value) { return Floats{} + value; }

COMMONGROUND_INLINE Floats load(const float* from) {
    Floats out;
    std::memcpy(&out, from, sizeof out);
    return out;
}

COMMONGROUND_INLINE Ints load_words(const std::uint16_t* from) {
    Words words;
    std::memcpy(&words, from, sizeof words);
    return __builtin_convertvector(words, Ints);
}

COMMONGROUND_INLINE void store_words(Ints values, std::uint16_t* to) {
    const Words words = __builtin_convertvector(values, Words);
    std::memcpy(to, &words, sizeof words);
}

COMMONGROUND_INLINE bool any(Ints mask) {
    std::int64_t parts[4];
    std::memcpy(parts, &mask, sizeof parts);
    return (parts[0] | parts[1] | parts[2] | parts[3]) != 0;
}

COMMONGROUND_INLINE bool is_known(float t, float w, const LatchParams& p) {
    return w >= p.known_weight && w > p.min_weight && t - t == 0.0f;
}

// Distances of a row of eight voxels along z; NaN where unknown.
COMMONGROUND_INLINE Floats known_row(const float* tsdf_m, const float* weight, int x, int y, const LatchParams& p) {
    if (!tsdf_m) return all(kNan);
    const int at = (x * kBlockEdge + y) * kBlockEdge;
    const Floats t = load(tsdf_m + at), w = load(weight + at);
    return (w >= p.known_weight) & (w > p.min_weight) & (t - t == 0.0f) ? t : all(kNan);
}

COMMONGROUND_INLINE float known_voxel(const Neighbourhood& v, int block, int at, const LatchParams& p) {
    if (!v.tsdf_m[block]) return kNan;
    const float t = v.tsdf_m[block][at];
    return is_known(t, v.weight[block][at], p) ? t : kNan;
}

// The block and one voxel beyond it on every side, for the heights whose gradient is asked for.
struct Padded {
    float rows[10][10][16];

    float* row(int x, int y) { return rows[x + 1][y + 1] + 4; }
    const float* row(int x, int y) const { return rows[x + 1][y + 1] + 4; }
};

COMMONGROUND_INLINE void fill(Padded& near, const Neighbourhood& v, const LatchParams& p, int low, int high) {
    for (int x = -1; x <= kBlockEdge; ++x)
        for (int y = low - 1; y <= high + 1; ++y) {
            const int side = 9 * ((x + 8) / 8) + 3 * ((y + 8) / 8);
            const int at = (x & 7) * 64 + (y & 7) * 8;
            const Floats middle = known_row(v.tsdf_m[side + 1], v.weight[side + 1], x & 7, y & 7, p);
            std::memcpy(near.row(x, y), &middle, sizeof middle);
            near.row(x, y)[-1] = known_voxel(v, side, at + 7, p);
            near.row(x, y)[8] = known_voxel(v, side + 2, at, p);
        }
}

struct Mean {
    Floats sum{}, count{};
};

COMMONGROUND_INLINE void add(Mean& mean, Floats difference) {
    const Ints is_number = difference == difference;
    mean.sum += is_number ? difference : Floats{};
    mean.count += is_number ? all(1.0f) : Floats{};
}

COMMONGROUND_INLINE Floats slope(const Mean& mean, float voxels) {
    const Floats count = mean.count > 1.0f ? mean.count : all(1.0f);
    return mean.sum / (count * voxels);
}

// Cosine between the surface's normal and up, from differences averaged over a 3 x 3 face against noise.
COMMONGROUND_INLINE Floats up_cosine(const Padded& near, int x, int y) {
    Mean along_x, up, along_z;
    for (int a = -1; a <= 1; ++a)
        for (int b = -1; b <= 1; ++b) {
            add(along_x, load(near.row(x + 1, y + a) + b) - load(near.row(x - 1, y + a) + b));
            // Upwards only: what lies under a thin board must not count.
            add(up, load(near.row(x + a, y + 1) + b) - load(near.row(x + a, y) + b));
            add(along_z, load(near.row(x + a, y + b) + 1) - load(near.row(x + a, y + b) - 1));
        }
    const Floats gx = slope(along_x, 2.0f), gy = slope(up, 1.0f), gz = slope(along_z, 2.0f);
    const Floats square = gx * gx + gy * gy + gz * gz;
    Floats norm{};
    for (int lane = 0; lane < 8; ++lane) norm[lane] = std::sqrt(square[lane]);
    return norm > 0.0f ? gy / norm : all(-1.0f);
}

// Which voxels are solid and so near to a surface that their slope counts, and which of them are a silhouette's edge.
struct Surface {
    Ints near[kBlockEdge][kBlockEdge], edge[kBlockEdge][kBlockEdge];  // [x][y]
    int low = kBlockEdge, high = -1;                                  // heights y with any
};

template <bool kRemembers>
COMMONGROUND_INLINE bool next_states(const Neighbourhood& v, const LatchParams& p, const std::uint16_t* old,
                                     std::uint16_t* next, Surface& surface) {
    Ints contradicted{}, turned{};
    const float* const tsdf_m[] = {v.tsdf_m[kBelow], v.tsdf_m[kCentre], v.tsdf_m[kAbove]};
    const float* const weight[] = {v.weight[kBelow], v.weight[kCentre], v.weight[kAbove]};
    const float rise = std::nextafter(p.hysteresis_m, std::numeric_limits<float>::infinity());  // d <= h is d < rise
    const float shallow = -1.5f * p.hysteresis_m - 0.005f;  // could a cell right above be free?
    for (int x = 0; x < kBlockEdge; ++x) {
        Ints was_solid{}, was_free{}, solid{}, free{};
        if (kRemembers) {
            was_solid = load_words(old + kSolid * kBlockColumns + 8 * x);
            was_free = load_words(old + kFree * kBlockColumns + 8 * x);
        }
        Floats below = known_row(tsdf_m[0], weight[0], x, 7, p), here = known_row(tsdf_m[1], weight[1], x, 0, p);
        for (int y = 0; y < kBlockEdge; ++y) {
            const Floats above = y < 7 ? known_row(tsdf_m[1], weight[1], x, y + 1, p) : known_row(tsdf_m[2], weight[2], x, 0, p);
            Ints is_solid{};
            for (int half = 0; half < 2; ++half) {
                const Floats beside = half ? above : below;
                const Floats d = 0.75f * here + 0.25f * (beside == beside ? beside : here);
                const int bit = 1 << (2 * y + half);
                Ints is_below;
                if (kRemembers) {
                    const Ints s = (was_solid & bit) != 0, f = (was_free & bit) != 0;
                    is_below = d < (s ? all(rise) : (f ? all(-p.hysteresis_m) : Floats{}));
                    contradicted |= (s & (d > p.contradiction_m)) | (f & (d < -p.contradiction_m));
                    turned -= (s & (d >= rise)) | (f & is_below);  // a true lane is -1
                } else {
                    is_below = d < 0.0f;
                }
                is_solid |= is_below;
                solid |= is_below & bit;
                free |= (d >= d) & ~is_below & bit;
            }
            const Floats step = above - here;
            const Ints edge = is_solid & ((step > p.max_step_m) | (step < -p.max_step_m));
            const Ints near = is_solid & ((here > shallow) | (above > shallow) | (above != above) | edge);
            surface.near[x][y] = near;
            surface.edge[x][y] = edge;
            if (any(near)) {
                surface.low = std::min(surface.low, y);
                surface.high = std::max(surface.high, y);
            }
            below = here;
            here = above;
        }
        store_words(solid, next + kSolid * kBlockColumns + 8 * x);
        store_words(free, next + kFree * kBlockColumns + 8 * x);
    }
    if (!kRemembers) return false;
    int turns = 0;
    for (int lane = 0; lane < 8; ++lane) turns += turned[lane];
    return any(contradicted) || turns >= p.contradiction_cells;
}

// Cells with nothing solid right above them. The highest of a block always counts: what is above it lies in another.
COMMONGROUND_INLINE Ints tops(Ints solid) { return solid & ~((solid & 0xFFFF) >> 1); }

// Only tops can be ground: of what stands upright, most cells need no slope.
COMMONGROUND_INLINE void keep_tops(const std::uint16_t* next, Surface& surface) {
    surface.low = kBlockEdge, surface.high = -1;
    for (int x = 0; x < kBlockEdge; ++x) {
        const Ints top = tops(load_words(next + kSolid * kBlockColumns + 8 * x));
        for (int y = 0; y < kBlockEdge; ++y) {
            surface.near[x][y] &= (top & (3 << (2 * y))) != 0;
            if (!any(surface.near[x][y])) continue;
            surface.low = std::min(surface.low, y);
            surface.high = std::max(surface.high, y);
        }
    }
}

COMMONGROUND_INLINE void next_steepness(const Neighbourhood& v, const LatchParams& p, const std::uint16_t* old,
                                        std::uint16_t* next, const Surface& surface) {
    Padded near;
    fill(near, v, p, surface.low, surface.high);
    const int limits = static_cast<int>(p.limits.size());
    for (int x = 0; x < kBlockEdge; ++x) {
        const Ints top = tops(load_words(next + kSolid * kBlockColumns + 8 * x));
        const Ints was_top = tops(load_words(old + kSolid * kBlockColumns + 8 * x));
        for (int y = surface.low; y <= surface.high; ++y) {
            if (!any(surface.near[x][y])) continue;
            const Floats cosine = surface.edge[x][y] ? all(-1.0f) : up_cosine(near, x, y);
            for (int k = 0; k < limits; ++k) {
                std::uint16_t* plane = next + (kSteep + k) * kBlockColumns + 8 * x;
                const Ints was_steep = load_words(old + (kSteep + k) * kBlockColumns + 8 * x);
                const SlopeLimit& limit = p.limits[k];
                Ints steep = load_words(plane);
                for (int bit = 1 << (2 * y); bit <= 2 << (2 * y); bit <<= 1) {
                    const Floats threshold = (was_top & bit) != 0
                                                 ? ((was_steep & bit) != 0 ? all(limit.while_steep) : all(limit.while_level))
                                                 : all(limit.at_first);
                    steep |= (cosine < threshold) & surface.near[x][y] & top & bit;
                }
                store_words(steep, plane);
            }
        }
    }
}

}  // namespace

COMMONGROUND_CLONES
Outcome latch_block(const Neighbourhood& voxels, const LatchParams& params, bool afresh, std::uint16_t* planes) {
    constexpr int kMostPlanes = 8;
    const std::size_t words = (kSteep + params.limits.size()) * kBlockColumns;
    std::uint16_t next[kMostPlanes * kBlockColumns], old[kMostPlanes * kBlockColumns];
    std::memset(next + kSteep * kBlockColumns, 0, params.limits.size() * kBlockColumns * sizeof *next);
    std::memcpy(old, planes, words * sizeof *old);
    Surface surface;
    const bool is_new = std::all_of(old, old + kSteep * kBlockColumns, [](std::uint16_t word) { return word == 0; });
    const bool contradicted = !is_new && next_states<true>(voxels, params, old, next, surface);
    if (is_new || afresh || contradicted) {
        surface.low = kBlockEdge, surface.high = -1;
        std::memset(old, 0, words * sizeof *old);
        next_states<false>(voxels, params, old, next, surface);
    }
    if (surface.high >= 0) keep_tops(next, surface);
    if (surface.high >= 0) next_steepness(voxels, params, old, next, surface);
    const bool changed = std::memcmp(next, planes, words * sizeof *next) != 0;
    if (changed) std::memcpy(planes, next, words * sizeof *next);
    return {changed, contradicted};
}

}  // namespace commonground
