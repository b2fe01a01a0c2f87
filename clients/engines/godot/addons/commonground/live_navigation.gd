# A Navigation node that walks on the tiles of a `map_client`:
#     $Navigation.follow($MapClient)
#     var path := $Navigation.get_simple_path(from, to)
# Godot joins polygons only where both ends of an edge are equal. Tiles share borders, but not every corner on them, so
# all tiles become one mesh in which corners that lie on a neighbour's edge divide that edge.
extends Navigation

const UNUSED := 0xffff
const BORDER := 0x8000
const TILE_CELLS := 64
const SIDES := 6

# How far floors may differ in height where tiles meet; what the agent climbs.
export var step_height_m := 0.25

var _client: Node = null
var _is_stale := false
var _mesh_id := -1
var _vertices := PoolVector3Array()
var _corners_at := {}  # (x, z) in cells of the world -> corners there


func follow(client: Node) -> void:
	_client = client
	client.connect("tile_put", self, "_on_tile_put")
	client.connect("tile_removed", self, "_on_tile_removed")
	_is_stale = true


func _on_tile_put(_key: String, _tile: Dictionary) -> void:
	_is_stale = true


func _on_tile_removed(_key: String) -> void:
	_is_stale = true


func _process(_delta: float) -> void:
	if _is_stale:
		refresh()


# Take in what has changed; done once a frame, or call it to have it now.
func refresh() -> void:
	_is_stale = false
	if _mesh_id >= 0:
		navmesh_remove(_mesh_id)
	_mesh_id = navmesh_add(mesh_of(_client.tiles.values()), Transform.IDENTITY)


# One NavigationMesh of many tiles.
func mesh_of(tiles: Array) -> NavigationMesh:
	_vertices = PoolVector3Array()
	_corners_at = {}
	var polygons := []  # corners of each
	var portals := []  # per polygon: which of its edges lead to another tile
	var on_line := {}  # border -> corners of portals on it
	for tile in tiles:
		_add_polygons(tile, polygons, portals)
	for p in range(polygons.size()):
		for i in portals[p]:
			var a: int = polygons[p][i]
			var b: int = polygons[p][(i + 1) % polygons[p].size()]
			var line := _line_of(a, b)
			if not on_line.has(line):
				on_line[line] = {}
			on_line[line][a] = true
			on_line[line][b] = true
	var mesh := NavigationMesh.new()
	mesh.set_vertices(_vertices)
	for p in range(polygons.size()):
		mesh.add_polygon(_divided(polygons[p], portals[p], on_line))
	return mesh


func _add_polygons(tile: Dictionary, polygons: Array, portals: Array) -> void:
	var corners := []
	for i in range(0, tile["verts"].size(), 3):
		var x: int = TILE_CELLS * tile["x"] + tile["verts"][i]
		var z: int = TILE_CELLS * tile["z"] + tile["verts"][i + 2]
		corners.append(_corner(x, z, tile["origin"].y + tile["step"].y * tile["verts"][i + 1], tile["step"].x))
	for start in range(0, tile["polys"].size(), SIDES):
		var polygon := PoolIntArray()
		var outward := []
		for i in range(start, start + SIDES):
			var vertex: int = tile["polys"][i]
			if vertex == UNUSED:
				break
			if vertex >= corners.size():
				return
			if tile["neighbours"][i] != UNUSED and tile["neighbours"][i] & BORDER:
				outward.append(i - start)
			polygon.append(corners[vertex])
		polygons.append(polygon)
		portals.append(outward)


# The corner at cell (x, z) nearest in height, shared by all tiles that touch there.
func _corner(x: int, z: int, height_m: float, cell_m: float) -> int:
	var at := Vector2(x, z)
	if not _corners_at.has(at):
		_corners_at[at] = []
	for corner in _corners_at[at]:
		if abs(_vertices[corner].y - height_m) <= step_height_m:
			return corner
	_vertices.append(Vector3(x * cell_m, height_m, z * cell_m))
	_corners_at[at].append(_vertices.size() - 1)
	return _vertices.size() - 1


# Portals lie on the borders of tiles: on one line along x or along z.
func _line_of(a: int, b: int) -> String:
	if _vertices[a].x == _vertices[b].x:
		return "x %f" % _vertices[a].x
	return "z %f" % _vertices[a].z


func _divided(polygon: PoolIntArray, outward: Array, on_line: Dictionary) -> PoolIntArray:
	var out := PoolIntArray()
	for i in range(polygon.size()):
		out.append(polygon[i])
		if i in outward:
			var a := polygon[i]
			var b := polygon[(i + 1) % polygon.size()]
			out.append_array(_between(a, b, on_line[_line_of(a, b)].keys()))
	return out


# Corners of neighbours on the edge from a to b, in that order.
func _between(a: int, b: int, corners: Array) -> PoolIntArray:
	var from := _vertices[a]
	var along := _vertices[b] - from
	var flat := Vector3(along.x, 0.0, along.z)
	var found := []
	for corner in corners:
		var t := (_vertices[corner] - from).dot(flat) / flat.length_squared()
		if t > 1e-4 and t < 1.0 - 1e-4 and abs(from.y + t * along.y - _vertices[corner].y) <= step_height_m:
			found.append([t, corner])
	found.sort_custom(self, "_is_before")
	var out := PoolIntArray()
	for item in found:
		out.append(item[1])
	return out


func _is_before(a: Array, b: Array) -> bool:
	return a[0] < b[0]
