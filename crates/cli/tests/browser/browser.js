// A browser that remembers what went wrong in its pages. Without one, tests are skipped and say so, unless there must be one.

import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const PROGRAM = process.env.ORCHESTR8_CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
    '--enable-precise-memory-info'];

const isThere = existsSync(PROGRAM);
if (!isThere && process.env.ORCHESTR8_BROWSER === 'required') throw new Error(`there must be a browser at ${PROGRAM}`);

/** A test that needs the browser. */
export function inBrowser(name, run) {
    test(name, { skip: isThere ? false : `skipped: no browser at ${PROGRAM}`, timeout: 600_000 }, run);
}

let browser;
if (isThere) {
    before(async () => {
        browser = await chromium.launch({ executablePath: PROGRAM, args: FLAGS });
    });
    after(() => browser.close());
}

/** Opens a tab. `page.faults` lists errors in the console, violations of the policy, and requests to elsewhere. */
export async function tab(base, { width = 1440, height = 900, theme = 'light', ...options } = {}) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, baseURL: base, ...options });
    const page = await context.newPage();
    page.faults = [];
    page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) page.faults.push(`${message.type()}: ${message.text()} ${message.location().url}`);
    });
    page.on('pageerror', (error) => page.faults.push(`exception: ${error.stack}`));
    page.on('request', (request) => {
        const url = new URL(request.url());
        if (url.origin !== new URL(base).origin && url.protocol !== 'blob:' && url.protocol !== 'data:') page.faults.push(`foreign request: ${request.url()}`);
    });
    await page.addInitScript(() => document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
        console.error(`policy: ${violatedDirective} ${blockedURI}`);
    }));
    return page;
}

/** Waits until the page says that it is connected, or that there is nothing to follow. */
export const settled = (page) => page.locator('.connection[data-state="live"], .connection[data-state="ended"]').waitFor();
