// Chromium, over the DevTools protocol on pipes, so that it needs no package. For the programs beside this one, and that of the storefront.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

export class Browser {
  constructor(program) {
    this.profile = mkdtempSync(join(tmpdir(), "browser-"));
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", `--user-data-dir=${this.profile}`, "about:blank"];
    const process = spawn(program, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    this.gone = new Promise((resolve) => process.on("exit", resolve));
    this.to = process.stdio[3];
    // What the pages complained about.
    this.faults = [];
    // Commands and their answers, with a zero behind each.
    this.waiting = new Map();
    this.last = 0;
    let rest = "";
    process.stdio[4].setEncoding("utf8").on("data", (text) => {
      const parts = (rest + text).split("\0");
      rest = parts.pop();
      for (const message of parts.map((part) => JSON.parse(part))) this.hear(message);
    });
  }

  hear(message) {
    if (message.method === "Runtime.exceptionThrown") this.faults.push(message.params.exceptionDetails.text);
    if (message.method === "Log.entryAdded" && message.params.entry.level === "error") this.faults.push(message.params.entry.text);
    const answer = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.error) answer?.reject(new Error(message.error.message));
    else answer?.resolve(message.result);
  }

  tell(method, params = {}, sessionId) {
    return new Promise((resolve, reject) => {
      this.waiting.set(++this.last, { resolve, reject });
      this.to.write(`${JSON.stringify({ id: this.last, method, params, sessionId })}\0`);
    });
  }

  // A page of its own, when it says of itself that it is ready.
  async open(address, ready) {
    const { targetId } = await this.tell("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.tell("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page((method, params) => this.tell(method, params, sessionId));
    for (const domain of ["Runtime", "Log", "Page"]) await page.tell(`${domain}.enable`);
    await page.tell("Page.navigate", { url: address });
    await page.until(ready);
    return page;
  }

  // It also ends by itself when its pipes are closed.
  async close() {
    await Promise.all([this.gone, this.tell("Browser.close")]);
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

class Page {
  constructor(tell) {
    this.tell = tell;
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

  // As a person does: into this field, at the end of what is there.
  async type(id, words) {
    await this.look(`document.getElementById(${JSON.stringify(id)}).focus()`);
    await this.tell("Input.insertText", { text: words });
  }

  async enter() {
    for (const type of ["keyDown", "keyUp"]) await this.tell("Input.dispatchKeyEvent", { type, key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: type === "keyDown" ? "\r" : undefined });
  }

  // In the middle of the screen of a phone or of a desk, in the light or in the dark.
  async at(width, height, scheme = "light") {
    await this.tell("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 500 });
    await this.tell("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  }

  // How much wider than the screen it is, at the most, on a phone, a tablet and a desk. Pictures go into a folder, if there is one.
  async overflow(pictures) {
    let most = 0;
    for (const [name, width, height] of [["phone", 360, 740], ["tablet", 768, 1024], ["desk", 1280, 800]]) {
      for (const scheme of ["light", "dark"]) {
        await this.at(width, height, scheme);
        most = Math.max(most, await this.look("document.scrollingElement.scrollWidth - innerWidth"));
        if (pictures) {
          const { data } = await this.tell("Page.captureScreenshot", { captureBeyondViewport: true });
          writeFileSync(join(pictures, `${name}-${scheme}.png`), Buffer.from(data, "base64"));
        }
      }
    }
    return most;
  }
}
