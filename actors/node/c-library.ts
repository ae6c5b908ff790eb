/** Functions of the C library, for what the runtime has no call for. */
import { dlopen, type FFIFunction } from "bun:ffi";

const NAMES = ["libc.so.6", "libc.so", "libSystem.B.dylib"];

type Opened<F extends Record<string, FFIFunction>> = ReturnType<typeof dlopen<F>>["symbols"];

/** @returns null if the system's C library has another name, or lacks one of them */
export function openCLibrary<const F extends Record<string, FFIFunction>>(functions: F): Opened<F> | null {
  for (const name of NAMES)
    try {
      return dlopen(name, functions).symbols;
    } catch {
      // another system's name
    }
  return null;
}
