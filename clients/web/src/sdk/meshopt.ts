/**
 * The bitstreams of glTF's EXT_meshopt_compression: attributes (mode 0, no filter) and triangles (mode 1), by the
 * extension's appendix A. In plain JavaScript, because WebAssembly would need a laxer content security policy; a tile
 * takes well under a millisecond. Written for input nobody vouches for: every read is checked.
 */

export class MeshoptError extends Error {
  override readonly name = "MeshoptError";
}

const ATTRIBUTES = 0xa0;
const TRIANGLES = 0xe1;
const GROUP = 16;
const VERTEX_TAIL_BYTES = 32;
const TABLE_BYTES = 16;
const NOTHING_YET = 0xffffffff;

/**
 * Decode elements of `stride` bytes until `out` is full.
 *
 * @throws MeshoptError when the input is not exactly that many elements
 */
export function decodeVertices(input: Uint8Array, stride: number, out: Uint8Array): void {
  check(stride > 0 && stride <= 256 && stride % 4 === 0 && out.length % stride === 0, `stride of ${stride} bytes`);
  const end = input.length - Math.max(VERTEX_TAIL_BYTES, stride);
  check(end >= 1 && input[0] === ATTRIBUTES, "not an attribute stream");
  const count = out.length / stride;
  const blockSize = Math.min(Math.floor(8192 / stride) & ~(GROUP - 1), 256);
  const previous = input.slice(input.length - stride); // the element before the first
  const deltas = new Uint8Array(GROUP);
  let at = 1;
  for (let first = 0; first < count; first += blockSize) {
    const size = Math.min(blockSize, count - first);
    const groups = Math.ceil(size / GROUP);
    for (let byte = 0; byte < stride; byte++) {
      const modes = at;
      at += Math.ceil(groups / 4);
      check(at <= end, "cut short");
      let value = previous[byte] ?? 0;
      for (let group = 0; group < groups; group++) {
        const mode = ((input[modes + (group >> 2)] ?? 0) >> ((group & 3) * 2)) & 3;
        at = readGroup(input, at, end, mode, deltas);
        for (let i = 0; i < GROUP && group * GROUP + i < size; i++) {
          value = (value + unzigzag(deltas[i] ?? 0)) & 0xff;
          out[(first + group * GROUP + i) * stride + byte] = value;
        }
      }
      previous[byte] = value;
    }
  }
  check(at === end, "bytes after the end");
}

/** Read the 16 deltas of one byte position; returns where the next ones begin. */
function readGroup(input: Uint8Array, start: number, end: number, mode: number, deltas: Uint8Array): number {
  if (mode === 0) {
    deltas.fill(0);
    return start;
  }
  if (mode === 3) {
    check(start + GROUP <= end, "cut short");
    deltas.set(input.subarray(start, start + GROUP));
    return start + GROUP;
  }
  const bits = 2 * mode;
  const sentinel = (1 << bits) - 1;
  let further = start + (GROUP * bits) / 8;
  check(further <= end, "cut short");
  for (let i = 0; i < GROUP; i++) {
    const place = i * bits;
    const small = ((input[start + (place >> 3)] ?? 0) >> (8 - bits - (place & 7))) & sentinel;
    if (small !== sentinel) {
      deltas[i] = small;
    } else {
      check(further < end, "cut short");
      deltas[i] = input[further++] ?? 0;
    }
  }
  return further;
}

/**
 * Decode triangles until `out` (3 per triangle) is full.
 *
 * @throws MeshoptError when the input is not exactly that many triangles
 */
export function decodeTriangles(input: Uint8Array, out: Uint32Array): void {
  const count = out.length / 3;
  check(Number.isInteger(count), `${out.length} indices are no triangles`);
  check(input.length >= 1 + count + TABLE_BYTES && input[0] === TRIANGLES, "not a triangle stream");
  const reader = new TriangleReader(input, 1 + count);
  for (let t = 0; t < count; t++) reader.read(input[1 + t] ?? 0, out, 3 * t);
  reader.finish();
}

/** The decoder's memory: what comes next, and the edges and vertices of late. */
class TriangleReader {
  private next = 0;
  private last = 0;
  private readonly edges = new Uint32Array(32).fill(NOTHING_YET);
  private readonly vertices = new Uint32Array(16).fill(NOTHING_YET);
  private numEdges = 0;
  private numVertices = 0;
  private readonly end: number;

  constructor(
    private readonly input: Uint8Array,
    private at: number,
  ) {
    this.end = input.length - TABLE_BYTES;
  }

  read(code: number, out: Uint32Array, to: number): void {
    const [high, low] = [code >> 4, code & 15];
    if (high < 15) {
      const edge = 2 * ((this.numEdges - 1 - high) & 15);
      const [a, b] = [this.edges[edge] ?? 0, this.edges[edge + 1] ?? 0];
      const c = this.third(low);
      this.pushEdge(c, b);
      this.pushEdge(a, c);
      out[to] = a;
      out[to + 1] = b;
      out[to + 2] = c;
      return;
    }
    const listed = low < 14;
    const pair = listed ? (this.input[this.end + low] ?? 0) : this.byte();
    if (!listed && pair === 0) this.next = 0;
    const a = low === 15 ? this.explicit() : this.next++;
    const b = this.corner(pair >> 4, !listed);
    const c = this.corner(pair & 15, !listed);
    this.pushEdge(b, a);
    this.pushEdge(c, b);
    this.pushEdge(a, c);
    this.pushVertex(a);
    if (isNew(pair >> 4, !listed)) this.pushVertex(b);
    if (isNew(pair & 15, !listed)) this.pushVertex(c);
    out[to] = a;
    out[to + 1] = b;
    out[to + 2] = c;
  }

  finish(): void {
    check(this.at === this.end, "bytes after the end");
  }

  /** The corner across a known edge. */
  private third(low: number): number {
    if (low > 0 && low < 13) return this.recent(low);
    let c: number;
    if (low === 0) c = this.next++;
    else if (low === 15) c = this.explicit();
    else c = this.last = (this.last + (low === 13 ? -1 : 1)) >>> 0;
    this.pushVertex(c);
    return c;
  }

  private corner(nibble: number, mayBeExplicit: boolean): number {
    if (nibble === 0) return this.next++;
    if (nibble === 15 && mayBeExplicit) return this.explicit();
    check(nibble < 15, "bad table");
    return this.recent(nibble - 1);
  }

  private recent(back: number): number {
    return this.vertices[(this.numVertices - 1 - back) & 15] ?? 0;
  }

  private explicit(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      check(shift < 35, "number too long");
      const byte = this.byte();
      value |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    this.last = (this.last + unzigzag(value >>> 0)) >>> 0;
    return this.last;
  }

  private byte(): number {
    check(this.at < this.end, "cut short");
    return this.input[this.at++] ?? 0;
  }

  private pushEdge(a: number, b: number): void {
    const at = 2 * (this.numEdges++ & 15);
    this.edges[at] = a;
    this.edges[at + 1] = b;
  }

  private pushVertex(v: number): void {
    this.vertices[this.numVertices++ & 15] = v;
  }
}

function isNew(nibble: number, mayBeExplicit: boolean): boolean {
  return nibble === 0 || (nibble === 15 && mayBeExplicit);
}

function unzigzag(value: number): number {
  return (value >>> 1) ^ -(value & 1);
}

function check(holds: boolean, flaw: string): void {
  if (!holds) throw new MeshoptError(flaw);
}
