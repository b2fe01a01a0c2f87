# Follows the NavMesh of one scene of a Commonground server. Add it to your scene, connect its signals, call `follow`.
# A lost connection is taken up again after `RETRY_S`. The protocol is in server/protocol/asyncapi.yaml.
extends Node

signal tile_put(key, tile)
signal tile_removed(key)
signal completed()  # all that the server has is here; what follows are changes
signal failed(reason)

const Msgpack := preload("msgpack.gd")
const SUBPROTOCOL := "commonground.map.v1"
const RETRY_S := 2.0
const IN_BUFFER_KB := 1024
const MAX_ARRAY_BYTES := 16 << 20
const WIDTHS := {"uint8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4, "float32": 4}

var agent := "human"
var epoch := 0
var tiles := {}  # key "x,z" -> tile: x, z, version, origin and step in metres, verts, polys, neighbours, areas

var _url := ""
var _scene := ""
var _token := ""
var _socket := WebSocketClient.new()
var _retry_s := 0.0


# `url` is "wss://host:8443/v1/map". A server with its own certificate authority (port/ca) needs that file as `ca`.
func follow(url: String, scene: String, token := "", ca: X509Certificate = null) -> void:
	_url = url
	_scene = scene
	_token = token
	_socket.set_buffers(IN_BUFFER_KB, 4096, 64, 256)
	if ca != null:
		_socket.set_trusted_ssl_certificate(ca)
	for event in ["connection_established", "connection_closed", "connection_error", "data_received"]:
		_socket.connect(event, self, "_on_" + event)
	_open()


func _process(delta: float) -> void:
	if _retry_s > 0.0:
		_retry_s -= delta
		if _retry_s <= 0.0:
			_open()
	elif _url != "":
		_socket.poll()


func _open() -> void:
	if _socket.connect_to_url(_url, PoolStringArray([SUBPROTOCOL])) != OK:
		emit_signal("failed", "no address of a server: " + _url)


func _on_connection_established(_protocol: String) -> void:
	_socket.get_peer(1).set_write_mode(WebSocketPeer.WRITE_MODE_BINARY)
	var hello := {"t": "hello", "client": "godot", "max_message_bytes": IN_BUFFER_KB * 512}
	if _token != "":
		hello["token"] = _token
	_send(hello)
	_send({"t": "subscribe", "scene": _scene, "layers": ["nav"], "agents": [agent]})


func _on_connection_closed(_was_clean: bool) -> void:
	emit_signal("failed", "connection lost")
	_retry_s = RETRY_S


func _on_connection_error() -> void:
	emit_signal("failed", "no connection to " + _url)
	_retry_s = RETRY_S


func _on_data_received() -> void:
	var peer := _socket.get_peer(1)
	while peer.get_available_packet_count() > 0:
		_receive(peer.get_packet())


func _send(message: Dictionary) -> void:
	var header := Msgpack.encode(message)
	var frame := StreamPeerBuffer.new()
	frame.put_u32(header.size())
	frame.put_data(header)
	_socket.get_peer(1).put_packet(frame.data_array)


func _receive(frame: PoolByteArray) -> void:
	if frame.size() < 5:
		return
	var length := frame[0] | frame[1] << 8 | frame[2] << 16 | frame[3] << 24
	if 4 + length > frame.size():
		return
	var header = Msgpack.decode(frame.subarray(4, 3 + length))
	if not header is Dictionary:
		return
	match header.get("t"):
		"snapshot_begin":
			epoch = header["scene"]["epoch"]
			if not header["resumed"]:
				_clear()
		"snapshot_end":
			emit_signal("completed")
		"delta":
			_put(header, frame, (4 + length + 7) & ~7)
		"remove":
			_remove(header["key"])
		"xform":
			if header["epoch"] > epoch:  # the tiles of the old world go, those of the new one follow
				epoch = header["epoch"]
				_clear()
		"error":
			emit_signal("failed", header["detail"])


func _put(delta: Dictionary, frame: PoolByteArray, start: int) -> void:
	var key: Array = delta["key"]
	if key.size() != 3 or key[2] != agent or delta["epoch"] != epoch:
		return
	var arrays := {}
	for buffer in delta["buffers"]:
		arrays[buffer["name"]] = _numbers(buffer, frame, start)
	if arrays.get("polys", []).size() != arrays.get("neighbours", []).size():
		return
	var body: Dictionary = delta["body"]
	var tile := {
		"x": key[0],
		"z": key[1],
		"version": delta["ver"],
		"origin": Vector3(body["origin_m"][0], body["origin_m"][1], body["origin_m"][2]),
		"step": Vector3(body["cell_size_m"], body["cell_height_m"], body["cell_size_m"]),
	}
	for name in ["verts", "polys", "neighbours", "areas"]:
		tile[name] = arrays[name]
	var tile_name := "%d,%d" % [key[0], key[1]]
	tiles[tile_name] = tile
	emit_signal("tile_put", tile_name, tile)


func _remove(key: Array) -> void:
	var tile_name := "%d,%d" % [key[0], key[1]]
	if key.size() == 3 and key[2] == agent and tiles.erase(tile_name):
		emit_signal("tile_removed", tile_name)


func _clear() -> void:
	for tile_name in tiles.keys():
		tiles.erase(tile_name)
		emit_signal("tile_removed", tile_name)


# The unsigned numbers of a buffer of bytes or of 16-bit words; empty if it does not lie in the frame.
func _numbers(buffer: Dictionary, frame: PoolByteArray, start: int) -> PoolIntArray:
	var width: int = WIDTHS.get(buffer["dtype"], 0)
	var size := width
	for n in buffer["shape"]:
		size *= n
	var begin: int = start + buffer["off"]
	var out := PoolIntArray()
	if width > 2 or size <= 0 or size > MAX_ARRAY_BYTES or begin + buffer["len"] > frame.size():
		return out
	var bytes := frame.subarray(begin, begin + buffer["len"] - 1)
	if buffer["codec"] == "zstd":
		bytes = bytes.decompress(size, File.COMPRESSION_ZSTD)
	if bytes.size() != size:
		return out
	out.resize(size / width)
	for i in range(out.size()):
		out[i] = bytes[i] if width == 1 else bytes[2 * i] | bytes[2 * i + 1] << 8
	return out
