/** Every README of the repository, and what can be read off its text: titles, links, files and scripts that it names. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

export const ROOT = resolve(import.meta.dir, "../..");

export interface Readme {
  /** From the root. */
  path: string;
  /** From the root; "" for the front page's. */
  folder: string;
  text: string;
}

const ROOMS = ["actors", "databases", "gateway", "test"];
const files = ROOMS.flatMap((room) =>
  (readdirSync(join(ROOT, room), { recursive: true, encoding: "utf8" }) as string[]).map((name) => join(room, name)),
);
/** Where nodes keep data at run time. */
const DATA = /^databases\/data\//;

export const readReadme = (path: string): Readme => ({
  path,
  folder: dirname(path) === "." ? "" : dirname(path),
  text: readFileSync(join(ROOT, path), "utf8"),
});

/** The front page first. */
export function readReadmes(): Readme[] {
  const pages = files.filter((file) => file.endsWith("/README.md") && !DATA.test(file));
  return ["README.md", ...pages.sort()].map(readReadme);
}

/** As GitHub makes them from titles. */
const anchorOf = (title: string): string =>
  title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");

const withoutFences = (text: string): string => text.replace(/^```[\s\S]*?^```/gm, "");

export const anchorsOf = ({ text }: Readme): string[] =>
  [...withoutFences(text).matchAll(/^#+ (.+)$/gm)].map(([, title]) => anchorOf(title as string));

export interface Link {
  /** As it is written. */
  target: string;
  /** From the root; "" = the page itself. */
  file: string;
  anchor: string | null;
}

/** Links to files and titles of ours; those to the web are left out. */
export function linksOf(readme: Readme): Link[] {
  const targets = [...withoutFences(readme.text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target as string);
  return targets
    .filter((target) => !/^https?:/.test(target))
    .map((target) => {
      const [file = "", anchor = null] = target.split("#");
      return { target, file: file === "" ? "" : relative(ROOT, resolve(ROOT, readme.folder, file)), anchor };
    });
}

/** Files of databases that are there only at run time. */
const AT_RUN_TIME = /^databases\/(data|<|…)/;
const FILE = /^[\w@./-]+\.(ts|tsx|js|json|md|sh|css|html|toml)$/;

/** Paths of ours that a README names: those from one of the rooms, files and folders. */
const pathsIn = (text: string): string[] =>
  [...text.matchAll(/(?<![\w./-])(?:\.\/)?((?:actors|gateway|databases|test)\/[\w./-]*\w\/?)/g)]
    .map(([, path]) => path as string)
    .filter((path) => !AT_RUN_TIME.test(path));

/** Files that a README names in `code` without their room. */
const namesIn = (text: string): string[] =>
  [...withoutFences(text).matchAll(/`([^`\n]+)`/g)]
    .map(([, span]) => span as string)
    .filter((span) => FILE.test(span) && !ROOMS.some((room) => span.startsWith(`${room}/`)));

/** What a README names of our files and folders: from a room exactly; a shorter name must be the end of some file's path. */
export const namedFiles = ({ text }: Readme): string[] => [...new Set([...pathsIn(text), ...namesIn(text)])];

export const isThere = (path: string): boolean =>
  existsSync(join(ROOT, path)) || files.some((file) => file.endsWith(`/${path}`));

/** Names of the package's scripts that a README says to run. */
export const namedScripts = ({ text }: Readme): string[] =>
  [...text.matchAll(/\b(?:npm|bun) run (?:-s )?([a-z][\w-]*)/g)].map(([, name]) => name as string);
