# MessagePack, as far as the map protocol uses it: nil, bool, int, float, str, bin, array, map.
extends Reference

const MAX_DEPTH := 32


static func encode(value) -> PoolByteArray:
	var out := StreamPeerBuffer.new()
	out.big_endian = true
	_put(out, value)
	return out.data_array


# The value that these bytes hold; null if they are cut short or not MessagePack.
static func decode(bytes: PoolByteArray):
	var input := StreamPeerBuffer.new()
	input.big_endian = true
	input.data_array = bytes
	return _take(input, MAX_DEPTH)


static func _put(out: StreamPeerBuffer, value) -> void:
	match typeof(value):
		TYPE_NIL:
			out.put_u8(0xc0)
		TYPE_BOOL:
			out.put_u8(0xc3 if value else 0xc2)
		TYPE_INT:
			out.put_u8(0xd3)
			out.put_64(value)
		TYPE_REAL:
			out.put_u8(0xcb)
			out.put_double(value)
		TYPE_STRING:
			var utf8: PoolByteArray = value.to_utf8()
			out.put_u8(0xda)
			out.put_u16(utf8.size())
			out.put_data(utf8)
		TYPE_ARRAY:
			out.put_u8(0xdc)
			out.put_u16(value.size())
			for item in value:
				_put(out, item)
		TYPE_DICTIONARY:
			out.put_u8(0xde)
			out.put_u16(value.size())
			for key in value:
				_put(out, key)
				_put(out, value[key])
		_:
			push_error("MessagePack: no way to write a %s" % typeof(value))


static func _take(input: StreamPeerBuffer, depth: int):
	if depth == 0 or input.get_available_bytes() < 1:
		return null
	var tag := input.get_u8()
	if tag < 0x80:
		return tag
	if tag < 0x90:
		return _map(input, tag & 0x0f, depth)
	if tag < 0xa0:
		return _array(input, tag & 0x0f, depth)
	if tag < 0xc0:
		return _string(input, tag & 0x1f)
	if tag >= 0xe0:
		return tag - 0x100
	match tag:
		0xc2: return false
		0xc3: return true
		0xc4: return _bytes(input, input.get_u8())
		0xc5: return _bytes(input, input.get_u16())
		0xc6: return _bytes(input, input.get_u32())
		0xca: return input.get_float()
		0xcb: return input.get_double()
		0xcc: return input.get_u8()
		0xcd: return input.get_u16()
		0xce: return input.get_u32()
		0xcf: return input.get_u64()
		0xd0: return input.get_8()
		0xd1: return input.get_16()
		0xd2: return input.get_32()
		0xd3: return input.get_64()
		0xd9: return _string(input, input.get_u8())
		0xda: return _string(input, input.get_u16())
		0xdb: return _string(input, input.get_u32())
		0xdc: return _array(input, input.get_u16(), depth)
		0xdd: return _array(input, input.get_u32(), depth)
		0xde: return _map(input, input.get_u16(), depth)
		0xdf: return _map(input, input.get_u32(), depth)
	return null


static func _bytes(input: StreamPeerBuffer, count: int) -> PoolByteArray:
	if count > input.get_available_bytes():
		return PoolByteArray()
	return input.get_data(count)[1]


static func _string(input: StreamPeerBuffer, count: int) -> String:
	return _bytes(input, count).get_string_from_utf8()


static func _array(input: StreamPeerBuffer, count: int, depth: int) -> Array:
	var out := []
	for _i in range(int(min(count, input.get_available_bytes()))):
		out.append(_take(input, depth - 1))
	return out


static func _map(input: StreamPeerBuffer, count: int, depth: int) -> Dictionary:
	var out := {}
	for _i in range(int(min(count, input.get_available_bytes()))):
		var key = _take(input, depth - 1)
		out[key] = _take(input, depth - 1)
	return out
