/**
 * Zstandard decompression (RFC 8878) of one frame into a buffer of known size. Written for input nobody vouches for: every
 * loop is bounded by the input or the output, every read and write is checked, and every flaw is a ZstdError.
 */

import {
  BackwardBits,
  byteAt,
  check,
  type FseTable,
  fseTable,
  type HuffmanTable,
  littleEndian,
  readFse,
  readHuffman,
  ZstdError,
} from "./entropy.js";

export { ZstdError };

const MAGIC = 0xfd2fb528;
const MAX_BLOCK_BYTES = 128 * 1024;

/** What one block hands to the next. */
interface State {
  huffman: HuffmanTable | null;
  literalLengths: FseTable | null;
  offsets: FseTable | null;
  matchLengths: FseTable | null;
  repeats: [number, number, number];
}

/** @throws ZstdError when the input is not exactly one frame of `out.length` bytes */
export function decompress(input: Uint8Array, out: Uint8Array): void {
  let at = readFrameHeader(input, out.length);
  const hasChecksum = (byteAt(input, 4) & 4) !== 0;
  const state: State = { huffman: null, literalLengths: null, offsets: null, matchLengths: null, repeats: [1, 4, 8] };
  let written = 0;
  for (let isLast = false; !isLast; ) {
    const header = littleEndian(input, at, 3);
    at += 3;
    isLast = (header & 1) === 1;
    const kind = (header >> 1) & 3;
    const size = header >> 3;
    if (kind === 0) {
      check(at + size <= input.length && written + size <= out.length, "raw block too long");
      out.set(input.subarray(at, at + size), written);
      written += size;
      at += size;
    } else if (kind === 1) {
      check(written + size <= out.length, "run too long");
      out.fill(byteAt(input, at), written, written + size);
      written += size;
      at += 1;
    } else {
      check(kind === 2 && at + size <= input.length && size <= MAX_BLOCK_BYTES, "bad block");
      written = readBlock(input.subarray(at, at + size), out, written, state);
      at += size;
    }
  }
  check(at + (hasChecksum ? 4 : 0) === input.length, "bytes after the end");
  check(written === out.length, `${written} bytes, not ${out.length}`);
}

/** Bytes that a frame says it holds. @throws ZstdError when it does not say, or it is no frame */
export function contentSize(input: Uint8Array): number {
  check(input.length >= 6 && littleEndian(input, 0, 4) === MAGIC, "not a frame");
  const descriptor = byteAt(input, 4);
  const isSingle = (descriptor & 32) !== 0;
  const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  check(sizeBytes > 0, "size unknown");
  return littleEndian(input, isSingle ? 5 : 6, Math.min(sizeBytes, 6)) + (sizeBytes === 2 ? 256 : 0);
}

/** Returns where the blocks begin; sizes that contradict the caller's are refused, dictionaries are not known here. */
function readFrameHeader(input: Uint8Array, expected: number): number {
  check(input.length >= 6 && littleEndian(input, 0, 4) === MAGIC, "not a frame");
  const descriptor = byteAt(input, 4);
  const isSingle = (descriptor & 32) !== 0;
  check((descriptor & 8) === 0, "reserved bit set");
  check((descriptor & 3) === 0, "needs a dictionary");
  const at = isSingle ? 5 : 6;
  const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  if (sizeBytes > 0) {
    const size = contentSize(input);
    check(size === expected, `frame of ${size} bytes, not ${expected}`);
  }
  return at + sizeBytes;
}

// -- blocks -------------------------------------------------------------------------------------------------------------

function readBlock(block: Uint8Array, out: Uint8Array, start: number, state: State): number {
  const { literals, next } = readLiterals(block, state);
  let at = next;
  const first = byteAt(block, at++);
  if (first === 0) {
    check(at === block.length, "bytes after the literals");
    return append(out, start, literals, 0, literals.length);
  }
  let count = first;
  if (first >= 255) {
    count = littleEndian(block, at, 2) + 0x7f00;
    at += 2;
  } else if (first >= 128) {
    count = ((first - 128) << 8) + byteAt(block, at++);
  }
  const modes = byteAt(block, at++);
  check((modes & 3) === 0, "reserved bits set");
  const lengths = readTable(block, at, modes >> 6, LITERAL_LENGTHS, state.literalLengths);
  const offsets = readTable(block, lengths.next, (modes >> 4) & 3, OFFSETS, state.offsets);
  const matches = readTable(block, offsets.next, (modes >> 2) & 3, MATCH_LENGTHS, state.matchLengths);
  state.literalLengths = lengths.table;
  state.offsets = offsets.table;
  state.matchLengths = matches.table;
  return runSequences(block.subarray(matches.next), count, literals, out, start, state);
}

/** Section 3.1.1.3.2 and .4: literals and matches in turn. */
function runSequences(
  stream: Uint8Array,
  count: number,
  literals: Uint8Array,
  out: Uint8Array,
  start: number,
  state: State,
): number {
  const { literalLengths: ll, offsets: of, matchLengths: ml } = state;
  if (ll === null || of === null || ml === null) throw new ZstdError("no tables");
  const reader = new BackwardBits(stream);
  let [llState, ofState, mlState] = [reader.read(ll.log), reader.read(of.log), reader.read(ml.log)];
  let written = start;
  let literal = 0;
  for (let i = 0; i < count; i++) {
    const offsetCode = of.symbol[ofState] ?? 0;
    check(offsetCode <= 31, "offset too large");
    const offsetValue = 2 ** offsetCode + reader.read(offsetCode);
    const matchLength = extended(ml.symbol[mlState] ?? 0, MATCH_LENGTHS, reader);
    const literalLength = extended(ll.symbol[llState] ?? 0, LITERAL_LENGTHS, reader);
    const offset = resolveOffset(offsetValue, literalLength, state.repeats);
    check(literal + literalLength <= literals.length, "more literals used than there are");
    written = append(out, written, literals, literal, literalLength);
    literal += literalLength;
    written = copyMatch(out, written, offset, matchLength);
    if (i === count - 1) break;
    llState = (ll.base[llState] ?? 0) + reader.read(ll.bits[llState] ?? 0);
    mlState = (ml.base[mlState] ?? 0) + reader.read(ml.bits[mlState] ?? 0);
    ofState = (of.base[ofState] ?? 0) + reader.read(of.bits[ofState] ?? 0);
  }
  check(reader.left === 0, "sequences do not end with their bits");
  return append(out, written, literals, literal, literals.length - literal);
}

/** Section 3.1.1.5: offsets 1 to 3 name recent ones, shifted by one when no literals come first. */
function resolveOffset(value: number, literalLength: number, repeats: [number, number, number]): number {
  if (value > 3) {
    const offset = value - 3;
    repeats.splice(0, 3, offset, repeats[0], repeats[1]);
    return offset;
  }
  const index = value - 1 + (literalLength === 0 ? 1 : 0);
  const offset = index === 3 ? repeats[0] - 1 : (repeats[index] ?? 0);
  check(offset > 0, "offset 0");
  if (index === 1) repeats.splice(0, 2, offset, repeats[0]);
  else if (index > 1) repeats.splice(0, 3, offset, repeats[0], repeats[1]);
  return offset;
}

function append(out: Uint8Array, at: number, from: Uint8Array, start: number, length: number): number {
  check(at + length <= out.length, "longer than announced");
  out.set(from.subarray(start, start + length), at);
  return at + length;
}

function copyMatch(out: Uint8Array, at: number, offset: number, length: number): number {
  check(offset <= at, "match before the start");
  check(at + length <= out.length, "longer than announced");
  if (offset >= length) out.copyWithin(at, at - offset, at - offset + length);
  else for (let i = at; i < at + length; i++) out[i] = out[i - offset] ?? 0; // overlaps itself: a repetition
  return at + length;
}

// -- literals -----------------------------------------------------------------------------------------------------------

/** Section 3.1.1.3.1. */
function readLiterals(block: Uint8Array, state: State): { literals: Uint8Array; next: number } {
  const first = byteAt(block, 0);
  const kind = first & 3;
  const format = (first >> 2) & 3;
  if (kind < 2) {
    const headerBytes = [1, 2, 1, 3][format] ?? 1;
    const size = littleEndian(block, 0, headerBytes) >> (headerBytes === 1 ? 3 : 4);
    check(size <= MAX_BLOCK_BYTES, "too many literals");
    if (kind === 1) return { literals: new Uint8Array(size).fill(byteAt(block, headerBytes)), next: headerBytes + 1 };
    check(headerBytes + size <= block.length, "literals cut short");
    return { literals: block.subarray(headerBytes, headerBytes + size), next: headerBytes + size };
  }
  const headerBytes = [3, 3, 4, 5][format] ?? 3;
  const sizeBits = [10, 10, 14, 18][format] ?? 10;
  const header = littleEndian(block, 0, headerBytes);
  const size = Math.floor(header / 16) % 2 ** sizeBits;
  const packed = Math.floor(header / 2 ** (4 + sizeBits)) % 2 ** sizeBits;
  const next = headerBytes + packed;
  check(next <= block.length && size <= MAX_BLOCK_BYTES, "literals cut short");
  let content = block.subarray(headerBytes, next);
  if (kind === 2) {
    const huffman = readHuffman(content);
    state.huffman = huffman.table;
    content = content.subarray(huffman.next);
  }
  if (state.huffman === null) throw new ZstdError("no Huffman table");
  const literals = new Uint8Array(size);
  if (format === 0) decodeHuffman(content, state.huffman, literals);
  else decodeFourStreams(content, state.huffman, literals);
  return { literals, next };
}

function decodeFourStreams(content: Uint8Array, table: HuffmanTable, literals: Uint8Array): void {
  const share = (literals.length + 3) >> 2;
  let at = 6;
  for (let i = 0; i < 4; i++) {
    const end = i < 3 ? at + littleEndian(content, 2 * i, 2) : content.length;
    check(at <= end && end <= content.length && i * share <= literals.length, "streams do not fit");
    decodeHuffman(content.subarray(at, end), table, literals.subarray(i * share, Math.min((i + 1) * share, literals.length)));
    at = end;
  }
}

function decodeHuffman(stream: Uint8Array, { log, symbol, bits }: HuffmanTable, out: Uint8Array): void {
  const reader = new BackwardBits(stream);
  for (let i = 0; i < out.length; i++) {
    const code = reader.peek(log);
    out[i] = symbol[code] ?? 0;
    reader.skip(bits[code] ?? 0);
  }
  check(reader.left === 0, "literals do not end with their bits");
}

// -- codes of sequences ----------------------------------------------------------------------------------------------------

interface CodeKind {
  readonly maxLog: number;
  readonly maxSymbol: number;
  readonly standard: FseTable;
  /** Per code: smallest value and bits that add to it; offsets have none. */
  readonly base: readonly number[];
  readonly extra: readonly number[];
}

function readTable(
  block: Uint8Array,
  at: number,
  mode: number,
  kind: CodeKind,
  previous: FseTable | null,
): { table: FseTable; next: number } {
  if (mode === 0) return { table: kind.standard, next: at };
  if (mode === 1) {
    const symbol = byteAt(block, at);
    check(symbol <= kind.maxSymbol, "unknown code");
    const table = { log: 0, symbol: Uint8Array.of(symbol), bits: Uint8Array.of(0), base: Uint16Array.of(0) };
    return { table, next: at + 1 };
  }
  if (mode === 2) return readFse(block, at, kind.maxLog, kind.maxSymbol);
  if (previous === null) throw new ZstdError("no table to repeat");
  return { table: previous, next: at };
}

function extended(code: number, { base, extra }: CodeKind, reader: BackwardBits): number {
  return (base[code] ?? 0) + reader.read(extra[code] ?? 0);
}

function codes(
  maxLog: number,
  log: number,
  frequencies: readonly number[],
  maxSymbol: number,
  first: number,
  extra: readonly number[],
): CodeKind {
  let value = first;
  const base = extra.map((bits) => {
    const start = value;
    value += 2 ** bits;
    return start;
  });
  return { maxLog, maxSymbol, standard: fseTable(frequencies, log), base, extra };
}

/** Section 3.1.1.3.2.2: the tables everybody knows. */
const LITERAL_LENGTHS = codes(
  9,
  6,
  [4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1],
  35,
  0,
  [...Array<number>(16).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
);
const MATCH_LENGTHS = codes(
  9,
  6,
  [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
  ],
  52,
  3,
  [...Array<number>(32).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
);
const OFFSETS = codes(
  8,
  5,
  [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
  31,
  0,
  [],
);
