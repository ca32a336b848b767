import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { inBrowser, tab } from './browser.js';
import { Server, isOver } from './server.js';
import { many } from './workflows.js';

const ITEMS = 10_000;
const MOST_ROWS = 200;
const MOST_NODES = 500;
const LONGEST_TASK = 100;
const MOST_MEMORY = 150e6;
const FIRST_VIEW = 2000;

let server;
let id;
before(async () => {
    server = await Server.start();
    id = await server.execute(many(ITEMS), { reviews: Array.from({ length: ITEMS }, (_, index) => index) });
    await server.until(id, isOver);
});
after(() => server.stop());

/** Opens a view with an eye on its tasks, the rows in the document, and when the first was there. */
async function watched(link, sight) {
    const page = await tab(server.base);
    await page.addInitScript((first) => {
        window.most = 0;
        const look = () => {
            if (!window.firstAt && document.querySelector(first)) window.firstAt = performance.now();
            window.most = Math.max(window.most, document.querySelectorAll('tbody tr').length);
            requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
    }, sight);
    // A test that failed may have left its own.
    await page.context().browser().stopTracing().catch(() => {});
    await page.context().browser().startTracing(page, { categories: ['toplevel', '__metadata'] });
    await page.goto(link);
    await page.locator(sight).first().waitFor({ state: 'attached', timeout: 120_000 });
    return page;
}

const scrollThrough = (page) => page.evaluate(async () => {
    const scroller = document.querySelector('.scroller');
    for (let part = 0; part <= 40; part += 1) {
        scroller.scrollTop = (scroller.scrollHeight * part) / 40;
        await new Promise((go) => setTimeout(go, 25));
    }
});

/** What was measured since the page was opened, which closes it. */
async function figures(page) {
    const longest = longestTask(JSON.parse(await page.context().browser().stopTracing()));
    const found = await page.evaluate(() => {
        // How long the page waited for its server is not the page's doing.
        const answer = performance.getEntriesByType('resource').find(({ name }) => /executions\/[0-9a-f-]{36}$/.test(name));
        return {
            rows: window.most, first: Math.round(window.firstAt), server: Math.round(answer?.duration ?? 0),
            memory: performance.memory.usedJSHeapSize, nodes: document.querySelectorAll('.o8-graph [data-path]').length,
        };
    });
    await page.context().close();
    return { longest, ...found };
}

/** The longest task of a page's main thread in time of the processor, so that other work on the machine does not count. */
function longestTask({ traceEvents }) {
    const threads = new Set(traceEvents.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain').map(({ pid, tid }) => `${pid} ${tid}`));
    const tasks = traceEvents.filter(({ name, pid, tid, tdur }) => name.endsWith('RunTask') && tdur !== undefined && threads.has(`${pid} ${tid}`));
    assert.ok(tasks.length > 100, `${tasks.length} tasks were traced`);
    return Math.round(tasks.reduce((most, { tdur }) => Math.max(most, tdur), 0) / 1000);
}

function holds(name, found) {
    console.log(`${name}: longest task ${found.longest} ms, ${found.rows} rows, first view ${found.first - found.server} ms and ${found.server} ms of the server, ${(found.memory / 1e6).toFixed(1)} MB`);
    assert.ok(found.longest <= LONGEST_TASK, `a task of ${found.longest} ms`);
    assert.ok(found.rows <= MOST_ROWS, `${found.rows} rows`);
    assert.ok(found.first - found.server < FIRST_VIEW, `the first view after ${found.first - found.server} ms`);
    assert.ok(found.memory < MOST_MEMORY, `${found.memory} bytes`);
    assert.ok(found.nodes <= MOST_NODES, `${found.nodes} nodes`);
}

for (const [view, sight] of [['steps', 'table.steps tbody th a'], ['timeline', 'table.timeline tbody th a'], ['journal', 'table.journal tbody tr[data-level]']]) {
    inBrowser(`${view} of 10 000 steps`, async () => {
        const page = await watched(`/?execution=${id}&view=${view}`, sight);
        if (view === 'steps') await page.locator('.bar .dim', { hasText: /^10,002$/ }).waitFor({ timeout: 180_000 });
        await scrollThrough(page);
        holds(view, await figures(page));
    });
}

inBrowser('the graph of 10 000 steps, and their visits', async () => {
    const page = await watched(`/?execution=${id}&step=reviews%5B17%5D.score`, '.visits .strip a');
    assert.ok(await page.locator('.strip a').count() <= 100);
    holds('graph', await figures(page));
});

inBrowser('a hundred events a second and more', async () => {
    const live = await server.execute(many(400, 60), { reviews: Array.from({ length: 400 }, (_, index) => index) });
    const page = await watched(`/?execution=${live}&view=journal`, 'table.journal tbody tr[data-level]');
    await page.locator('.head .status[data-status="completed"]').waitFor({ timeout: 120_000 });
    const entries = await server.journal(live);
    const seconds = (Date.parse(entries.at(-1).timestamp) - Date.parse(entries[0].timestamp)) / 1000;
    console.log(`live: ${Math.round(entries.length / seconds)} events a second`);
    assert.ok(entries.length / seconds > 100);
    holds('live', await figures(page));
});

inBrowser('a hundred rows of executions are drawn in less than 50 ms', async () => {
    const small = { version: '1.0.0', metadata: { id: 'one', name: 'One' }, steps: [{ id: 'only', agent: { id: '@orchestr8/noop' }, input: {} }] };
    const other = await Server.start();
    const ids = await Promise.all(Array.from({ length: 110 }, () => other.execute(small)));
    for (const one of ids) await other.until(one, isOver);
    const page = await tab(other.base);
    await page.goto('/');
    await page.locator('table.executions tbody th a').first().waitFor();
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
    const drawing = new Set(['ScriptDuration', 'RecalcStyleDuration', 'LayoutDuration']);
    const busy = async () => (await devtools.send('Performance.getMetrics')).metrics.reduce((sum, { name, value }) => sum + (drawing.has(name) ? value * 1000 : 0), 0);
    const before = await busy();
    // The list is drawn anew where it is scrolled to.
    const rows = await page.evaluate(async () => {
        const scroller = document.querySelector('.scroller');
        let drawn = 0;
        for (let part = 0; part < 30; part += 1) {
            scroller.scrollTop = part % 2 === 0 ? 3000 : 0;
            await new Promise((go) => requestAnimationFrame(() => setTimeout(go)));
            drawn += document.querySelectorAll('tbody tr[aria-rowindex]').length;
        }
        return drawn;
    });
    const took = (100 * ((await busy()) - before)) / rows;
    console.log(`100 rows: ${took.toFixed(1)} ms`);
    assert.ok(took < 50, `${took} ms`);
    await other.stop();
});
