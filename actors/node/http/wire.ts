/** msgpackr as nodes speak it: stateless frames, plain numbers, and no decoded field that keeps its frame alive. */
import { Packr } from "msgpackr";

const packr = new Packr({ useRecords: false, copyBuffers: true, int64AsType: "number" });

export const WIRE_TYPE = "application/msgpack";
export const WIRE_VERSION = 1;

export const encode = (value: unknown): Uint8Array<ArrayBuffer> => packr.pack(value) as Uint8Array<ArrayBuffer>;
export const decode = (bytes: Uint8Array): unknown => packr.unpack(bytes);

/** A message as it travels: version, the sender's cluster (null until it has one), the message itself. */
export type Envelope = [version: number, clusterId: string | null, message: { type: string }];
