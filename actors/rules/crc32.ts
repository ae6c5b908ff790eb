/**
 * CRC-32s of parts combine into that of the whole, so blocks are summed once, where they arrive, and no node ever reads
 * a chunk or a file again to know its checksum.
 *
 * Appending n zero bytes to a message is a linear map on its CRC (a 32×32 matrix over GF(2)); the CRC of A‖B is that map
 * for |B| applied to crc(A), xor crc(B).
 * @see zlib's crc32_combine, Mark Adler, https://stackoverflow.com/a/23126768
 */
const POLYNOMIAL = 0xedb88320;

type Matrix = Uint32Array;

function times(matrix: Matrix, vector: number): number {
  let sum = 0;
  for (let row = 0; vector !== 0; row++, vector >>>= 1) if (vector & 1) sum ^= matrix[row] as number;
  return sum >>> 0;
}

const square = (matrix: Matrix): Matrix => Uint32Array.from(matrix, (column) => times(matrix, column));

/** `ZERO_BYTES[k]`: the map for appending 2^k zero bytes. */
const ZERO_BYTES: Matrix[] = (() => {
  const oneBit = new Uint32Array(32);
  oneBit[0] = POLYNOMIAL;
  for (let row = 1; row < 32; row++) oneBit[row] = (1 << (row - 1)) >>> 0;
  const powers: Matrix[] = [square(square(square(oneBit)))];
  for (let k = 1; k < 53; k++) powers.push(square(powers[k - 1] as Matrix));
  return powers;
})();

/**
 * @param crcA CRC-32 of A
 * @param crcB CRC-32 of B
 * @param lengthB bytes of B
 * @returns CRC-32 of A followed by B
 */
export function combineCrc32(crcA: number, crcB: number, lengthB: number): number {
  let crc = crcA;
  for (let k = 0, rest = lengthB; rest > 0; k++, rest = Math.floor(rest / 2))
    if (rest % 2 === 1) crc = times(ZERO_BYTES[k] as Matrix, crc);
  return (crc ^ crcB) >>> 0;
}

/** @returns the CRC-32 of a chunk whose blocks are all `blockSizeBytes` long but for the last */
export function crc32OfBlocks(blockCrcs: ArrayLike<number>, lengthBytes: number, blockSizeBytes: number): number {
  let crc = 0;
  for (let n = 0; n < blockCrcs.length; n++)
    crc = combineCrc32(crc, blockCrcs[n] as number, Math.min(blockSizeBytes, lengthBytes - n * blockSizeBytes));
  return crc;
}

export const formatCrc32 = (crc32: number): string => crc32.toString(16).padStart(8, "0");
