/** The console in a real browser, on a real cluster. Nothing is asked of any other machine. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import axe from "axe-core";
import type { Page } from "playwright-core";
import { VIEWS } from "../../gateway/console/page/location-hash.ts";
import { formatRecording } from "../../gateway/console/recording.ts";
import { RealCluster } from "../support/real-cluster.ts";
import { BROWSER, closeBrowser, openPage, type Viewing, type Watched } from "./support.ts";
import { syntheticRecording } from "./synthetic-recording.ts";

const folder = mkdtempSync(join(tmpdir(), "dfs-console-"));
const recordingPath = join(folder, "small.dfsrec");
const bigRecordingPath = join(folder, "big.dfsrec");
let cluster: RealCluster;
const opened: Watched[] = [];

async function open(hash = "", viewing?: Viewing): Promise<Watched> {
  const watched = await openPage(`${cluster.url}/console${hash}`, viewing);
  opened.push(watched);
  return watched;
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((watched) => watched.close()));
});

beforeAll(async () => {
  if (BROWSER === null) return;
  writeFileSync(recordingPath, formatRecording(syntheticRecording({ workers: 5, events: 900 })));
  writeFileSync(bigRecordingPath, Bun.gzipSync(formatRecording(syntheticRecording({ workers: 46, events: 10_000 }))));
  cluster = await RealCluster.start({ workers: 3 });
  for (let n = 0; n < 40; n++) await cluster.client.put(`many/${String(n).padStart(3, "0")}-page.txt`, "x");
});

afterAll(async () => {
  await closeBrowser();
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const listed = (page: Page): Promise<string[]> => page.locator(".entries .entry-name .name").allTextContents();

/** Drops real files on the page, folders by the paths of their files. */
async function drop(page: Page, files: Record<string, string>): Promise<void> {
  const transfer = await page.evaluateHandle((contents) => {
    const data = new DataTransfer();
    for (const [name, text] of Object.entries(contents)) data.items.add(new File([text], name));
    return data;
  }, files);
  await page.dispatchEvent("body", "dragenter", { dataTransfer: transfer });
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
}

async function openRecording(page: Page, path: string): Promise<void> {
  await page.setInputFiles("#open-recording", path);
}

describe.skipIf(BROWSER === null)("in Chromium", () => {
  test("every view loads without an error, and no request leaves the origin", async () => {
    const { page, problems, strayed } = await open();
    await page.locator("#health[data-level=ok]").waitFor();
    for (const view of VIEWS.toReversed()) {
      await page.locator(`nav.views a[href^="#/${view}"]`).click();
      await page.waitForTimeout(700);
    }
    expect(problems).toEqual([]);
    expect(strayed).toEqual([]);
  });

  test("a file dropped on the page is stored, listed, explained, renamed and deleted", async () => {
    const { page, problems } = await open("#/files/inbox");
    await page.locator("#health[data-level=ok]").waitFor();
    await drop(page, { "letter.txt": "Dear reader", "photo.bin": "x".repeat(100_000) });
    await page.locator('[data-path="inbox/photo.bin"]').waitFor();
    expect(await listed(page)).toEqual(["letter.txt", "photo.bin"]);
    expect(await (await fetch(cluster.fileUrl("inbox/letter.txt"))).text()).toBe("Dear reader");

    await page.getByRole("button", { name: "letter.txt", exact: true }).click();
    await page.locator(".verdict-line.good").waitFor();
    expect(await page.locator(".replica.good").count()).toBe(3);

    await page.getByRole("button", { name: "Rename letter.txt" }).click();
    await page.getByLabel("New name").fill("note.txt");
    await page.getByRole("button", { name: "Rename", exact: true }).click();
    await page.locator('[data-path="inbox/note.txt"]').waitFor();
    await page.getByRole("button", { name: "Move note.txt" }).click();
    await page.getByLabel("To folder").fill("/inbox/kept");
    await page.getByRole("button", { name: "Move", exact: true }).click();
    await page.locator('[data-path="inbox/kept/"]').waitFor();
    expect((await fetch(cluster.fileUrl("inbox/kept/note.txt"))).status).toBe(200);

    await page.getByRole("button", { name: "Delete photo.bin" }).click();
    await page.getByRole("button", { name: "Cancel" }).click();
    expect(await listed(page)).toContain("photo.bin");
    await page.getByRole("button", { name: "Delete photo.bin" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.locator('[data-path="inbox/photo.bin"]').waitFor({ state: "detached" });
    expect((await fetch(cluster.fileUrl("inbox/photo.bin"))).status).toBe(404);
    expect(problems).toEqual([]);
  });

  test("a folder is uploaded with what is in it, and what exists is replaced only when told to", async () => {
    const source = join(folder, "album");
    mkdirSync(join(source, "summer"), { recursive: true });
    writeFileSync(join(source, "one.txt"), "1");
    writeFileSync(join(source, "summer", "two.txt"), "2");
    const { page, problems } = await open("#/files/");
    await page.setInputFiles("[aria-label='Folder to upload']", source);
    await page.locator('[data-path="album/"]').waitFor();
    await page.locator(".upload.done").nth(1).waitFor();
    expect(await (await fetch(cluster.fileUrl("album/summer/two.txt"))).text()).toBe("2");

    writeFileSync(join(source, "one.txt"), "changed");
    await page.setInputFiles("[aria-label='Folder to upload']", source);
    await page.locator(".upload.exists").nth(1).waitFor();
    expect(await (await fetch(cluster.fileUrl("album/one.txt"))).text()).toBe("1");
    const choice = page.locator(".upload.exists", { hasText: "one.txt" });
    await choice.getByRole("button", { name: "Replace" }).click();
    await page.locator(".upload.done", { hasText: "one.txt" }).waitFor();
    expect(await (await fetch(cluster.fileUrl("album/one.txt"))).text()).toBe("changed");
    expect(problems).toEqual([]);
  });

  test("names are walked with the keyboard and found by a part of them", async () => {
    const { page } = await open("#/files/many");
    await page.locator('[data-path="many/039-page.txt"]').waitFor();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("001-page.txt");
    await page.keyboard.press("Enter");
    await page.locator(".details h2", { hasText: "001-page.txt" }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("27-");
    await page.locator(".search-state", { hasText: "1 found in 40 names" }).waitFor();
    expect(await listed(page)).toEqual(["027-page.txt"]);
  });

  test("a worker is put into maintenance and back with two buttons", async () => {
    const { page } = await open("#/cluster");
    await page.getByRole("button", { name: "Maintenance worker-2" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Maintenance" }).click();
    await page.locator('[data-worker="worker-2"]', { hasText: "maintenance" }).waitFor();
    await page.locator("#health[data-level=degraded]").waitFor();
    await page.getByRole("button", { name: "Activate worker-2" }).click();
    await page.locator("#health[data-level=ok]").waitFor();
  });

  test("a recording shows its failover without a cluster: states, phases, causes, and the instant in the link", async () => {
    const { page, problems } = await open("#/failover");
    await openRecording(page, recordingPath);
    await page.getByRole("tab", { name: "Failovers" }).click();
    const report = page.locator(".report.leaderLoss");
    const total = Number(await report.getAttribute("data-total"));
    const phases = await report
      .locator("[data-phase]")
      .evaluateAll((all) => all.map((one) => Number((one as HTMLElement).dataset.ms)));
    expect(phases.reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(total, 3);
    expect(total).toBeCloseTo(1495, 0);

    await report.getByRole("button", { name: /^vote/ }).click();
    await page.locator('[data-node="master-1"][data-tone="down"]').waitFor();
    expect(await page.locator('[data-state="raft.leader"][data-active="true"]').count()).toBe(1);
    await page.keyboard.press("ArrowLeft");
    await page.locator('[data-state="raft.candidate"][data-active="true"]').waitFor();
    expect(await page.locator(".event-details .chain .event-row").count()).toBeGreaterThanOrEqual(3);
    await page.waitForTimeout(400);
    expect(new URL(page.url()).hash).toMatch(/^#\/failover\?m=raft&t=\d+(\.\d+)?&e=master-2%2F1%2F\d+$/);

    await page.getByRole("link", { name: "Cluster" }).click();
    await page.locator(".past-view [data-node='master-1'][data-tone='down']").waitFor();
    expect(problems).toEqual([]);
  });

  test.each(["about", "state"])(
    "a recording opened while the page still asks for %s stays on the page",
    async (asked) => {
      const { page } = await open();
      await page.route(`**/console/api/${asked}*`, async (route) => {
        await new Promise((resolve) => setTimeout(resolve, 1500));
        await route.continue().catch(() => {});
      });
      await page.goto(`${cluster.url}/console#/failover`);
      const late = page
        .waitForResponse((response) => response.url().includes(`/console/api/${asked}`))
        .catch(() => null);
      await page.reload();
      await openRecording(page, recordingPath);
      await page.locator(".recording-note").waitFor();
      const nodes = () =>
        page.locator("[data-node]").evaluateAll((all) => all.map((one) => one.getAttribute("data-node")));
      const shown = await nodes();
      await late;
      await page.waitForTimeout(500);
      expect(await nodes()).toEqual(shown);
      expect(shown).toContain("worker-5");
    },
  );

  test("a file that is no recording, a cut one and one of another version are told apart, and nothing is lost", async () => {
    const { page, problems } = await open("#/failover");
    await openRecording(page, recordingPath);
    await page.locator(".recording-note").waitFor();
    const text = formatRecording(syntheticRecording({ events: 200 }));
    const bad = {
      "holiday.txt": ["Dear diary", "no recording"],
      "cut.dfsrec": [text.slice(0, text.length - 40), "cut off"],
      "newer.dfsrec": [text.replace('"version":1', '"version":9'), "has version 9"],
    };
    for (const [name, [content = "", words = ""]] of Object.entries(bad)) {
      writeFileSync(join(folder, name), content);
      await openRecording(page, join(folder, name));
      await page.locator(".notice.problem", { hasText: name }).filter({ hasText: words }).waitFor();
    }
    expect(await page.locator(".recording-note").textContent()).toContain("small.dfsrec");
    expect(problems).toEqual([]);
  });

  test("a life of simulated masters opens like any recording: who led when, and why", async () => {
    const path = join(folder, "simulated.ndjson");
    const simulated = Bun.spawn({
      cmd: [process.execPath, join(import.meta.dir, "../simulation/simulate.ts"), "--record", path],
      env: { ...Bun.env, SEED: "57" },
      stdout: "ignore",
      stderr: "ignore",
    });
    expect(await simulated.exited).toBe(0);
    const { page, problems } = await open("#/failover");
    await openRecording(page, path);
    await page.locator(".recording-note", { hasText: "simulated.ndjson" }).waitFor();
    await page.locator("canvas.timeline-canvas[data-lanes='5']").waitFor();
    await page.locator("[data-state^='raft.leader']").first().waitFor();
    expect(await page.locator("[data-state='raft.leader'][data-active='true']").count()).toBe(1);
    expect(problems).toEqual([]);
  });

  test("10,000 events on 50 nodes stay smooth while one scrubs and plays", async () => {
    const { page, problems } = await open("#/failover");
    await openRecording(page, bigRecordingPath);
    await page.locator(".events .count", { hasText: "of 10,000" }).waitFor();
    expect(await page.locator("canvas.timeline-canvas").getAttribute("data-lanes")).toBe("50");
    await page.getByRole("button", { name: "Show everything" }).click();
    const box = await page.locator("canvas.timeline-canvas").boundingBox();
    if (!box) throw new Error("no timeline");
    await page.evaluate(() => {
      const frames: number[] = [];
      let last = performance.now();
      const next = (now: number): void => {
        frames.push(now - last);
        last = now;
        requestAnimationFrame(next);
      };
      requestAnimationFrame(next);
      Object.assign(window, { frames });
    });
    await page.mouse.move(box.x + 200, box.y + 40);
    await page.mouse.down();
    for (let x = 200; x < box.width - 20; x += 12) await page.mouse.move(box.x + x, box.y + 40);
    await page.mouse.up();
    await page.mouse.click(box.x + 480, box.y + 40);
    await page.selectOption(".speed select", "4");
    await page.keyboard.press("Escape");
    await page.locator(".timeline-canvas").focus();
    await page.keyboard.press(" ");
    await page.waitForTimeout(2000);
    const frames = (await page.evaluate(() => (window as unknown as { frames: number[] }).frames)).sort(
      (a, b) => a - b,
    );
    const at = (share: number): number => Math.round(frames[Math.floor(frames.length * share)] as number);
    console.log(
      `10,000 events, 50 nodes: ${frames.length} frames; half within ${at(0.5)} ms, 95 % within ${at(0.95)} ms, longest ${at(0.9999)} ms`,
    );
    expect(at(0.5)).toBeLessThan(50);
    expect(problems).toEqual([]);
  });

  for (const scheme of ["dark", "light"] as const)
    test(`nothing serious stands in anybody's way: axe-core, ${scheme}`, async () => {
      await cluster.client.put("seen/report.pdf", "x".repeat(5000));
      const { page } = await open("#/files/seen", { scheme });
      await page.getByRole("button", { name: "report.pdf", exact: true }).click();
      await page.locator(".verdict-line").waitFor();
      const serious: string[] = [];
      const check = async (where: string): Promise<void> => {
        // The page's policy refuses scripts of others, and this one comes through the debugger.
        await page.evaluate(axe.source);
        const { violations } = await page.evaluate(() =>
          (window as unknown as { axe: typeof axe }).axe.run({ resultTypes: ["violations"] }),
        );
        for (const { id, impact, nodes } of violations)
          if (impact === "serious" || impact === "critical")
            serious.push(`${where}: ${id} ${nodes.map(({ html }) => html.slice(0, 160)).join("\n")}`);
      };
      await check("files");
      await page.getByRole("link", { name: "Cluster" }).click();
      await page.locator(".node-card").first().waitFor();
      await check("cluster");
      await page.getByRole("link", { name: "Failover" }).click();
      await openRecording(page, recordingPath);
      await page.getByRole("button", { name: "Step back by one event" }).click();
      await page.waitForTimeout(400);
      await check("failover");
      await page.getByRole("tab", { name: "Failovers" }).click();
      await check("reports");
      expect(serious).toEqual([]);
    });

  test("on a telephone nothing is wider than the screen", async () => {
    const { page } = await open("#/files/many", { width: 375, height: 812 });
    const wider = (): Promise<number> =>
      page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    await page.locator(".entry-name").first().waitFor();
    expect(await wider()).toBe(0);
    await page.getByRole("link", { name: "Cluster" }).click();
    await page.locator(".node-card").first().waitFor();
    expect(await wider()).toBe(0);
    await page.getByRole("link", { name: "Failover" }).click();
    await openRecording(page, recordingPath);
    await page.locator("#events li").first().waitFor();
    await page.locator("#events .event-row").first().click();
    expect(await wider()).toBe(0);
  });

  test("a page left open over a restart of the gateway says so, and goes on where it was", async () => {
    const { page } = await open("#/files/many", { expected: /Failed to load resource|ERR_/ });
    await page.getByRole("button", { name: "001-page.txt", exact: true }).click();
    await page.locator(".verdict-line").waitFor();
    await cluster.kill("gateway-1");
    await page.locator("#silence").waitFor();
    expect(await page.locator("#health").getAttribute("data-level")).toBe("unknown");
    await page.getByRole("link", { name: "Failover" }).click();
    expect(await page.locator(".live-pill").textContent()).toContain("silent");
    await page.getByRole("link", { name: "Files" }).click();
    cluster.restart("gateway-1");
    await page.locator("#silence").waitFor({ state: "detached", timeout: 20_000 });
    await page.locator("#health[data-level=ok]").waitFor({ timeout: 20_000 });
    await page.locator('[data-path="many/"]').waitFor();
  });

  test("C4. a gateway that stands still is not live: the pill, the colours, the buttons and the ages say so", async () => {
    const { page } = await open("#/failover", { expected: /Failed to load resource|ERR_/ });
    await page.locator(".live-pill", { hasText: "live" }).waitFor({ timeout: 20_000 });
    cluster.freeze("gateway-1");
    await page.locator(".live-pill.silent", { hasText: "silent for" }).waitFor({ timeout: 20_000 });
    await page.locator("#silence", { hasText: "old" }).waitFor();
    const colour = (): Promise<string> =>
      page.evaluate(() => getComputedStyle(document.querySelector("main") as Element).filter);
    expect(await colour()).toContain("saturate");
    const clock = page.locator("output.instant");
    const shown = await clock.textContent();
    await page.getByRole("link", { name: "Cluster" }).click();
    await page.locator(".cluster-age", { hasText: "ago" }).waitFor();
    expect(await page.getByRole("button", { name: "Drain worker-1" }).isDisabled()).toBe(true);
    await page.getByRole("link", { name: "Files" }).click();
    for (const name of ["Upload", "Upload folder", "New folder"])
      expect(await page.getByRole("button", { name, exact: true }).isDisabled()).toBe(true);
    await page.keyboard.press("n");
    await page.locator(".notice.problem", { hasText: "nothing can be changed now" }).waitFor();
    await page.getByRole("link", { name: "Failover" }).click();
    expect(await clock.textContent()).toBe(shown);
    cluster.thaw("gateway-1");
    await page.locator(".live-pill:not(.silent)", { hasText: "live" }).waitFor({ timeout: 20_000 });
    expect(await colour()).toBe("none");
  });
});
