/** One core's share of `bun run simulate`: lives one seed after the other, as it is told. */
import { simulateRaft } from "./simulate-raft.ts";

declare const self: Worker;

self.onmessage = ({ data: seed }: MessageEvent<number>) => self.postMessage(simulateRaft(seed));
