# Follows a live scene and says what Godot makes of it, one line of JSON after the snapshot and each change.
# Usage: godot3-server --path clients/engines/godot -s test/follow.gd <ws url> <scene> "[[from, to], ...]"
extends SceneTree

var client := preload("res://addons/commonground/map_client.gd").new()
var navigation := preload("res://addons/commonground/live_navigation.gd").new()
var arguments := OS.get_cmdline_args()
var is_complete := false


func _initialize() -> void:
	root.add_child(client)
	root.add_child(navigation)
	navigation.follow(client)
	client.connect("completed", self, "_on_completed")
	client.connect("tile_put", self, "_on_put")
	client.connect("tile_removed", self, "_on_removed")
	client.connect("failed", self, "_on_failed")
	client.follow(arguments[-3], arguments[-2])


func _on_completed() -> void:
	is_complete = true
	report()


func _on_put(_key: String, _tile: Dictionary) -> void:
	if is_complete:
		report()


func _on_removed(_key: String) -> void:
	if is_complete:
		report()


func _on_failed(reason: String) -> void:
	print("failed: ", reason)
	quit()


func report() -> void:
	navigation.refresh()
	var versions := {}
	for key in client.tiles:
		versions["%s,%s" % [key, client.agent]] = client.tiles[key]["version"]
	var paths := []
	for pair in parse_json(arguments[-1]):
		var points := []
		for point in navigation.get_simple_path(vector(pair[0]), vector(pair[1])):
			points.append([point.x, point.y, point.z])
		paths.append(points)
	var mesh: NavigationMesh = navigation.mesh_of(client.tiles.values())
	var area := 0.0
	for i in range(mesh.get_polygon_count()):
		var polygon := mesh.get_polygon(i)
		for k in range(2, polygon.size()):
			var a := mesh.vertices[polygon[0]]
			area += (mesh.vertices[polygon[k - 1]] - a).cross(mesh.vertices[polygon[k]] - a).y / 2
	print(to_json({"versions": versions, "paths": paths, "polygons": mesh.get_polygon_count(), "area_m2": area}))


func vector(numbers: Array) -> Vector3:
	return Vector3(numbers[0], numbers[1], numbers[2])
