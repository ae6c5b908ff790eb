/** What the console's policy is for: whatever is stored in the cluster is data to the page, never a program. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { formatRecording } from "../../gateway/console/recording.ts";
import { readHeader, serveReplay } from "../../gateway/console/replay.ts";
import { freePorts } from "../support/free-ports.ts";
import { restGateway } from "../support/rest-gateway.ts";
import { BROWSER, closeBrowser, openPage } from "./support.ts";
import { syntheticRecording } from "./synthetic-recording.ts";

const { listen, call, end } = await restGateway();
let url = "";
let replay: Awaited<ReturnType<typeof serveReplay>>;

const STORED = {
  "x.js": ["text/javascript", "globalThis.attacked = 'script'"],
  "worker.js": ["text/javascript", "postMessage('attacked')"],
  "x.css": ["text/css", "body { --attacked: styles }"],
  "x.html": ["text/html", "<script>parent.attacked = 'frame'</script>"],
  "x.svg": ["image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'/>"],
};

beforeAll(async () => {
  if (BROWSER === null) return;
  url = listen(freePorts(1)[0] as number);
  for (const [name, [type = "", body = ""]] of Object.entries(STORED))
    await call("PUT", `/files/${name}`, { body, headers: { "content-type": type } });
  const file = new Blob([formatRecording(syntheticRecording({ events: 200 }))]);
  replay = serveReplay(file, (await readHeader(await file.bytes())).header, 0);
});

afterAll(async () => {
  await closeBrowser();
  await replay?.stop();
  await end();
});

/** Runs in the page: everything that markup or a script of the page could try to run what is stored. */
async function attack(files: string): Promise<{ ran: string[]; blocked: string[] }> {
  const blocked = new Set<string>();
  addEventListener("securitypolicyviolation", (event) => {
    blocked.add((event as Event & { effectiveDirective: string }).effectiveDirective);
  });
  const state = globalThis as { attacked?: string };
  const ran: string[] = [];
  const outcome = (how: string, begin: (done: () => void) => void): Promise<void> =>
    new Promise((resolve) => {
      const settle = (): void => {
        if (state.attacked !== undefined) ran.push(`${how}: ${state.attacked}`);
        delete state.attacked;
        resolve();
      };
      setTimeout(settle, 1000);
      try {
        begin(settle);
      } catch {
        settle();
      }
    });
  const element = (tag: string, properties: Record<string, string>): Promise<void> =>
    outcome(`${tag} ${JSON.stringify(properties)}`, (done) => {
      const made = Object.assign(document.createElement(tag), properties, { onload: done, onerror: done });
      document.body.append(made);
      if (!("src" in properties || "href" in properties || "data" in properties)) done();
    });
  const script = `${files}x.js`;
  await element("script", { src: script });
  await element("script", { src: script, type: "module" });
  await element("script", { src: `/console/assets/../..${script}` });
  await element("script", { src: `/console/assets/..%2f..${script.replaceAll("/", "%2f")}` });
  await element("script", { text: "attacked = 'inline'" });
  await outcome("import", (done) => void import(script).then(done, done));
  await outcome("eval", (done) => {
    new Function("globalThis.attacked = 'eval'")();
    done();
  });
  const heard = (done: () => void) => () => {
    state.attacked = "worker";
    done();
  };
  await outcome("worker", (done) => {
    const worker = new Worker(`${files}worker.js`);
    Object.assign(worker, { onmessage: heard(done), onerror: done });
  });
  await outcome("service worker", (done) => void navigator.serviceWorker.register(script).then(heard(done), done));
  await element("link", { rel: "stylesheet", href: `${files}x.css` });
  await element("style", { textContent: "body { --attacked: inline }" });
  const styled = getComputedStyle(document.body).getPropertyValue("--attacked");
  if (styled !== "") ran.push(`styles: ${styled}`);
  await element("iframe", { src: `${files}x.html` });
  await element("object", { data: `${files}x.html` });
  await element("embed", { src: `${files}x.svg` });
  await element("img", { src: `${files}x.svg` });
  await element("base", { href: "http://localhost:1/" });
  if (document.baseURI !== location.href.replace(/#.*/, "") && !document.baseURI.startsWith(location.origin))
    ran.push(`base: ${document.baseURI}`);
  return { ran, blocked: [...blocked].sort() };
}

describe.skipIf(BROWSER === null)("in Chromium", () => {
  for (const where of ["the console", "a replay"] as const)
    test(`S11. nothing that is stored runs in ${where}: no script, worker, style, frame or picture of it is loaded`, async () => {
      const page = where === "the console" ? `${url}/console` : replay.url;
      const watched = await openPage(page, { expected: /./ });
      await watched.page.locator("nav.views").waitFor();
      const { ran, blocked } = await watched.page.evaluate(attack, "/files/");
      await watched.close();
      expect(ran).toEqual([]);
      for (const directive of ["script-src-elem", "style-src-elem", "worker-src", "frame-src", "object-src", "img-src"])
        expect(blocked).toContain(directive);
    });

  test("S11. a server that redirects from the page's own path to a stored script gets nothing run", async () => {
    const watched = await openPage(`${url}/console`, { expected: /./ });
    const redirecting = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      async fetch(request) {
        const { pathname, search } = new URL(request.url);
        if (pathname === "/console/assets/moved.js") return Response.redirect("/files/x.js");
        return fetch(`${url}${pathname}${search}`, { headers: { "accept-encoding": "identity" } });
      },
    });
    try {
      await watched.page.goto(`http://127.0.0.1:${redirecting.port}/console`);
      await watched.page.locator("nav.views").waitFor();
      const attacked = await watched.page.evaluate(
        () =>
          new Promise((resolve) => {
            const end = (): void => resolve((globalThis as { attacked?: string }).attacked ?? "not attacked");
            const script = document.createElement("script");
            Object.assign(script, { src: "/console/assets/moved.js", onload: end, onerror: end });
            document.head.append(script);
          }),
      );
      expect(attacked).toBe("not attacked");
    } finally {
      await watched.close();
      await redirecting.stop(true);
    }
  });
});
