/** The calls by which shipped code reaches its disk, led over the simulated one where a program makes them. */
import { currentProgram, ProcessEnded, type Program } from "./computer.ts";
import type { DiskStep, OpenDatabase } from "./disk.ts";
import { noteStep } from "./turn-bound.ts";

// biome-ignore lint/suspicious/noExplicitAny: the calls' own types are wider than what is put in their place
type Loose = any;

/** Of the program that runs. @throws ProcessEnded where it was killed and has only not noticed */
function disk() {
  const program = currentProgram() as Program;
  noteStep(program);
  if (!program.isAlive) throw new ProcessEnded("killed");
  return program.computer.disk;
}

/** Does a step after the time that it takes, unless the program ends before. */
function slow<T>(kind: DiskStep, path: string, act: () => T): Promise<T> {
  const { computer } = currentProgram() as Program;
  return new Promise<T>((resolve, reject) => {
    let failure: unknown;
    let ms = 0;
    try {
      ms = computer.disk.step(kind, path);
    } catch (error) {
      failure = error;
    }
    computer.later(currentProgram() as Program, ms, () => {
      if (failure !== undefined) return reject(failure);
      try {
        resolve(act());
      } catch (error) {
        reject(error);
      }
    });
  });
}

/** To be called before anything imports `node:fs` by name: its exports are made from what is here then. */
export function installDisk(): void {
  const fs: Loose = process.getBuiltinModule("node:fs");
  const real = { ...fs };
  const { promises } = fs;

  // ── what a program does at once ──────────────────────────────────────────────────────────────────────────────────

  fs.openSync = (path: string, flags?: Loose, mode?: Loose) => {
    if (!currentProgram()) return real.openSync(path, flags, mode);
    const { opened } = disk();
    const file = real.openSync(path, flags, mode);
    opened.set(file, path);
    return file;
  };
  fs.closeSync = (file: number) => {
    if (currentProgram()) disk().opened.delete(file);
    return real.closeSync(file);
  };
  fs.writeSync = (file: number, ...rest: Loose[]) => {
    if (currentProgram()) {
      const path = disk().opened.get(file);
      if (path !== undefined) {
        if (disk().failure) throw Object.assign(new Error("the simulated disk refuses"), { code: disk().failure });
        disk().wrote(path);
      }
    }
    return real.writeSync(file, ...rest);
  };
  fs.renameSync = (from: string, to: string) => {
    const here = currentProgram() && disk();
    real.renameSync(from, to);
    here?.renamed(from, to);
  };
  /** What is written while a flush is under way, it does not cover. */
  const beginFlush = (sync: (file: number) => void, file: number): (() => void) => {
    const path = disk().opened.get(file);
    const covered = path === undefined ? 0 : disk().logLength(path);
    return () => {
      sync(file);
      if (path !== undefined) disk().flushed(path, covered);
    };
  };

  // ── what a program waits for ─────────────────────────────────────────────────────────────────────────────────────

  const called = (name: string, kind: DiskStep, act: (...args: Loose[]) => unknown): void => {
    fs[name] = (...args: Loose[]) => {
      if (!currentProgram()) return real[name](...args);
      const done = args.pop();
      slow(kind, String(args[0]), () => act(...args)).then(
        (value) => done(null, value),
        (error) => done(error),
      );
    };
  };
  for (const name of ["fsync", "fdatasync"])
    fs[name] = (file: number, done: (error: unknown) => void) => {
      if (!currentProgram()) return real[name](file, done);
      slow("flush", String(file), beginFlush(real[`${name}Sync`], file)).then(() => done(null), done);
    };
  called("open", "open", fs.openSync);
  called("write", "open", fs.writeSync);
  called("close", "open", fs.closeSync);

  class Handle {
    constructor(readonly fd: number) {}
    read(buffer: Uint8Array, offset = 0, length = buffer.byteLength - offset, position: number | null = null) {
      return slow("read", String(this.fd), () => ({
        bytesRead: real.readSync(this.fd, buffer, offset, length, position),
        buffer,
      }));
    }
    write(bytes: Uint8Array, offset = 0, length = bytes.byteLength - offset, position: number | null = null) {
      return slow("open", String(this.fd), () => ({
        bytesWritten: fs.writeSync(this.fd, bytes, offset, length, position),
        buffer: bytes,
      }));
    }
    appendFile(bytes: Uint8Array) {
      return slow("open", String(this.fd), () => void fs.writeSync(this.fd, bytes));
    }
    truncate(length = 0) {
      return slow("open", String(this.fd), () => real.ftruncateSync(this.fd, length));
    }
    stat() {
      return slow("open", String(this.fd), () => real.fstatSync(this.fd));
    }
    sync() {
      return slow("flush", String(this.fd), beginFlush(real.fsyncSync, this.fd));
    }
    close() {
      return slow("open", String(this.fd), () => fs.closeSync(this.fd));
    }
  }
  const promised = (name: string, kind: DiskStep, act: (...args: Loose[]) => unknown): void => {
    const before = promises[name];
    promises[name] = (...args: Loose[]) =>
      currentProgram() ? slow(kind, String(args[0]), () => act(...args)) : before(...args);
  };
  promised("open", "open", (path, flags, mode) => new Handle(fs.openSync(path, flags, mode)));
  promised("rename", "rename", fs.renameSync);
  promised("rm", "remove", real.rmSync);
  promised("unlink", "remove", real.unlinkSync);
  promised("readdir", "list", real.readdirSync);

  fs.createReadStream = (path: string, ...rest: Loose[]) =>
    currentProgram()
      ? (async function* () {
          yield await slow("read", path, () => real.readFileSync(path));
        })()
      : real.createReadStream(path, ...rest);
  const file = Bun.file;
  (Bun as Loose).file = (path: string, ...rest: Loose[]) => {
    if (!currentProgram()) return file(path, ...rest);
    return new Blob([real.readFileSync(path)]);
  };

  // ── databases ────────────────────────────────────────────────────────────────────────────────────────────────────

  const { Database } = require("bun:sqlite") as { Database: { prototype: Loose } };
  for (const name of ["run", "query", "prepare"]) {
    const before = Database.prototype[name];
    Database.prototype[name] = function (this: OpenDatabase, ...args: unknown[]) {
      if (currentProgram() && this.filename.startsWith(`${disk().directory}/`)) disk().databases.add(this);
      return before.apply(this, args);
    };
  }
}
