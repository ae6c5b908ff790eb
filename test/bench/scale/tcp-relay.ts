/**
 * For scale: the middle of a bare TCP fan-out. What a client sends goes to every sink as it comes, at the pace of the
 * slowest; when all sinks have said "done", so does the relay.
 *
 *     bun tcp-relay.ts <sink port> <sink port> …
 */
import type { Socket } from "bun";

const sinkPorts = process.argv.slice(2).map(Number);

/** One sink of one client, and the bytes that its socket did not take yet. */
interface Branch {
  socket: Socket;
  unsent: Uint8Array[];
}

class Relay {
  readonly #branches: Promise<Branch[]>;
  #open: Branch[] | undefined;
  readonly #early: Uint8Array[] = [];
  #done = 0;

  constructor(readonly client: Socket<Relay>) {
    this.#branches = Promise.all(sinkPorts.map((sinkPort) => this.#connect(sinkPort)));
    void this.#branches.then((branches) => {
      this.#open = branches;
      for (const bytes of this.#early) this.take(bytes);
    });
  }

  async #connect(sinkPort: number): Promise<Branch> {
    const branch: Partial<Branch> & { unsent: Uint8Array[] } = { unsent: [] };
    branch.socket = await Bun.connect({
      hostname: "127.0.0.1",
      port: sinkPort,
      socket: {
        data: () => {
          if (++this.#done === sinkPorts.length) this.client.write(new Uint8Array(1));
        },
        drain: () => this.#drain(branch as Branch),
      },
    });
    return branch as Branch;
  }

  take(bytes: Uint8Array): void {
    if (!this.#open) {
      this.#early.push(bytes.slice());
      return;
    }
    let kept: Uint8Array | null = null;
    for (const { socket, unsent } of this.#open) {
      const written = unsent.length > 0 ? 0 : Math.max(socket.write(bytes), 0);
      if (written === bytes.length) continue;
      kept ??= bytes.slice();
      unsent.push(kept.subarray(written));
    }
    if (kept) this.client.pause();
  }

  #drain({ socket, unsent }: Branch): void {
    while (unsent[0]) {
      const written = Math.max(socket.write(unsent[0]), 0);
      if (written < unsent[0].length) {
        unsent[0] = unsent[0].subarray(written);
        return;
      }
      unsent.shift();
    }
    if (this.#open?.every((branch) => branch.unsent.length === 0)) this.client.resume();
  }

  close(): void {
    for (const { socket } of this.#open ?? []) socket.end();
  }
}

const server = Bun.listen<Relay>({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    open(socket) {
      socket.data = new Relay(socket);
    },
    data: (socket, bytes) => socket.data.take(bytes),
    close: (socket) => socket.data.close(),
  },
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(0));
process.stdin.on("end", () => process.exit(0)).resume();
console.log(server.port);
