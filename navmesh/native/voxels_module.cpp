// Python's door to the cells of a map: voxels in, spans out, the interpreter's lock released in between.
#include "areas.hpp"
#include "arrays.hpp"
#include "cells.hpp"
#include "spans.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <stdexcept>

namespace nb = nanobind;
using namespace nb::literals;
using namespace commonground;

namespace {

using KeyArray = nb::ndarray<const std::int32_t, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using TileArray = nb::ndarray<const std::int32_t, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using RowArray = nb::ndarray<const std::int64_t, nb::shape<-1>, nb::c_contig, nb::device::cpu>;
using VoxelArray = nb::ndarray<const float, nb::shape<-1, 8, 8, 8>, nb::c_contig, nb::device::cpu>;
using CellArray = nb::ndarray<const std::uint8_t, nb::shape<-1, 8, 8, 16>, nb::c_contig, nb::device::cpu>;

using PlaneArray = nb::ndarray<const std::uint16_t, nb::shape<-1, -1>, nb::c_contig, nb::device::cpu>;

const BlockKey* keys_of(const KeyArray& keys) { return reinterpret_cast<const BlockKey*>(keys.data()); }

// A block's cells one byte each: bits 0 and 1 = unknown, free, solid (0, 1, 2); bit 2 + k = too steep for limit k.
void unpack(const std::uint16_t* planes, int limits, std::uint8_t* cells) {
    for (int column = 0; column < kBlockColumns; ++column)
        for (int h = 0; h < kCellsTall; ++h) {
            const auto bit = [&](int plane) { return planes[plane * kBlockColumns + column] >> h & 1; };
            unsigned cell = bit(kSolid) ? 2u : static_cast<unsigned>(bit(kFree));
            for (int k = 0; k < limits; ++k) cell |= static_cast<unsigned>(bit(kSteep + k)) << (2 + k);
            cells[column * kCellsTall + h] = static_cast<std::uint8_t>(cell);
        }
}

void pack(const std::uint8_t* cells, int limits, std::uint16_t* planes) {
    std::memset(planes, 0, (kSteep + limits) * kBlockColumns * sizeof *planes);
    for (int column = 0; column < kBlockColumns; ++column)
        for (int h = 0; h < kCellsTall; ++h) {
            const unsigned cell = cells[column * kCellsTall + h];
            const auto set = [&](int plane, unsigned bit) {
                planes[plane * kBlockColumns + column] |= static_cast<std::uint16_t>(bit << h);
            };
            set(kSolid, (cell & 3) == 2);
            set(kFree, (cell & 3) == 1);
            for (int k = 0; k < limits; ++k) set(kSteep + k, cell >> (2 + k) & 1);
        }
}

}  // namespace

NB_MODULE(_voxels, m) {
    nb::set_leak_warnings(false);  // what a program holds to its last instant is no leak, and users read its last lines
    m.doc() = "Calm cells and spans for navmesh/latch.py and navmesh/spans.py, which are the only importers.";
    m.attr("BASE_CELLS") = kBaseCells;
    m.attr("SPAN_REACH") = kSpanReach;
    m.attr("AREAS") = nb::make_tuple(kFloor, kStairs, kRamp);

    nb::class_<CellStore>(m, "CellStore")
        .def(
            "__init__",
            [](CellStore* self, float min_weight, float hysteresis_m, float contradiction_m, int contradiction_cells, float max_step_m,
               const std::vector<std::array<float, 3>>& cosines) {
                LatchParams params{0.0f, min_weight, hysteresis_m, contradiction_m, contradiction_cells, max_step_m, {}};
                for (const auto& [at_first, while_level, while_steep] : cosines)
                    params.limits.push_back({at_first, while_level, while_steep});
                new (self) CellStore(std::move(params));
            },
            "min_weight"_a, "hysteresis_m"_a, "contradiction_m"_a, "contradiction_cells"_a, "max_step_m"_a, "cosines"_a)
        .def("__len__", &CellStore::size)
        .def_prop_ro("nbytes", &CellStore::bytes)
        .def("clear", &CellStore::clear)
        .def(
            "mark",
            [](CellStore& self, const KeyArray& keys) {
                const nb::gil_scoped_release release;
                return self.mark(keys_of(keys), keys.shape(0));
            },
            "keys"_a)
        .def(
            "begin",
            [](CellStore& self, const std::vector<TileXZ>& tiles) {
                std::vector<BlockKey> keys;
                {
                    const nb::gil_scoped_release release;
                    keys = self.begin(tiles);
                }
                return nb::make_tuple(self.picked(), table<std::int32_t>(std::move(keys)));
            },
            "tiles"_a)
        .def(
            "latch",
            [](CellStore& self, std::size_t first, std::size_t last, const RowArray& rows, const VoxelArray& tsdf_m,
               const VoxelArray& weight, float known_weight) {
                if (tsdf_m.shape(0) != weight.shape(0)) throw std::invalid_argument("tsdf and weight differ in length");
                const nb::gil_scoped_release release;
                self.latch(first, last, {rows.data(), rows.shape(0), tsdf_m.data(), weight.data(), tsdf_m.shape(0)},
                           known_weight);
            },
            "first"_a, "last"_a, "rows"_a, "tsdf_m"_a, "weight"_a, "known_weight"_a)
        .def(
            "finish",
            [](CellStore& self, int reach) {
                Refreshed done = self.finish(reach);
                return nb::make_tuple(std::move(done.changed), std::move(done.stale));
            },
            "reach"_a, "(changed tiles, stale tiles)")
        .def(
            "spans",
            [](const CellStore& self, int x, int z, int border_cells, int slope_limit, int speck_cells, int bridge_columns,
               bool areas, int step_cells) {
                std::vector<TileSpan> spans;
                {
                    const nb::gil_scoped_release release;
                    spans = tile_spans(self, {x, z}, {border_cells, slope_limit, speck_cells, bridge_columns, areas, step_cells});
                }
                return table<std::uint16_t>(std::move(spans));
            },
            "x"_a, "z"_a, "border_cells"_a, "slope_limit"_a, "speck_cells"_a, "bridge_columns"_a,
            "areas"_a = true, "step_cells"_a = 0)
        .def(
            "state",
            [](const CellStore& self) {
                const std::size_t count = self.size();
                std::vector<BlockKey> keys(count);
                std::vector<std::uint16_t> planes(count * self.words());
                for (std::size_t n = 0; n < count; ++n) {
                    const auto slot = static_cast<std::int32_t>(n);
                    keys[n] = self.key(slot);
                    std::memcpy(planes.data() + n * self.words(), self.planes(slot), self.words() * sizeof(std::uint16_t));
                }
                return nb::make_tuple(table<std::int32_t>(std::move(keys)),
                                      to_numpy(std::move(planes), {count, self.words()}));
            },
            "(keys (n, 3), planes (n, words)) of all blocks.")
        .def(
            "restore",
            [](CellStore& self, const KeyArray& keys, const PlaneArray& planes) {
                if (keys.shape(0) != planes.shape(0) || planes.shape(1) != self.words())
                    throw std::invalid_argument("the state is not of this many blocks or slope limits");
                for (std::size_t n = 0; n < keys.shape(0); ++n)
                    if (const std::int32_t slot = self.insert(keys_of(keys)[n]); slot != CellStore::kNoSlot)
                        std::memcpy(self.planes(slot), planes.data() + n * self.words(), self.words() * sizeof(std::uint16_t));
            },
            "keys"_a, "planes"_a)
        .def(
            "put",
            [](CellStore& self, const KeyArray& keys, const CellArray& cells) {
                if (keys.shape(0) != cells.shape(0)) throw std::invalid_argument("keys and cells differ in length");
                for (std::size_t n = 0; n < keys.shape(0); ++n) {
                    const std::int32_t slot = self.insert(keys_of(keys)[n]);
                    if (slot != CellStore::kNoSlot)
                        pack(cells.data() + n * kBlockColumns * kCellsTall, self.limits(), self.planes(slot));
                }
            },
            "keys"_a, "cells"_a)
        .def(
            "get",
            [](const CellStore& self, const KeyArray& keys) {
                const std::size_t count = keys.shape(0);
                std::vector<std::uint8_t> cells(count * kBlockColumns * kCellsTall, 0);
                for (std::size_t n = 0; n < count; ++n) {
                    const std::int32_t slot = self.find(keys_of(keys)[n]);
                    if (slot != CellStore::kNoSlot)
                        unpack(self.planes(slot), self.limits(), cells.data() + n * kBlockColumns * kCellsTall);
                }
                return to_numpy(std::move(cells), {count, 8, 8, 16});
            },
            "keys"_a);
}
