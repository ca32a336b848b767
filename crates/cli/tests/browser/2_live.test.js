import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { inBrowser, tab } from './browser.js';
import { Server, isOver } from './server.js';
import { failing, three } from './workflows.js';

let server;
before(async () => {
    server = await Server.start();
});
after(() => server.stop());

for (const [workflow, end] of [[three(3000), 'completed'], [failing(4000), 'failed']]) {
    inBrowser(`a live execution goes from running to ${end} without reload`, async () => {
        const id = await server.execute(workflow);
        const page = await tab(server.base);
        let loads = 0;
        page.on('load', () => {
            loads += 1;
        });
        await page.goto(`/?execution=${id}`);
        await page.locator('.head [data-status="running"]').first().waitFor();
        await page.locator('.o8-graph [data-status="running"]').first().waitFor();
        await page.locator(`.head .status [data-status="${end}"]`).waitFor({ timeout: 20_000 });
        await page.locator(`.o8-graph [data-path="${end === 'failed' ? 'upload' : 'report'}"][data-status="${end}"]`).waitFor();
        assert.equal(await page.locator('#announcer').textContent(), `The execution is ${end}`);
        assert.equal(loads, 1);
        assert.deepEqual(page.faults, []);
    });
}

inBrowser('the list shows a new execution and its end', async () => {
    const page = await tab(server.base);
    await page.goto('/');
    await page.locator('.connection[data-state="live"]').waitFor();
    const id = await server.execute(three(1500));
    const row = page.locator(`tr:has(a[href$="${id}"])`);
    await row.locator('[data-status="running"]').first().waitFor();
    await row.locator('td .status[data-status="completed"]').waitFor();
    assert.deepEqual(page.faults, []);
});

inBrowser('pause, resume and cancel do what they say, and cancel asks', async () => {
    const id = await server.execute(three(2500));
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

inBrowser('a fork from a step says what it reuses, and leads to the new execution', async () => {
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
    assert.deepEqual(page.faults, []);
});
