/** Pictures of 16-bit numbers: undo what `server/protocol/planes.py` does before zstd. */

/**
 * Low bytes, then high bytes, of zigzag differences from the pixel to the left.
 *
 * @param raw two bytes for each pixel of `out`
 */
export function joinPlanes(raw: Uint8Array, width: number, out: Uint16Array): void {
  let value = 0;
  for (let i = 0; i < out.length; i++) {
    if (i % width === 0) value = 0;
    const zigzag = (raw[i] ?? 0) | ((raw[out.length + i] ?? 0) << 8);
    value = (value + ((zigzag >> 1) ^ -(zigzag & 1))) & 0xffff;
    out[i] = value;
  }
}
