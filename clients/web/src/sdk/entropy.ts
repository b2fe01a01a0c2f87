/** Zstandard's two entropy codes (RFC 8878, section 4): finite state entropy and Huffman, and the bits they are read from. */

export class ZstdError extends Error {
  override readonly name = "ZstdError";
}

const MAX_HUFFMAN_BITS = 11;

/** A decoding table of finite state entropy (section 4.1): per state the symbol, the bits to read, the state they add to. */
export interface FseTable {
  readonly log: number;
  readonly symbol: Uint8Array;
  readonly bits: Uint8Array;
  readonly base: Uint16Array;
}

export interface HuffmanTable {
  readonly log: number;
  readonly symbol: Uint8Array;
  readonly bits: Uint8Array;
}

// -- Huffman ------------------------------------------------------------------------------------------------------------

/** Section 4.2.1: weights, written plainly or by FSE; the last one follows from the others. */
export function readHuffman(content: Uint8Array): { table: HuffmanTable; next: number } {
  const header = byteAt(content, 0);
  const weights: number[] = [];
  let next: number;
  if (header >= 128) {
    const count = header - 127;
    next = 1 + ((count + 1) >> 1);
    for (let i = 0; i < count; i++) weights.push((byteAt(content, 1 + (i >> 1)) >> (i % 2 === 0 ? 4 : 0)) & 15);
  } else {
    next = 1 + header;
    check(next <= content.length, "weights cut short");
    const { table, next: start } = readFse(content.subarray(0, next), 1, 6, 255);
    readWeights(new BackwardBits(content.subarray(start, next)), table, weights);
  }
  return { table: huffmanTable(weights), next };
}

/** Two states take turns until the bits run out; each still holds one symbol then. */
function readWeights(reader: BackwardBits, table: FseTable, weights: number[]): void {
  const states = [reader.read(table.log), reader.read(table.log)];
  for (let turn = 0; weights.length < 255; turn ^= 1) {
    const state = states[turn] ?? 0;
    weights.push(table.symbol[state] ?? 0);
    const bits = table.bits[state] ?? 0;
    if (bits > reader.left) {
      weights.push(table.symbol[states[turn ^ 1] ?? 0] ?? 0);
      return;
    }
    states[turn] = (table.base[state] ?? 0) + reader.read(bits);
  }
  throw new ZstdError("too many weights");
}

function huffmanTable(weights: number[]): HuffmanTable {
  check(weights.length <= 255 && weights.every((weight) => weight <= MAX_HUFFMAN_BITS), "bad weights");
  const sum = weights.reduce((total, weight) => total + (weight > 0 ? 2 ** (weight - 1) : 0), 0);
  check(sum > 0, "no weights");
  const log = Math.floor(Math.log2(sum)) + 1;
  check(log <= MAX_HUFFMAN_BITS, "codes too long");
  const missing = 2 ** log - sum;
  check((missing & (missing - 1)) === 0, "weights do not add up");
  const all = [...weights, Math.log2(missing) + 1];
  const table = { log, symbol: new Uint8Array(2 ** log), bits: new Uint8Array(2 ** log) };
  let at = 0;
  for (let weight = 1; weight <= log; weight++) {
    all.forEach((w, symbol) => {
      if (w !== weight) return;
      const width = 2 ** (weight - 1);
      table.symbol.fill(symbol, at, at + width);
      table.bits.fill(log + 1 - weight, at, at + width);
      at += width;
    });
  }
  check(at === 2 ** log, "codes do not fill the table");
  return table;
}

// -- finite state entropy -----------------------------------------------------------------------------------------------

/** Section 4.1.1: how often each symbol occurs, in as few bits as its range leaves. */
export function readFse(source: Uint8Array, start: number, maxLog: number, maxSymbol: number): { table: FseTable; next: number } {
  let position = start * 8;
  const peek = (bits: number): number => forwardBits(source, position, bits);
  const log = peek(4) + 5;
  position += 4;
  check(log <= maxLog, "table too large");
  const frequencies: number[] = [];
  let remaining = 2 ** log;
  while (remaining > 0) {
    check(frequencies.length <= maxSymbol, "too many symbols");
    const bits = 32 - Math.clz32(remaining + 1);
    const threshold = 2 ** bits - 1 - (remaining + 1);
    const low = peek(bits - 1);
    let value = low;
    if (low < threshold) position += bits - 1;
    else {
      value = peek(bits);
      if (value >= 2 ** (bits - 1)) value -= threshold;
      position += bits;
    }
    const frequency = value - 1;
    frequencies.push(frequency);
    remaining -= Math.abs(frequency);
    check(remaining >= 0, "frequencies do not add up");
    if (frequency !== 0) continue;
    for (let repeat = 3; repeat === 3; ) {
      repeat = peek(2);
      position += 2;
      for (let i = 0; i < repeat; i++) frequencies.push(0);
      check(frequencies.length <= maxSymbol + 1, "too many symbols");
    }
  }
  const next = (position + 7) >> 3;
  check(next <= source.length, "table cut short");
  return { table: fseTable(frequencies, log), next };
}

export function fseTable(frequencies: readonly number[], log: number): FseTable {
  const size = 2 ** log;
  const table = { log, symbol: new Uint8Array(size), bits: new Uint8Array(size), base: new Uint16Array(size) };
  const nextState = frequencies.map((frequency) => Math.max(frequency, frequency === -1 ? 1 : 0));
  let high = size;
  frequencies.forEach((frequency, symbol) => {
    if (frequency === -1) table.symbol[--high] = symbol; // rarer than once: one state at the end
  });
  const step = (size >> 1) + (size >> 3) + 3;
  let position = 0;
  frequencies.forEach((frequency, symbol) => {
    for (let i = 0; i < frequency; i++) {
      table.symbol[position] = symbol;
      do position = (position + step) & (size - 1);
      while (position >= high && high > 0);
    }
  });
  check(position === 0, "symbols do not fill the table");
  for (let state = 0; state < size; state++) {
    const symbol = table.symbol[state] ?? 0;
    const count = nextState[symbol] ?? 1;
    nextState[symbol] = count + 1;
    const bits = log - (31 - Math.clz32(count));
    table.bits[state] = bits;
    table.base[state] = (count << bits) - size;
  }
  return table;
}

// -- bits ---------------------------------------------------------------------------------------------------------------

/** A bit stream read from its end, where a final 1 marks the start (section 4.1). */
export class BackwardBits {
  /** Bits not yet read; below zero, zeros were read that are not there. */
  left: number;

  constructor(private readonly source: Uint8Array) {
    const last = source[source.length - 1] ?? 0;
    check(last !== 0, "stream without an end mark");
    this.left = source.length * 8 - Math.clz32(last) + 24 - 1;
  }

  read(count: number): number {
    const value = this.peek(count);
    this.skip(count);
    return value;
  }

  skip(count: number): void {
    this.left -= count;
    check(this.left >= 0, "stream cut short");
  }

  /** The next bits as a number; zeros where the stream has ended. */
  peek(count: number): number {
    const low = this.left - count;
    return low >= 0 ? forwardBits(this.source, low, count) : forwardBits(this.source, 0, this.left) * 2 ** -low;
  }
}

/** Up to 32 bits from a bit position, little-endian; zeros beyond the end. */
function forwardBits(source: Uint8Array, position: number, count: number): number {
  const byte = position >> 3;
  const shift = position & 7;
  const low =
    (source[byte] ?? 0) |
    ((source[byte + 1] ?? 0) << 8) |
    ((source[byte + 2] ?? 0) << 16) |
    ((source[byte + 3] ?? 0) << 24);
  if (shift + count < 32) return (low >>> shift) & ((1 << count) - 1);
  return Math.floor(((source[byte + 4] ?? 0) * 2 ** 32 + (low >>> 0)) / 2 ** shift) % 2 ** count;
}

export function littleEndian(source: Uint8Array, at: number, bytes: number): number {
  check(at + bytes <= source.length, "cut short");
  let value = 0;
  for (let i = bytes - 1; i >= 0; i--) value = value * 256 + (source[at + i] ?? 0);
  return value;
}

export function byteAt(source: Uint8Array, at: number): number {
  const byte = source[at];
  if (byte === undefined) throw new ZstdError("cut short");
  return byte;
}

export function check(holds: boolean, problem: string): void {
  if (!holds) throw new ZstdError(problem);
}
