import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { inBrowser, settled, tab } from './browser.js';
import { PICTURES } from './server.js';
import { seeded, views } from './views.js';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const HEIGHT = 900;

/** What bars somebody from a page, and whether it is wider than its window. */
async function barriers(page, axe) {
    // By the debugger, which the policy of the page does not bind.
    await page.evaluate(axe);
    const { violations } = await page.evaluate((values) => window.axe.run(document, { runOnly: { type: 'tag', values }, resultTypes: ['violations'] }), RULES);
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ''}`).join(' ; ')}`);
    const isWide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
    return isWide ? [...found, 'wider than the window'] : found;
}

for (const theme of ['light', 'dark']) {
    inBrowser(`each deep link renders without a fault, bars nobody, and has its picture taken (${theme})`, async () => {
        const { server, ids } = await seeded();
        const axe = await readFile(AXE, 'utf8');
        await mkdir(PICTURES, { recursive: true });
        const page = await tab(server.base, { theme });
        const found = [];
        for (const [name, link, sight] of views(ids)) {
            // A link to what is not there is answered with 404, which the browser writes into its console.
            page.expected = name === 'missing' ? / 404 / : null;
            await page.goto(link);
            await page.locator(sight).first().waitFor().catch(() => assert.fail(`${name}: ${link} does not show ${sight}`));
            await settled(page);
            const look = async (width, isScanned, isPictured) => {
                await page.setViewportSize({ width, height: HEIGHT });
                if (isPictured) await page.screenshot({ path: join(PICTURES, `${name}-${theme}-${width}.png`) });
                if (isScanned) found.push(...(await barriers(page, axe)).map((fault) => `${name} at ${width}: ${fault}`));
            };
            await look(400, false, true);
            // The width of a window at 400 %. What differs there is not its colours.
            if (theme === 'light') await look(320, true, false);
            await look(1440, true, true);
            found.push(...page.faults.splice(0).map((fault) => `${name}: ${fault}`));
        }
        assert.deepEqual(found, []);
    });
}

inBrowser('hostile texts stay texts in every view', async () => {
    const { server, ids } = await seeded();
    const page = await tab(server.base);
    const links = ['graph', 'timeline', 'steps', 'journal'].map((view) => `/?execution=${ids.hostile}&view=${view}&step=broken`);
    for (const link of ['/', '/?view=approvals', '/?view=metrics', ...links]) {
        await page.goto(link);
        await page.getByText('onerror=').first().waitFor();
        await settled(page);
        const found = await page.evaluate(() => ({
            title: document.title === 'broken', images: [...document.images].filter(({ src }) => !src.endsWith('icon.svg')).length, scripts: document.scripts.length,
            isWide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
        }));
        assert.deepEqual(found, { title: false, images: 0, scripts: 1, isWide: false }, link);
    }
});

inBrowser('filter and selection are in the address, and Back restores them', async () => {
    const { server } = await seeded();
    const page = await tab(server.base);
    await page.goto('/');
    await page.getByLabel('Status').selectOption('failed');
    await page.locator('table.executions [data-status="failed"]').first().waitFor();
    assert.match(page.url(), /\?status=failed$/);
    await page.locator('table.executions tbody a').first().click();
    await page.locator('.o8-graph').waitFor();
    await page.keyboard.press('3');
    await page.locator('table.steps tbody a').first().click();
    await page.locator('.panel-body .status').waitFor();
    const before = page.url();
    await page.reload();
    await page.locator('.panel-body .status').waitFor();
    assert.equal(page.url(), before);
    for (let back = 0; back < 3; back += 1) await page.goBack();
    await page.locator('table.executions [data-status="failed"]').first().waitFor();
    assert.equal(await page.getByLabel('Status').inputValue(), 'failed');
});
