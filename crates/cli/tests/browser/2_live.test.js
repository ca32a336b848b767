import assert from 'node:assert/strict';
import { inBrowser, tab } from './browser.js';
import { isOver, isWaiting, shared } from './server.js';
import { held, three } from './workflows.js';

for (const end of ['completed', 'failed']) {
    inBrowser(`a live execution goes from running to ${end} without reload`, async () => {
        const server = await shared();
        const id = await server.execute(held(end));
        const page = await tab(server.base);
        let loads = 0;
        page.on('load', () => {
            loads += 1;
        });
        await page.goto(`/?execution=${id}`);
        await page.locator('.head .status[data-status="running"]').waitFor();
        await page.locator('.o8-graph [data-path="gate"][data-status="running"]').waitFor();
        await page.locator('.o8-graph [data-path="gate.hold"][data-status="waiting"]').waitFor();
        await server.signal(id);
        await page.locator(`.head .status[data-status="${end}"]`).waitFor();
        await page.locator(`.o8-graph [data-path="report"][data-status="${end}"]`).waitFor();
        assert.equal(await page.locator('#announcer').textContent(), `The execution is ${end}`);
        assert.equal(loads, 1);
    });
}

inBrowser('the list shows a new execution and its end', async () => {
    const server = await shared();
    const page = await tab(server.base);
    await page.goto('/');
    await page.locator('.connection[data-state="live"]').waitFor();
    const id = await server.execute(held());
    const row = page.locator(`tr:has(a[href$="${id}"])`);
    await row.locator('td .status[data-status="running"]').waitFor();
    await server.signal(id);
    await row.locator('td .status[data-status="completed"]').waitFor();
});

inBrowser('the figures live from the stream', async () => {
    const server = await shared();
    const page = await tab(server.base);
    let asked = 0;
    page.on('request', (request) => {
        asked += Number(request.url().endsWith('/v1/stats'));
    });
    await page.goto('/?view=metrics');
    const total = page.locator('.figure', { hasText: 'Total' }).locator('strong');
    const before = Number(await total.textContent());
    const id = await server.execute(three());
    await server.until(id, isOver);
    await page.waitForFunction(([least]) => Number([...document.querySelectorAll('.figure')].find(({ textContent }) => textContent.startsWith('Total')).lastChild.textContent) >= least, [before + 1]);
    assert.equal(asked, 1);
});

inBrowser('pause, resume and cancel do what they say, and cancel asks', async () => {
    const server = await shared();
    const id = await server.execute(held());
    await server.until(id, isWaiting);
    const page = await tab(server.base);
    await page.goto(`/?execution=${id}`);
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.locator('.head .status[data-status="paused"]').waitFor();
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.locator('.head .status[data-status="running"]').waitFor();
    await page.getByRole('button', { name: 'Cancel…' }).click();
    await page.getByRole('button', { name: 'Let it run' }).click();
    assert.equal((await server.ask(`v1/executions/${id}`)).status, 'running');
    await page.getByRole('button', { name: 'Cancel…' }).click();
    await page.getByLabel('Reason').fill('a better idea');
    await page.getByRole('button', { name: 'Cancel the execution' }).click();
    await page.locator('.head .status[data-status="cancelled"]').waitFor();
    const entries = await server.journal(id);
    assert.equal(entries.find(({ type }) => type === 'execution.cancelling').data.reason, 'a better idea');
});

inBrowser('a signal is sent, and failed steps are retried', async () => {
    const server = await shared();
    const id = await server.execute(held('failed'));
    await server.until(id, isWaiting);
    const page = await tab(server.base);
    await page.goto(`/?execution=${id}`);
    await page.getByText('More', { exact: true }).click();
    await page.getByRole('button', { name: 'Signal…' }).click();
    await page.getByLabel('Payload, as JSON').fill('{"by": "hand"}');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.locator('.head .status[data-status="failed"]').waitFor();
    await page.getByRole('button', { name: 'Retry failed steps…' }).click();
    const dialog = page.getByRole('dialog');
    assert.match(await dialog.innerText(), /These run again, as far as they are reached: report\./);
    await dialog.getByRole('button', { name: 'Retry' }).click();
    await page.getByText(/^Goes on: \d+ results? kept, 1 step to run: report$/).waitFor();
    await page.locator('.head .status[data-status="failed"]').waitFor();
    const entries = await server.journal(id);
    assert.ok(entries.some(({ type }) => type === 'execution.reopened'));
});

inBrowser('a fork from a step says what it reuses, and leads to the new execution', async () => {
    const server = await shared();
    const id = await server.execute(three());
    await server.until(id, isOver);
    const page = await tab(server.base);
    await page.goto(`/?execution=${id}&step=summarize`);
    await page.getByRole('button', { name: 'Fork from here…' }).click();
    await page.getByRole('button', { name: 'Fork', exact: true }).click();
    const dialog = page.getByRole('dialog', { name: 'Forked' });
    assert.match(await dialog.innerText(), /^Forked\s+The new execution is \w+\. 1 result reused where the input is the same\.\s+Close$/);
    await dialog.getByRole('link').click();
    await page.locator('.facts', { hasText: 'Forked from' }).waitFor();
    assert.equal(await dialog.count(), 0);
    const fork = new URL(page.url()).searchParams.get('execution');
    assert.notEqual(fork, id);
    assert.equal((await server.until(fork, isOver)).forkedFrom.executionId, id);
});
