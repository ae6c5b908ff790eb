/** A backend of which a test replaces single methods, whoever asks for them, or has every call refused. */
import type { Refusal } from "../../actors/messages/errors.ts";
import type { Services } from "../../gateway/ports/backend.ts";
import type { SystemBackend } from "./system-backend.ts";

export interface LooseBackend extends SystemBackend {
  /** Set to have every call refused so. */
  refusal: Refusal | null;
  /** Takes back what a test replaced. */
  restore(): void;
}

type Method = (...args: unknown[]) => unknown;

function methodsOf(service: object): [string, Method][] {
  const found = new Map<string, Method>();
  for (let of = service; of !== Object.prototype; of = Object.getPrototypeOf(of))
    for (const name of Object.getOwnPropertyNames(of)) {
      const value = (service as Record<string, unknown>)[name];
      if (name !== "constructor" && typeof value === "function" && !found.has(name))
        found.set(name, value.bind(service));
    }
  return [...found];
}

export function looseBackend(backend: SystemBackend): LooseBackend {
  /** Each method on its own: it may be taken, kept and replaced without its object. */
  const loose = <S extends object>(service: S): S =>
    Object.fromEntries(
      methodsOf(service).map(([name, method]) => {
        const answer: Method = (...args) => (data.refusal ? Promise.reject(data.refusal) : method(...args));
        return [name, name === "activity" ? method : answer];
      }),
    ) as S;
  const services = (): Services => ({
    transfers: loose(backend.transfers),
    namespace: loose(backend.namespace),
    operations: loose(backend.operations),
  });
  const data: LooseBackend = {
    ...services(),
    refusal: null,
    restore: () => void Object.assign(data, services(), { refusal: null }),
    as: () => data,
    ready: async () => data.refusal === null && (await backend.ready()),
    close: () => backend.close(),
  };
  return data;
}
