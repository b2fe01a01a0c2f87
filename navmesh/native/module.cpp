// Python's door to Recast and Detour: plain arrays and bytes in and out, the interpreter's lock released while they work.
#include "arrays.hpp"
#include "heightfield.hpp"
#include "tile.hpp"
#include "world.hpp"

#include <Recast.h>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <memory>

namespace nb = nanobind;
using namespace nb::literals;
using namespace commonground;

namespace {

using SpanArray = nb::ndarray<const std::uint16_t, nb::shape<-1, 5>, nb::c_contig, nb::device::cpu>;
using VertexArray = nb::ndarray<const float, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using TriangleArray = nb::ndarray<const std::int32_t, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;

nb::object points_array(const std::vector<Point>& points) {
    std::vector<float> flat;
    flat.reserve(points.size() * 3);
    for (const Point& point : points) flat.insert(flat.end(), point.begin(), point.end());
    return rows(std::move(flat), 3);
}

nb::tuple tile_tuple(const TileUse& tile) { return nb::make_tuple(tile.x, tile.z, tile.revision); }

nb::list tile_list(const std::vector<TileUse>& tiles) {
    nb::list out;
    for (const TileUse& tile : tiles) out.append(tile_tuple(tile));
    return out;
}

}  // namespace

NB_MODULE(_recast, m) {
    nb::set_leak_warnings(false);  // what a program holds to its last instant is no leak, and users read its last lines
    m.doc() = "Recast and Detour for navmesh/recast.py, which is the only importer and speaks metres.";
    m.attr("MAX_SPAN_HEIGHT") = RC_SPAN_MAX_HEIGHT;
    m.attr("VERTS_PER_POLY") = kVertsPerPoly;

    nb::enum_<Partition>(m, "Partition")
        .value("watershed", Partition::watershed)
        .value("monotone", Partition::monotone)
        .value("layers", Partition::layers);

    nb::class_<TileParams>(m, "TileParams")
        .def(nb::init<>())
        .def_rw("tile_x", &TileParams::tile_x)
        .def_rw("tile_z", &TileParams::tile_z)
        .def_rw("border", &TileParams::border)
        .def_rw("walkable_height", &TileParams::walkable_height)
        .def_rw("walkable_climb", &TileParams::walkable_climb)
        .def_rw("walkable_radius", &TileParams::walkable_radius)
        .def_rw("filter_low_hanging", &TileParams::filter_low_hanging)
        .def_rw("partition", &TileParams::partition)
        .def_rw("min_region_area", &TileParams::min_region_area)
        .def_rw("merge_region_area", &TileParams::merge_region_area)
        .def_rw("max_edge_length", &TileParams::max_edge_length)
        .def_rw("max_contour_error", &TileParams::max_contour_error)
        .def_rw("detail", &TileParams::detail)
        .def_rw("detail_sample_m", &TileParams::detail_sample_m)
        .def_rw("detail_error_m", &TileParams::detail_error_m)
        .def_rw("agent_height_m", &TileParams::agent_height_m)
        .def_rw("agent_radius_m", &TileParams::agent_radius_m)
        .def_rw("agent_climb_m", &TileParams::agent_climb_m);

    nb::class_<Tile>(m, "Tile")
        .def_ro("origin", &Tile::origin)
        .def_prop_ro("verts", [](const Tile& tile) { return rows(tile.verts, 3); })
        .def_prop_ro("polys", [](const Tile& tile) { return rows(tile.polys, kVertsPerPoly); })
        .def_prop_ro("neighbours", [](const Tile& tile) { return rows(tile.neighbours, kVertsPerPoly); })
        .def_prop_ro("areas", [](const Tile& tile) { return to_numpy(tile.areas, {tile.areas.size()}); })
        .def_prop_ro("blob", [](const Tile& tile) { return nb::bytes(tile.blob.data(), tile.blob.size()); });

    nb::class_<Heightfield>(m, "Heightfield")
        .def(
            "__init__",
            [](Heightfield* self, int width, int depth, std::array<float, 3> origin, float cell_size, float cell_height,
               int max_height) { new (self) Heightfield({width, depth, origin, cell_size, cell_height, max_height}); },
            "width"_a, "depth"_a, "origin"_a, "cell_size"_a, "cell_height"_a, "max_height"_a = RC_SPAN_MAX_HEIGHT)
        .def(
            "add_spans",
            [](Heightfield& self, const SpanArray& spans) {
                static_assert(sizeof(Span) == 5 * sizeof(std::uint16_t));
                const auto* data = reinterpret_cast<const Span*>(spans.data());
                const nb::gil_scoped_release release;
                self.add_spans(data, spans.shape(0));
            },
            "spans"_a, "(n, 5) uint16: x, z, smin, smax, area.")
        .def(
            "rasterize",
            [](Heightfield& self, const VertexArray& vertices, const TriangleArray& triangles, float max_slope_deg,
               int merge_climb) {
                const nb::gil_scoped_release release;
                self.rasterize(vertices.data(), vertices.shape(0), triangles.data(), triangles.shape(0), max_slope_deg,
                               merge_climb);
            },
            "vertices"_a, "triangles"_a, "max_slope_deg"_a, "merge_climb"_a)
        .def("spans", [](const Heightfield& self) { return table<std::uint16_t>(self.list()); })
        .def("build", &build_tile, "params"_a, nb::call_guard<nb::gil_scoped_release>());

    nb::class_<World>(m, "World")
        .def(
            "__init__",
            [](World* self, std::array<float, 3> origin, float tile_size_m, int tile_bits, int poly_bits, int max_nodes,
               const std::vector<std::pair<int, float>>& area_costs) {
                new (self) World(WorldParams{origin, tile_size_m, tile_bits, poly_bits, max_nodes, area_costs});
            },
            "origin"_a, "tile_size_m"_a, "tile_bits"_a = 12, "poly_bits"_a = 10, "max_nodes"_a = 16384,
            "area_costs"_a = std::vector<std::pair<int, float>>{})
        .def(
            "set_tile",
            [](World& self, const nb::bytes& blob, int x, int z, std::uint32_t revision) {
                const auto* data = static_cast<const std::uint8_t*>(blob.data());
                const std::size_t size = blob.size();
                const nb::gil_scoped_release release;
                self.set_tile(data, size, x, z, revision);
            },
            "blob"_a, "x"_a, "z"_a, "revision"_a = 0)
        .def("remove_tile", &World::remove_tile, "x"_a, "z"_a, nb::call_guard<nb::gil_scoped_release>())
        .def_prop_ro("tile_count", &World::tile_count)
        .def(
            "nearest",
            [](const World& self, Point point, Point half_extents) -> nb::object {
                std::optional<Nearest> found;
                {
                    const nb::gil_scoped_release release;
                    found = self.nearest(point, half_extents);
                }
                if (!found) return nb::none();
                return nb::make_tuple(found->point, tile_tuple(found->tile), found->area);
            },
            "point"_a, "half_extents"_a, "(point, (x, z, revision) of its tile, area) or None.")
        .def("reachable", &World::reachable, "start"_a, "goal"_a, "half_extents"_a,
             nb::call_guard<nb::gil_scoped_release>())
        .def(
            "path",
            [](const World& self, Point from, Point to, Point half_extents) {
                PathResult result;
                {
                    const nb::gil_scoped_release release;
                    result = self.path(from, to, half_extents);
                }
                return nb::make_tuple(points_array(result.points), tile_list(result.tiles), result.partial);
            },
            "start"_a, "goal"_a, "half_extents"_a, "(points (n, 3) float32, [(x, z, revision) of tiles passed], partial).")
        .def(
            "raycast",
            [](const World& self, Point from, Point to, Point half_extents) -> nb::object {
                std::optional<RayResult> result;
                {
                    const nb::gil_scoped_release release;
                    result = self.raycast(from, to, half_extents);
                }
                if (!result) return nb::none();
                return nb::make_tuple(result->hit, result->blocked, result->sees, tile_list(result->tiles));
            },
            "start"_a, "end"_a, "half_extents"_a, "(point where the ray ends, blocked, sees the end, [(x, z, revision)]) or None.")
        .def(
            "reach",
            [](const World& self, Point from, float within_m, Point half_extents) -> nb::object {
                std::optional<ReachResult> result;
                {
                    const nb::gil_scoped_release release;
                    result = self.reach(from, within_m, half_extents);
                }
                if (!result) return nb::none();
                const std::size_t count = result->polygon.size();
                return nb::make_tuple(to_numpy(std::move(result->tile_of), {count}),
                                      to_numpy(std::move(result->polygon), {count}),
                                      to_numpy(std::move(result->walk_m), {count}), tile_list(result->tiles), result->cut);
            },
            "start"_a, "within_m"_a, "half_extents"_a,
            "(index of the tile in the list, polygon in that tile, metres walked, [(x, z, revision)], cut short) or None.");
}
