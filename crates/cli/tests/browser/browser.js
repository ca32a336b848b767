// A browser that remembers what went wrong in its pages. Without one, tests are skipped and say so, unless there must be one.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import { PICTURES, stopAll } from './server.js';

const PROGRAM = process.env.ORCHESTR8_CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--enable-precise-memory-info'];
/** How long a page may take over anything, on a machine that is busy. */
const PATIENCE = 60_000;

const isThere = existsSync(PROGRAM);
if (!isThere && process.env.ORCHESTR8_BROWSER === 'required') throw new Error(`there must be a browser at ${PROGRAM}`);

let browser = null;
let tabs = [];
after(async () => {
    await browser?.close();
    await stopAll();
});

/** A test that needs the browser. At its end no tab may have had a fault that it was not opened for. */
export function inBrowser(name, run) {
    test(name, { skip: isThere ? false : `skipped: no browser at ${PROGRAM}`, timeout: 300_000 }, async () => {
        browser ??= await chromium.launch({ executablePath: PROGRAM, args: FLAGS });
        try {
            await run();
            for (const { faults } of tabs) assert.deepEqual(faults, []);
            await Promise.all(tabs.map((page) => page.context().close()));
        } catch (error) {
            await mkdir(PICTURES, { recursive: true });
            await Promise.all(tabs.map((page, index) => page.screenshot({ path: join(PICTURES, `failed-${name.replaceAll(/\W+/g, '-')}-${index}.png`) }).catch(() => {})));
            // The next test begins with a browser of its own.
            await browser.close();
            browser = null;
            throw error;
        } finally {
            tabs = [];
        }
    });
}

/**
 * Opens a tab. Its faults are errors and warnings in the console but those that `expected` matches, violations of the policy, and
 * requests to elsewhere.
 */
export async function tab(base, { width = 1440, height = 900, theme = 'light', expected = null } = {}) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, baseURL: base });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    page.faults = [];
    page.expected = expected;
    page.on('console', (message) => {
        const text = `${message.type()}: ${message.text()} ${message.location().url}`;
        if (['error', 'warning'].includes(message.type()) && !page.expected?.test(text)) page.faults.push(text);
    });
    page.on('pageerror', (error) => page.faults.push(`exception: ${error.stack}`));
    page.on('request', (request) => {
        const url = new URL(request.url());
        if (url.origin !== new URL(base).origin && url.protocol !== 'blob:' && url.protocol !== 'data:') page.faults.push(`foreign request: ${request.url()}`);
    });
    await page.addInitScript(() => document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
        console.error(`policy: ${violatedDirective} ${blockedURI}`);
    }));
    tabs.push(page);
    return page;
}

/** Waits until the page says that it is connected, or that there is nothing to follow. */
export const settled = (page) => page.locator('.connection[data-state="live"], .connection[data-state="ended"]').waitFor();
