/** Load generator for the bare TCP fan-out: sends the bytes and waits for "done". */
import { lengthFrame } from "../scale/tcp-frame.ts";
import { randomBytes, runAsLoad } from "./load-process.ts";

export interface TcpPutTask {
  port: number;
  sizeBytes: number;
}

const PATTERN_BYTES = 64 << 20;
const WRITE_BYTES = 1 << 20;

await runAsLoad<TcpPutTask, { bytes: number }>(async ({ port, sizeBytes }) => {
  const pattern = randomBytes(Math.min(PATTERN_BYTES, sizeBytes));
  return () =>
    new Promise((resolve, reject) => {
      let sent = 0;
      const send = (socket: { write(bytes: Uint8Array): number }): void => {
        while (sent < sizeBytes) {
          const at = sent % pattern.length;
          const piece = pattern.subarray(at, at + Math.min(WRITE_BYTES, sizeBytes - sent));
          const written = Math.max(socket.write(piece), 0);
          sent += written;
          if (written < piece.length) return;
        }
      };
      void Bun.connect({
        hostname: "127.0.0.1",
        port,
        socket: {
          open: (socket) => {
            socket.write(lengthFrame(sizeBytes));
            send(socket);
          },
          drain: send,
          data: () => resolve({ bytes: sizeBytes }),
          close: () => reject(new Error("The relay closed the connection")),
          error: (_, error) => reject(error),
        },
      });
    });
});
