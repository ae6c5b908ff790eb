/** What the bare TCP fan-out speaks: the number of bytes, 64 bits little-endian, the bytes, and back one byte: "done". */
export const LENGTH_BYTES = 8;

export function lengthFrame(bytes: number): Uint8Array {
  const frame = Buffer.alloc(LENGTH_BYTES);
  frame.writeBigUInt64LE(BigInt(bytes));
  return frame;
}
