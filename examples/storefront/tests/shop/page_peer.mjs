// Somebody who buys with Chromium.
//
//     node page_peer.mjs <chromium> <address> [<folder for pictures>]
//
// What they do and see is printed, a line each.

import { Browser } from "../../../../tests/judges/browser.mjs";

const [, , program, address, pictures] = process.argv;
const browser = new Browser(program);
const page = await browser.open(address, `document.getElementById("login") && document.readyState === "complete"`);
const said = (words) => page.until(`document.getElementById("said").textContent === ${JSON.stringify(words)}`);
const press = (id) => page.look(`document.getElementById(${JSON.stringify(id)}).click()`);
const listed = () => page.look(`[...document.querySelectorAll("#orders li .what")].map((what) => what.firstChild.textContent)`);
const logIn = async (user, password) => {
  await page.look(`document.getElementById("name").value = document.getElementById("password").value = ""`);
  await page.type("name", user);
  await page.type("password", password);
  await page.enter();
};

await logIn("ann", "ann's password");
await page.until(`!document.getElementById("shop").hidden`);
console.log(`in: ${JSON.stringify(await listed())}`);

await page.look(`document.getElementById("many-honey").value = "3"`);
await press("buy-honey");
await said("Bought: 3 × Honey from next door, €22.50.");
console.log(`bought: ${JSON.stringify(await listed())}`);

// Two presses before the page has heard of the first: the button is off by then.
await page.look(`document.getElementById("buy-bread").click(); document.getElementById("buy-bread").click()`);
await said("Bought: 1 × A loaf of bread, €4.20.");
console.log(`pressed twice: ${JSON.stringify(await listed())}`);

await press("buy-salt");
await said("Bought: 1 × The last grain of salt, €0.01.");
await page.until(`document.getElementById("buy-salt").disabled && document.getElementById("buy-salt").textContent === "Sold out"`);
console.log(`wider than the screen: ${await page.overflow(pictures)}`);
console.log(`faults: ${JSON.stringify(browser.faults)}`);

await press("leave");
await page.until(`document.getElementById("shop").hidden`);
await logIn("ann", "wrong");
await said("That did not work: user and password do not fit.");
console.log("a wrong password is told so");
await logIn("ben", "ben's password");
await page.until(`!document.getElementById("shop").hidden`);
console.log(`somebody else: ${JSON.stringify(await listed())}`);

await browser.close();
process.exit(0);
