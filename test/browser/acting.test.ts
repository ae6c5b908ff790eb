/** What a person does to files, with the keyboard and the mouse, and what must not happen beside it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatRecording } from "../../gateway/console/recording.ts";
import { freePorts } from "../support/free-ports.ts";
import { restGateway } from "../support/rest-gateway.ts";
import { BROWSER, closeBrowser, openPage, type Viewing, type Watched } from "./support.ts";
import { syntheticRecording } from "./synthetic-recording.ts";

const folder = mkdtempSync(join(tmpdir(), "dfs-acting-"));
const recordingPath = join(folder, "small.dfsrec");
const { listen, call, end } = await restGateway();
const opened: Watched[] = [];
let url = "";

async function open(hash: string, viewing: Viewing = {}): Promise<Watched> {
  const watched = await openPage(`${url}/console${hash}`, { expected: /Failed to load resource/, ...viewing });
  opened.push(watched);
  return watched;
}

beforeAll(() => {
  if (BROWSER === null) return;
  url = listen(freePorts(1)[0] as number);
  writeFileSync(recordingPath, formatRecording(syntheticRecording({ events: 400 })));
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((watched) => watched.close()));
});

afterAll(async () => {
  await closeBrowser();
  await end();
  rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(BROWSER === null)("in Chromium", () => {
  test("C1. cancelling all of 200 uploads sends no file more, and stores none of those that waited", async () => {
    const { page } = await open("#/files/");
    let puts = 0;
    await page.route("**/files/many-*", async (route) => {
      if (route.request().method() !== "PUT") return route.continue();
      puts++;
      await new Promise((resolve) => setTimeout(resolve, 300));
      await route.continue().catch(() => {});
    });
    const files = Array.from({ length: 200 }, (_, n) => ({
      name: `many-${n}.txt`,
      mimeType: "text/plain",
      buffer: Buffer.from("x"),
    }));
    await page.setInputFiles("[aria-label='Files to upload']", files);
    await page.locator(".tray").waitFor();
    for (let n = 0; n < 500 && puts === 0; n++) await page.waitForTimeout(20);
    await page.getByRole("button", { name: "Cancel all" }).click();
    const before = puts;
    await page.getByRole("button", { name: "Cancel all" }).waitFor({ state: "detached" });
    await page.waitForTimeout(1000);
    expect(puts).toBe(before);
    const { entries } = (await (await call("GET", "/files?prefix=many-&limit=1000")).json()) as { entries: unknown[] };
    expect(entries.length).toBeLessThanOrEqual(before);
  });

  test("C2. F2, a new name, Enter: the file keeps its folder; a slash is refused with words, and moving is another key", async () => {
    await call("PUT", "/files/docs/files.png", { body: "picture" });
    const { page } = await open("#/files/docs");
    await page.locator('[data-path="docs/files.png"] .entry-name').focus();
    await page.keyboard.press("F2");
    const field = page.getByLabel("New name");
    await field.waitFor();
    expect(await field.evaluate((input: HTMLInputElement) => input.value.slice(0, input.selectionEnd ?? 0))).toBe(
      "files",
    );
    await page.keyboard.type("old/plans");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").filter({ hasText: "A name has no slash" }).waitFor();
    await field.fill("plans.png");
    await page.keyboard.press("Enter");
    await page.locator('[data-path="docs/plans.png"]').waitFor();
    expect((await call("GET", "/files/docs/plans.png")).status).toBe(200);
    expect((await call("GET", "/files/plans.png")).status).toBe(404);

    await page.locator('[data-path="docs/plans.png"] .entry-name').focus();
    await page.keyboard.press("m");
    await page.getByLabel("To folder").fill("/archive/2026");
    await page.keyboard.press("Enter");
    await page.locator('[data-path="docs/plans.png"]').waitFor({ state: "detached" });
    expect((await call("GET", "/files/archive/2026/plans.png")).status).toBe(200);
  });

  test("C3. with a recording open every view says so, and nothing on the page acts on the cluster behind it", async () => {
    await call("PUT", "/files/kept.txt", { body: "kept" });
    const { page } = await open("#/failover");
    const changes: string[] = [];
    page.on("request", (request) => {
      if (request.method() !== "GET") changes.push(`${request.method()} ${request.url()}`);
    });
    await page.setInputFiles("#open-recording", recordingPath);
    const strip = page.locator(".recording-strip", { hasText: "small.dfsrec" });
    for (const hash of ["#/failover", "#/cluster", "#/files/", "#/files/docs"]) {
      await page.evaluate((to) => location.assign(to), hash);
      await strip.waitFor();
      expect(await page.getByRole("link", { name: "Files" }).count()).toBe(0);
      expect(await page.locator(".files, .entries, .node-card, .drill-form").count()).toBe(0);
      for (const key of ["n", "u", "F2", "Delete"]) await page.keyboard.press(key);
      expect(await page.locator("dialog[open]").count()).toBe(0);
    }
    expect(changes).toEqual([]);
    await strip.getByRole("button", { name: "Close" }).click();
    await strip.waitFor({ state: "detached" });
    expect(await page.locator("[data-node='worker-5']").count()).toBe(0);
    await page.getByRole("link", { name: "Files", exact: true }).click();
    await page.getByRole("link", { name: "All files" }).click();
    await page.locator('[data-path="kept.txt"]').waitFor();
  });
});
