import assert from 'node:assert/strict';
import { inBrowser, tab } from './browser.js';
import { Server, isOver } from './server.js';
import { many } from './workflows.js';

const ITEMS = 240;
/** What a page asks for while there is no server fails, as it should. */
const AWAY = /ERR_(CONNECTION_REFUSED|CONNECTION_RESET|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE)| 503 /;

inBrowser('no event is missing or doubled after the server was killed midway', async () => {
    const server = await Server.start();
    const list = await tab(server.base, { expected: AWAY });
    const resumedAt = [];
    list.on('request', (request) => request.url().endsWith('/v1/events') && resumedAt.push(request.headers()['last-event-id']));
    // Whether it has an event to go on behind.
    await list.addInitScript(() => {
        const { decode } = TextDecoder.prototype;
        TextDecoder.prototype.decode = function (...pieces) {
            const text = decode.apply(this, pieces);
            window.hasHeard ||= /^id:/m.test(text);
            return text;
        };
    });
    await list.goto('/');
    await list.locator('.connection[data-state="live"]').waitFor();
    const id = await server.execute(many(ITEMS, 400), { reviews: Array.from({ length: ITEMS }, (_, index) => index) });
    const page = await tab(server.base, { expected: AWAY });
    await page.goto(`/?execution=${id}&view=journal`);
    // Each row that is ever drawn, by its sequence: what the page shows, rather than what it was sent.
    await page.evaluate(() => {
        window.rows = new Map();
        const note = () => {
            for (const row of document.querySelectorAll('table.journal tbody tr[data-level]')) {
                window.rows.set(row.cells[0].textContent, [...row.cells].slice(3).map(({ textContent }) => textContent).join(' | '));
            }
        };
        new MutationObserver(note).observe(document.querySelector('table.journal tbody'), { childList: true });
        note();
    });
    await page.locator('.connection[data-state="live"]').waitFor();
    await list.waitForFunction(() => window.hasHeard);
    await server.until(id, ({ progress }) => progress.completed >= 40);
    await server.kill();
    await page.locator('.connection[data-state="reconnecting"], .connection[data-state="polling"]').waitFor();
    await server.up();
    await page.locator('.connection[data-state="live"]').waitFor();
    await server.until(id, isOver);
    await page.locator('.head .status[data-status="completed"]').waitFor();
    const entries = await server.journal(id);
    assert.ok(entries.some(({ type }) => type === 'execution.recovered'), 'it was killed in the middle');
    await page.locator('.bar .dim', { hasText: new Intl.NumberFormat('en').format(entries.length) }).waitFor();
    // From the first to the last, some at a time; each stretch is waited for.
    for (let index = 0; index < entries.length; index += 10) {
        await page.evaluate((row) => {
            document.querySelector('.scroller:has(table.journal)').scrollTop = row * 28;
        }, index);
        await page.locator(`table.journal tbody tr[data-level][aria-rowindex="${index + 2}"]`).waitFor({ state: 'attached' });
        await page.waitForFunction(() => !document.querySelector('table.journal tbody tr[aria-rowindex]:not([data-level])'));
    }
    const shown = await page.evaluate(() => [...window.rows].map(([sequence, text]) => [Number(sequence), text]).sort((a, b) => a[0] - b[0]));
    const stored = entries.map(({ sequence, type, stepPath, message }) => [sequence, [type, stepPath ?? '', message].join(' | ')]);
    assert.deepEqual(shown, stored);
    // The list went on behind the last event that it had, and has the execution once.
    const row = list.locator(`tr:has(a[href$="${id}"])`);
    await row.locator('td .status[data-status="completed"]').waitFor();
    assert.equal(await row.count(), 1);
    assert.match(resumedAt.at(-1), /^\d+$/);
    const steps = await page.locator('.facts div', { hasText: 'Steps' }).textContent();
    assert.match(steps, new RegExp(`${ITEMS + 2} of ${ITEMS + 2}`));
});
