import assert from 'node:assert/strict';
import { inBrowser, tab } from './browser.js';
import { Server, isOver, isWaiting, lazy } from './server.js';
import { approval } from './workflows.js';

// Nothing else waits here.
const own = lazy(() => Server.start());

inBrowser('an approval is answered by keyboard alone, and another tab sees it leave', async () => {
    const server = await own();
    const id = await server.execute(approval(), { tag: 'v2.0.0' });
    await server.until(id, isWaiting);
    const [page, other] = [await tab(server.base), await tab(server.base)];
    await other.goto('/?view=approvals');
    await other.locator('.approval').waitFor();
    await other.locator('.connection[data-state="live"]').waitFor();
    await page.goto('/');
    await page.locator('table.executions tbody a').first().waitFor();

    await page.keyboard.press('g');
    await page.keyboard.press('a');
    await page.locator('.approval').waitFor();
    await page.keyboard.press('j');
    const focusedLabel = () => page.evaluate(() => document.activeElement.labels?.[0]?.textContent ?? document.activeElement.textContent);
    const tabTo = async (label) => {
        for (let presses = 0; presses < 20; presses += 1) {
            if ((await focusedLabel()).startsWith(label)) return;
            await page.keyboard.press('Tab');
        }
        assert.fail(`no way to ${label} by Tab`);
    };
    await tabTo('Channel');
    await page.keyboard.press('b');
    await tabTo('Share of users');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('25');
    await tabTo('Note');
    await page.keyboard.type('slowly');
    // Keys of the page are letters here.
    await page.keyboard.type(' g m');
    await tabTo('Announce it');
    await page.keyboard.press('Space');
    await tabTo('Approve');
    await page.keyboard.press('Enter');

    await page.locator('.empty h2').waitFor();
    await other.locator('.empty h2').waitFor();
    assert.equal(await other.locator('.approval').count(), 0);
    await server.until(id, isOver);
    const step = await server.ask(`v1/executions/${id}/steps/sign-off`);
    assert.deepEqual(step.output.answer, { channel: 'beta', share: 25, note: 'slowly g m', announce: true });
});

inBrowser('an answer that the schema refuses is told beside the form', async () => {
    const server = await own();
    const refused = approval();
    refused.steps[1].approval.schema = { type: 'object', anyOf: [{ required: ['a'] }, { required: ['b'] }] };
    const id = await server.execute(refused);
    await server.until(id, isWaiting);
    // A refusal is a 400, which the browser writes into its console.
    const page = await tab(server.base, { expected: / 400 / });
    await page.goto('/?view=approvals');
    await page.getByLabel('Answer, as JSON').fill('{"c": 1');
    await page.getByRole('button', { name: 'Approve' }).click();
    await page.getByRole('alert').filter({ hasText: 'no JSON' }).waitFor();
    await page.getByLabel('Answer, as JSON').fill('{"c": 1}');
    await page.getByRole('button', { name: 'Approve' }).click();
    await page.getByRole('alert').filter({ hasNotText: 'no JSON' }).waitFor();
    await page.getByLabel('Answer, as JSON').fill('{"b": 1}');
    await page.getByRole('button', { name: 'Approve' }).click();
    await page.locator('.empty h2').waitFor();
    await server.until(id, ({ status }) => status === 'completed');
});

inBrowser('a rejection asks first', async () => {
    const server = await own();
    const id = await server.execute(approval());
    await server.until(id, isWaiting);
    const page = await tab(server.base);
    await page.goto('/?view=approvals');
    await page.getByRole('button', { name: 'Reject…' }).click();
    await page.getByRole('button', { name: 'Back' }).click();
    assert.equal((await server.ask('v1/approvals')).approvals.length, 1);
    await page.getByRole('button', { name: 'Reject…' }).click();
    await page.getByRole('button', { name: 'Reject', exact: true }).click();
    await page.locator('.empty h2').waitFor();
    const { errors } = await server.until(id, isOver);
    assert.equal(errors[0].code, 'DENIED');
});
