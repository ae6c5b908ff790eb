/** A failover on purpose, from the page: the leader is killed, watched, taken apart, exported, and looked at elsewhere. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Report, StepRecord } from "../../gateway/console/api.ts";
import { launch, smallCluster } from "../support/launcher.ts";
import { BROWSER, closeBrowser, openPage } from "./support.ts";

const cluster = smallCluster({ masters: 3 });
let launcher: ReturnType<typeof launch> | undefined;

const get = async <T>(path: string): Promise<T> => (await fetch(`${cluster.url}${path}`)).json() as Promise<T>;

beforeAll(async () => {
  if (BROWSER === null) return;
  launcher = launch(cluster);
  await launcher.until("The gateway is at");
});

afterAll(async () => {
  await closeBrowser();
  launcher?.child.kill("SIGTERM");
  await launcher?.exited;
  cluster.remove();
});

describe.skipIf(BROWSER === null)("in Chromium", () => {
  test("kill the leader: a new one, the candidate on the way, a report that agrees with the nodes, and the same from a file", async () => {
    const { page, problems, close } = await openPage(`${cluster.url}/console#/failover`);
    await page.locator("#health[data-level=ok]").waitFor();
    const leader = await page.locator('[data-node^="master-"][data-tone="good"]').getAttribute("data-node");
    await page.getByRole("tab", { name: "Drills" }).click();
    await page.getByRole("button", { name: "Start the drill" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Kill" }).click();
    await page
      .locator(`[data-node^="master-"][data-tone="good"]:not([data-node="${leader}"])`)
      .waitFor({ timeout: 20_000 });
    const successor = await page.locator('[data-node^="master-"][data-tone="good"]').getAttribute("data-node");
    await page.locator('[data-drill="passed"]').waitFor({ timeout: 60_000 });

    await page.getByRole("tab", { name: "Failovers" }).click();
    const shown = page.locator(".report.leaderLoss").first();
    const id = await shown.getAttribute("data-report");
    const report = (await get<Report[]>("/console/api/reports")).find((one) => one.id === id);
    expect([report?.subject, report?.successor]).toEqual([leader, successor]);
    expect(Number(await shown.getAttribute("data-total"))).toBe(report?.totalMs as number);
    const figures = await shown
      .locator("[data-phase]")
      .evaluateAll((all) => all.map((one) => [one.getAttribute("data-phase"), Number(one.getAttribute("data-ms"))]));
    expect(figures).toEqual(report?.phases.map(({ name, ms }) => [name, ms as number]) as [string, number][]);
    const { records } = await get<{ records: StepRecord[] }>(
      `/console/api/records?from=${Math.floor((report?.from ?? 0) - 1000)}&to=${Math.ceil((report?.to ?? 0) + 1000)}&machine=raft&limit=5000`,
    );
    const elected = records.find(({ n, f, v }) => n === successor && f === "candidate" && v.startsWith("leader"));
    const vote = report?.phases.find(({ name }) => name === "vote");
    expect(vote?.to).toBe(elected?.t as number);

    await shown.getByRole("button", { name: /^votes/ }).click();
    await page.keyboard.press("ArrowLeft");
    await page.locator('[data-state="raft.candidate"][data-active="true"]').waitFor();
    await page.locator(`[data-node="${successor}"]`, { hasText: "candidate" }).waitFor();
    // Until it has started again, nobody knows that it was down and not only out of reach.
    await page.locator(`[data-node="${leader}"][data-tone="down"]`).waitFor();

    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Save the last 10 minutes" }).click();
    const path = join(cluster.folder, "failover.dfsrec.gz");
    await (await download).saveAs(path);
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Copy a link to this event" }).click();
    await page.getByText("The link is copied.").waitFor();
    const { hash } = new URL(await page.evaluate(() => navigator.clipboard.readText()));
    const seen = async (of: typeof page): Promise<unknown> => ({
      nodes: await of
        .locator("[data-node]")
        .evaluateAll((all) => all.map((one) => [one.getAttribute("data-node"), one.getAttribute("data-tone")])),
      lit: await of
        .locator('[data-state][data-active="true"]')
        .evaluateAll((all) => all.map((one) => one.getAttribute("data-state"))),
    });
    const before = await seen(page);
    expect(problems).toEqual([]);
    await close();

    const fresh = await openPage(`${cluster.url}/console#/failover`);
    await fresh.page.setInputFiles("#open-recording", path);
    await fresh.page.locator(".recording-note").waitFor();
    await fresh.page.evaluate((wanted) => {
      location.hash = wanted;
    }, hash);
    await fresh.page.locator('[data-state="raft.candidate"][data-active="true"]').waitFor();
    expect(await seen(fresh.page)).toEqual(before);
    expect(fresh.problems).toEqual([]);
    expect(fresh.strayed).toEqual([]);
    await fresh.close();
  });
});
