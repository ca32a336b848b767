import assert from 'node:assert/strict';
import { inBrowser, tab } from './browser.js';
import { Server, lazy } from './server.js';
import { three } from './workflows.js';

const TOKEN = 'a-token-that-is-long-enough-for-the-server';

const guarded = lazy(async () => {
    const server = await Server.start({ token: TOKEN });
    await server.execute(three());
    return server;
});

inBrowser('without the token there is no data, with it there is', async () => {
    const server = await guarded();
    const page = await tab(server.base, { expected: / 401 / });
    await page.goto('/');
    await page.getByRole('textbox', { name: 'Token' }).fill('not-the-token-that-this-server-was-given');
    assert.equal(await page.locator('table.executions tbody a').count(), 0);
    await page.keyboard.press('Enter');
    await page.getByRole('textbox', { name: 'Token' }).fill(TOKEN);
    await page.keyboard.press('Enter');
    await page.locator('table.executions tbody a').first().waitFor();
    await page.locator('.connection[data-state="live"]').waitFor();
});

inBrowser('a token in the fragment leaves the address at once and goes nowhere but into headers', async () => {
    const server = await guarded();
    const page = await tab(server.base);
    const asked = [];
    page.on('request', (request) => asked.push(request.url()));
    await page.goto(`/#token=${TOKEN}`);
    await page.locator('table.executions tbody a').first().waitFor();
    assert.equal(new URL(page.url()).hash, '');
    assert.deepEqual(asked.filter((url) => new URL(url).search.includes(TOKEN)), []);
    assert.equal(await page.evaluate(() => Object.values(localStorage).join()), '');
    await page.reload();
    await page.locator('table.executions tbody a').first().waitFor();
});
