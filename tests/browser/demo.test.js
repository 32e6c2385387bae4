// The demo as two people see it: chat, cursors, prices; a kill -9 and a restart; both catch up.
// A real server, a real browser. Screenshots go to out/browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { connect as dial, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const root = new URL("../../", import.meta.url).pathname;
const out = join(root, "out/browser");
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let dir;
let port;
let server;
let browser;

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

function answers() {
  return new Promise((resolve) => {
    const socket = dial(port, "127.0.0.1");
    socket.on("connect", () => resolve(socket.destroy() && true));
    socket.on("error", () => resolve(false));
  });
}

async function start() {
  const binary = join(root, "target/release/tidegate");
  server = spawn(binary, ["serve", "--demo", "--listen", `127.0.0.1:${port}`], { cwd: dir, stdio: "ignore" });
  while (!(await answers())) {
    assert.equal(server.exitCode, null, "the server ended");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function kill() {
  const ended = new Promise((resolve) => server.once("exit", resolve));
  server.kill("SIGKILL");
  await ended;
}

before(async () => {
  mkdirSync(out, { recursive: true });
  dir = mkdtempSync(join(tmpdir(), "tidegate-browser-"));
  port = await freePort();
  await start();
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
});

after(async () => {
  await browser?.close();
  await kill();
  rmSync(dir, { recursive: true, force: true });
});

async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.mistakes = [];
  page.on("pageerror", (error) => page.mistakes.push(String(error)));
  await page.goto(`http://127.0.0.1:${port}/`);
  await page.waitForSelector('#status[data-state="connected"]');
  return page;
}

const texts = (page) => page.$$eval("#messages li[data-offset]", (lines) => lines.map((line) => line.textContent));
const until = (page, text) => page.waitForFunction((text) => document.querySelector("#messages").textContent.includes(text), text);

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

test("two people chat, move and watch prices; a kill -9 and a restart lose nothing", async () => {
  const ann = await open({ viewport: { width: 1280, height: 800 } });
  const bob = await open({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, colorScheme: "dark" });
  const bobsName = await bob.textContent("#me");

  await say(ann, "hello from the shore");
  await until(bob, "hello from the shore");
  await say(bob, "and hello back");
  await until(ann, "and hello back");
  await ann.waitForFunction(() => document.querySelector("#count").textContent === "2 here");

  // Bob's cursor moves on Ann's page.
  const sea = await bob.locator("#sea").boundingBox();
  await bob.mouse.move(sea.x + 60, sea.y + 40);
  await bob.mouse.move(sea.x + 200, sea.y + 90, { steps: 5 });
  await ann.waitForSelector(`.cursor[data-user="${bobsName}"]`);

  // The prices move.
  const month = await ann.textContent("#month");
  await ann.waitForFunction((before) => document.querySelector("#month").textContent !== before, month);
  await ann.click("#symbols button:nth-child(3)");
  await ann.screenshot({ path: join(out, "wide.png") });
  await bob.screenshot({ path: join(out, "narrow.png"), fullPage: true });

  await kill();
  for (const page of [ann, bob]) await page.waitForSelector('#status[data-state="waiting"]');
  await ann.screenshot({ path: join(out, "down.png") });
  // Said while the server is down: it waits in the page and arrives once.
  await say(ann, "said into the silence");
  await start();
  for (const page of [ann, bob]) {
    await page.waitForSelector('#status[data-state="connected"]');
    await until(page, "said into the silence");
  }
  await say(bob, "we are all here");
  await until(ann, "we are all here");
  await until(bob, "we are all here");

  const expected = ["hello from the shore", "and hello back", "said into the silence", "we are all here"];
  for (const page of [ann, bob]) {
    const seen = await texts(page);
    assert.equal(seen.length, expected.length, seen.join(" | "));
    seen.forEach((line, n) => assert.ok(line.endsWith(expected[n]), line));
    assert.deepEqual(page.mistakes, []);
  }
  await ann.screenshot({ path: join(out, "back.png") });

  // Someone who comes later reads it up.
  const cleo = await open({ viewport: { width: 1000, height: 700 } });
  await until(cleo, "we are all here");
  assert.equal((await texts(cleo)).length, expected.length);
});
