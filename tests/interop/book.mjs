// Looks at the pages of the built book as a reader does, on a phone and on a desktop, light and dark:
//   node book.mjs FOLDER OUTDIR
// FOLDER is the book; OUTDIR gets screenshots of some pages. CHROMIUM names another browser than /usr/bin/chromium.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { launchChromium } from "./parts.mjs";

const [folder, outdir] = process.argv.slice(2);
const types = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };
const server = createServer(async ({ url }, response) => {
  const path = decodeURIComponent(new URL(url, "http://localhost").pathname);
  try {
    const body = await readFile(join(folder, path));
    response.setHeader("Content-Type", types[extname(path)] ?? "application/octet-stream");
    response.end(body);
  } catch {
    response.statusCode = 404;
    response.end();
  }
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const site = `http://127.0.0.1:${server.address().port}`;

// What is wrong with the page that is open. Runs in the browser.
function faults() {
  const found = [];
  const name = (it) => `<${it.localName}${it.className ? ` class="${it.className}"` : ""}> ${it.textContent.trim().replace(/\s+/g, " ").slice(0, 40)}`;
  const main = document.querySelector("main");

  if (document.scrollingElement.scrollWidth > innerWidth) found.push("the page scrolls sideways");
  const scrolls = (it) => it !== main && (getComputedStyle(it).overflowX !== "visible" || scrolls(it.parentElement));
  for (const it of main.querySelectorAll("*")) {
    const { right, width } = it.getBoundingClientRect();
    if (width > 0 && right > innerWidth + 1 && !scrolls(it.parentElement)) found.push(`is too wide: ${name(it)}`);
  }

  const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].filter((it) => it.checkVisibility() && it.role !== "presentation").map((it) => Number(it.localName[1]));
  if (levels.filter((level) => level === 1).length !== 1) found.push(`has the headings ${levels}, not one h1`);
  levels.forEach((level, index) => level > (levels[index - 1] ?? 0) + 1 && found.push(`skips a level: ${levels}`));

  // WCAG 2.2, "contrast ratio" and "relative luminance".
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = ([red, green, blue, alpha], below) =>
    [red, green, blue].map((part, index) => part * alpha + below[index] * (1 - alpha));
  const backgrounds = new Map();
  const background = (it) => {
    if (!it) return [255, 255, 255];
    if (!backgrounds.has(it)) {
      backgrounds.set(it, over(rgba(getComputedStyle(it).backgroundColor), background(it.parentElement)));
    }
    return backgrounds.get(it);
  };
  const luminance = (color) => {
    const [red, green, blue] = color.map((part) => part / 255).map((it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const seen = new Set();
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const it = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(it)) continue;
    seen.add(it);
    if (!it.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || it.closest("script, style")) continue;
    const opacity = Number(getComputedStyle(it).opacity);
    const below = background(it);
    const [red, green, blue, alpha] = rgba(getComputedStyle(it).color);
    const [light, dark] = [luminance(over([red, green, blue, alpha * opacity], below)), luminance(below)].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    texts += 1;
    if (contrast < 4.5) found.push(`has a contrast of ${contrast.toFixed(2)}: ${name(it)}`);
  }
  if (texts < 3) found.push("has no text");
  return found;
}

async function pagesIn(path) {
  const entries = await readdir(join(folder, path), { withFileTypes: true });
  return entries.filter((it) => it.isFile() && it.name.endsWith(".html")).map((it) => `${path}${it.name}`).sort();
}
// The pages of sources are all made in one way: a file and a folder stand for them.
const parts = ["404.html", "toc.html", "index.html"]; // not pages, and the first page again
const pages = (await pagesIn("")).filter((name) => !parts.includes(name));
const more = ["source/step6/src/verify.rs.html"];
const shown = ["introduction.html", "6.2-verify.html", "rfcs.html"];
assert.deepEqual(shown.filter((name) => !pages.includes(name)), []);

const browser = await launchChromium();
const problems = new Set();
let looks = 0;
try {
  for (const colorScheme of ["light", "dark"]) {
    const context = await browser.newContext({ colorScheme });
    context.setDefaultTimeout(30_000);
    const page = await context.newPage();
    let now;
    page.on("request", (request) => request.url().startsWith(`${site}/`) || request.url().startsWith("data:") || problems.add(`${now} asks for ${request.url()}`));
    page.on("response", (response) => response.ok() || problems.add(`${now}: ${response.status()} for ${response.url()}`));
    page.on("pageerror", (error) => problems.add(`${now}: ${error}`));
    for (const name of [...pages, ...more]) {
      now = name;
      for (const width of [390, 1280]) {
        await page.setViewportSize({ width, height: 900 });
        await page.goto(`${site}/${name}`, { waitUntil: "load" });
        await page.evaluate(() => document.querySelectorAll("details").forEach((it) => (it.open = true)));
        for (const fault of await page.evaluate(faults)) problems.add(`${name}, ${width} px, ${colorScheme}: ${fault}`);
        looks += 1;
        if (shown.includes(name)) {
          const path = `${outdir}/book-${name.replace(".html", "")}-${width}-${colorScheme}.png`;
          await page.screenshot({ path, fullPage: name !== "rfcs.html" });
        }
      }
    }
    await context.close();
  }
} finally {
  await browser.close();
  server.close();
}
problems.forEach((it) => console.error(it));
assert.equal(problems.size, 0);
console.log(`ok - ${pages.length + more.length} pages, looked at ${looks} times`);
