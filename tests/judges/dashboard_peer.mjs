// Looks at a page with Chromium, over the DevTools protocol on pipes, so that it needs no package.
//
//     node dashboard_peer.mjs <chromium> <address> [<folder for pictures>]
//
// It opens the page twice, says so, and then does what it is told, a line at a time:
//
//     say <words>     types them in the first page, and waits for them in the second
//     work            presses the button for requests, and waits until they are answered
//     numbers         what both pages show, as JSON
//     fits            how much wider than the screen it is, on a phone and on a desk
//     state <words>   waits until the first page says so
//     faults          what the pages complained about, as JSON
//     end             closes the browser

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [, , program, address, pictures] = process.argv;
const profile = mkdtempSync(join(tmpdir(), "dashboard-"));
const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", `--user-data-dir=${profile}`, "about:blank"];
const browser = spawn(program, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
const [to, from] = [browser.stdio[3], browser.stdio[4]];
const gone = new Promise((resolve) => browser.on("exit", resolve));

// Commands and their answers, with a zero behind each.
const waiting = new Map();
const faults = [];
let [last, rest] = [0, ""];
from.setEncoding("utf8");
from.on("data", (text) => {
  const parts = (rest + text).split("\0");
  rest = parts.pop();
  for (const message of parts.map((part) => JSON.parse(part))) {
    if (message.method === "Runtime.exceptionThrown") faults.push(message.params.exceptionDetails.text);
    if (message.method === "Log.entryAdded" && message.params.entry.level === "error") faults.push(message.params.entry.text);
    const answer = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.error) answer?.reject(new Error(message.error.message));
    else answer?.resolve(message.result);
  }
});
const command = (method, params = {}, sessionId) =>
  new Promise((resolve, reject) => {
    waiting.set(++last, { resolve, reject });
    to.write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
  });

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

class Page {
  static async open() {
    const { targetId } = await command("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await command("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page();
    page.tell = (method, params) => command(method, params, sessionId);
    for (const domain of ["Runtime", "Log", "Page"]) await page.tell(`${domain}.enable`);
    await page.tell("Page.navigate", { url: address });
    await page.until(`document.getElementById("state")?.dataset.live === "yes" && !document.getElementById("text").disabled`);
    return page;
  }

  async look(expression) {
    const { result, exceptionDetails } = await this.tell("Runtime.evaluate", { expression, returnByValue: true });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.text}`);
    return result.value;
  }

  async until(expression) {
    for (let tries = 0; tries < 600; tries += 1) {
      if (await this.look(expression)) return;
      await pause(50);
    }
    throw new Error(`it does not come to ${expression}`);
  }

  // In the middle of the screen of a phone or of a desk, in the light or in the dark.
  async at(width, height, scheme = "light") {
    await this.tell("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 500 });
    await this.tell("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  }

  numbers() {
    const names = ["answered", "in_flight", "limit", "connections", "refused", "chatting"];
    return this.look(`Object.fromEntries(${JSON.stringify(names)}.map((name) => [name, Number(document.getElementById(name).textContent.replace(/,/g, ""))]))`);
  }
}

const [one, other] = [await Page.open(), await Page.open()];
const heard = (words) => `[...document.querySelectorAll("#talk li")].some((line) => line.lastChild.textContent === ${JSON.stringify(words)})`;

const orders = {
  async say(words) {
    await one.look(`document.getElementById("text").focus()`);
    await one.tell("Input.insertText", { text: words });
    for (const type of ["keyDown", "keyUp"]) await one.tell("Input.dispatchKeyEvent", { type, key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: type === "keyDown" ? "\r" : undefined });
    await other.until(heard(words));
    await one.until(heard(words));
    return "heard";
  },
  async work() {
    await one.look(`document.getElementById("work").click()`);
    await one.until(`!document.getElementById("work").disabled`);
    return "done";
  },
  numbers: async () => JSON.stringify([await one.numbers(), await other.numbers()]),
  async fits() {
    const wider = [];
    for (const [name, width, height] of [["phone", 360, 740], ["tablet", 768, 1024], ["desk", 1280, 800]]) {
      for (const scheme of ["light", "dark"]) {
        await one.at(width, height, scheme);
        wider.push(Math.max(0, await one.look("document.scrollingElement.scrollWidth - innerWidth")));
        if (pictures) {
          const { data } = await one.tell("Page.captureScreenshot", { captureBeyondViewport: true });
          writeFileSync(join(pictures, `${name}-${scheme}.png`), Buffer.from(data, "base64"));
        }
      }
    }
    return String(Math.max(...wider));
  },
  async state(words) {
    await one.until(`document.getElementById("state-text").textContent === ${JSON.stringify(words)}`);
    return words;
  },
  faults: async () => JSON.stringify(faults),
};

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "end") break;
  const [order, ...words] = line.split(" ");
  console.log(await orders[order](words.join(" ")));
}
// It also ends by itself when its pipes are closed.
await Promise.all([gone, command("Browser.close")]);
rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
process.exit(0);
