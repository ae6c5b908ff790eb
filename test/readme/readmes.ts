/** Every README of the repository, and what can be read off its text: titles, links, files and scripts that it names. */
import { readdirSync, readFileSync } from "node:fs";
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
/** Where nodes keep data at run time. */
const DATA = /^databases\/data\//;

export const readReadme = (path: string): Readme => ({
  path,
  folder: dirname(path) === "." ? "" : dirname(path),
  text: readFileSync(join(ROOT, path), "utf8"),
});

/** The front page first. */
export function readReadmes(): Readme[] {
  const pages = ROOMS.flatMap((room) =>
    (readdirSync(join(ROOT, room), { recursive: true, encoding: "utf8" }) as string[])
      .filter((name) => /(^|\/)README\.md$/.test(name))
      .map((name) => join(room, name)),
  );
  return ["README.md", ...pages.filter((path) => !DATA.test(path)).sort()].map(readReadme);
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
const FOLDER = /^[\w@./-]+\/$/;

/**
 * The files and folders that a README names in `code` and in its indented trees. A path from one of the rooms counts from
 * the root, any other from the README's own folder.
 *
 * @returns paths from the root
 */
export function namedFiles({ text, folder }: Readme): string[] {
  const spans = [...withoutFences(text).matchAll(/`([^`\n]+)`/g)].map(([, span]) => span as string);
  const isPath = (span: string): boolean => FILE.test(span) || FOLDER.test(span);
  const inText = [...text.matchAll(/(?<![\w./-])(?:\.\/)?((?:actors|gateway|databases|test)\/[\w./-]*\w\/?)/g)].map(
    ([, path]) => path as string,
  );
  const fromRoot = (path: string): string =>
    ROOMS.some((room) => path.startsWith(`${room}/`)) || folder === "" ? path : join(folder, path);
  return [...new Set([...spans.filter(isPath).map(fromRoot), ...inText])].filter((path) => !AT_RUN_TIME.test(path));
}

/** Names of the package's scripts that a README says to run. */
export const namedScripts = ({ text }: Readme): string[] =>
  [...text.matchAll(/\b(?:npm|bun) run (?:-s )?([a-z][\w-]*)/g)].map(([, name]) => name as string);
