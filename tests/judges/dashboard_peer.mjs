// Looks at a page with Chromium.
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

import { createInterface } from "node:readline";

import { Browser } from "./browser.mjs";

const [, , program, address, pictures] = process.argv;
const browser = new Browser(program);
const ready = `document.getElementById("state")?.dataset.live === "yes" && !document.getElementById("text").disabled`;
const [one, other] = [await browser.open(address, ready), await browser.open(address, ready)];
const heard = (words) => `[...document.querySelectorAll("#talk li")].some((line) => line.lastChild.textContent === ${JSON.stringify(words)})`;
const numbers = (page) => {
  const names = ["answered", "in_flight", "limit", "connections", "refused", "chatting"];
  return page.look(`Object.fromEntries(${JSON.stringify(names)}.map((name) => [name, Number(document.getElementById(name).textContent.replace(/,/g, ""))]))`);
};

const orders = {
  async say(words) {
    await one.type("text", words);
    await one.enter();
    await other.until(heard(words));
    await one.until(heard(words));
    return "heard";
  },
  async work() {
    await one.look(`document.getElementById("work").click()`);
    await one.until(`!document.getElementById("work").disabled`);
    return "done";
  },
  numbers: async () => JSON.stringify([await numbers(one), await numbers(other)]),
  fits: async () => String(await one.overflow(pictures)),
  async state(words) {
    await one.until(`document.getElementById("state-text").textContent === ${JSON.stringify(words)}`);
    return words;
  },
  faults: async () => JSON.stringify(browser.faults),
};

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "end") break;
  const [order, ...words] = line.split(" ");
  console.log(await orders[order](words.join(" ")));
}
await browser.close();
process.exit(0);
