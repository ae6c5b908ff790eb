/** Chromium for the page's tests: Debian's own, with a fresh profile, told to leave the network alone. */
import { existsSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
export const BROWSER = PLACES.find((path) => existsSync(path)) ?? null;
if (BROWSER === null) console.warn(`The page is not tested in a browser: there is none at ${PLACES.join(", ")}`);

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export interface Watched {
  page: Page;
  /** Everything that a person with the developer tools open would see in red. */
  problems: string[];
  /** Requests that went anywhere but to the page's own origin. */
  strayed: string[];
  close(): Promise<void>;
}

export interface Viewing {
  width?: number;
  height?: number;
  scheme?: "dark" | "light";
  /** Problems that a test provokes. */
  expected?: RegExp;
}

let browser: Browser | undefined;

export async function closeBrowser(): Promise<void> {
  await browser?.close();
  browser = undefined;
}

/** Opens one page of a person who was never here before, and watches what it does. */
export async function openPage(
  url: string,
  { width = 1440, height = 900, scheme, expected }: Viewing = {},
): Promise<Watched> {
  browser ??= await chromium.launch({ executablePath: BROWSER as string, args: ARGUMENTS });
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme ?? "dark" });
  const page = await context.newPage();
  const problems: string[] = [];
  const strayed: string[] = [];
  const note = (text: string): void => {
    if (!expected?.test(text)) problems.push(text);
  };
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") note(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", ({ message, stack }) => note(`${message}\n${stack}`));
  const { origin } = new URL(url);
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (asked.origin !== origin && !["data:", "blob:"].includes(asked.protocol)) strayed.push(request.url());
  });
  await page.goto(url);
  return {
    page,
    problems,
    strayed,
    close: () => context.close(),
  };
}
