import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { inBrowser, settled, tab } from './browser.js';
import { Server } from './server.js';
import { seed, views } from './views.js';

let server;
let ids;
before(async () => {
    server = await Server.start();
    ids = await seed(server);
});
after(() => server.stop());

inBrowser('each deep link renders, and nothing is amiss', async () => {
    for (const [name, link, sight] of views(ids)) {
        const page = await tab(server.base);
        await page.goto(link);
        await page.locator(sight).first().waitFor({ timeout: 20_000 }).catch(() => assert.fail(`${name}: ${link} does not show ${sight}`));
        await settled(page);
        // A link to what is not there is answered with 404, which the browser writes into its console.
        const faults = page.faults.filter((fault) => name !== 'missing' || !fault.includes('404'));
        assert.deepEqual(faults, [], name);
        await page.context().close();
    }
});

inBrowser('hostile texts stay texts in every view', async () => {
    for (const link of ['/', '/?view=approvals', ...['graph', 'timeline', 'steps', 'journal'].map((view) => `/?execution=${ids.hostile}&view=${view}&step=broken`)]) {
        const page = await tab(server.base);
        await page.goto(link);
        await page.getByText('onerror=').first().waitFor();
        await settled(page);
        const found = await page.evaluate(() => ({
            title: document.title, images: [...document.images].filter(({ src }) => !src.endsWith('icon.svg')).length, scripts: document.scripts.length,
            widest: document.documentElement.scrollWidth <= document.documentElement.clientWidth,
        }));
        assert.notEqual(found.title, 'broken');
        assert.deepEqual({ images: found.images, scripts: found.scripts, widest: found.widest }, { images: 0, scripts: 1, widest: true }, link);
        assert.deepEqual(page.faults, []);
        await page.context().close();
    }
});

inBrowser('filter and selection are in the address, and Back restores them', async () => {
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
    assert.deepEqual(page.faults, []);
});
