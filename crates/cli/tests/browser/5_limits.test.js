import assert from 'node:assert/strict';
import { inBrowser, tab } from './browser.js';
import { Server, isOver, lazy } from './server.js';
import { many } from './workflows.js';

/** Ten thousand is the limit; a server that was not built to be quick gets fewer. */
const ITEMS = Number(process.env.ORCHESTR8_BROWSER_STEPS ?? 10_000);
const NUMBER = new Intl.NumberFormat('en');
const LIVE_ITEMS = ITEMS / 5;
const MOST_ROWS = 200;
const MOST_NODES = 500;
/** How many times as long as on a quiet machine things may take: threads that share a core count more time, too. */
const SLACK = Number(process.env.ORCHESTR8_BROWSER_SLACK ?? 1);
const LONGEST_TASK = 100 * SLACK;
const MOST_MEMORY = 150e6;
const FIRST_VIEW = 2000 * SLACK;
const LIST = 50 * SLACK;
const PATIENCE = 180_000;
const DRAWINGS = 30;

const large = lazy(async () => {
    const server = await Server.start();
    const id = await server.execute(many(ITEMS), { reviews: Array.from({ length: ITEMS }, (_, index) => index) });
    await server.until(id, isOver);
    return { server, id };
});

/** Opens a view with an eye on its tasks, the rows in the document, and when the first was there. */
async function watched({ server, link, sight }) {
    const page = await tab(server.base);
    // A server that is not built to be quick reads all of a journal for each page of it.
    page.setDefaultTimeout(PATIENCE);
    await page.addInitScript((first) => {
        window.most = 0;
        const look = () => {
            if (!window.firstAt && document.querySelector(first)) window.firstAt = performance.now();
            window.most = Math.max(window.most, document.querySelectorAll('tbody tr').length);
            requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
    }, sight);
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
        // How long the page waited for its server, which is not built to be quick here, is not the page's doing.
        let [waited, until] = [0, 0];
        const asked = performance.getEntries().filter(({ entryType }) => entryType === 'navigation' || entryType === 'resource');
        for (const { requestStart, responseEnd } of asked.sort((a, b) => a.requestStart - b.requestStart)) {
            const end = Math.min(responseEnd || window.firstAt, window.firstAt);
            waited += Math.max(0, end - Math.max(requestStart, until));
            until = Math.max(until, end);
        }
        return {
            rows: window.most, first: Math.round(window.firstAt - waited), server: Math.round(waited),
            memory: performance.memory.usedJSHeapSize, nodes: document.querySelectorAll('.o8-graph [data-path]').length,
        };
    });
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
    console.log(`${name}: longest task ${found.longest} ms, ${found.rows} rows, first view ${found.first} ms and ${found.server} ms of the server, ${(found.memory / 1e6).toFixed(1)} MB`);
    assert.ok(found.longest <= LONGEST_TASK, `a task of ${found.longest} ms`);
    assert.ok(found.rows <= MOST_ROWS, `${found.rows} rows`);
    assert.ok(found.first < FIRST_VIEW, `the first view after ${found.first} ms`);
    assert.ok(found.memory < MOST_MEMORY, `${found.memory} bytes`);
    assert.ok(found.nodes <= MOST_NODES, `${found.nodes} nodes`);
}

for (const [view, sight] of [['steps', 'table.steps tbody th a'], ['timeline', 'table.timeline tbody th a'], ['journal', 'table.journal tbody tr[data-level]']]) {
    inBrowser(`${view} of ${NUMBER.format(ITEMS)} steps`, async () => {
        const { server, id } = await large();
        const page = await watched({ server, link: `/?execution=${id}&view=${view}`, sight });
        if (view === 'steps') await page.locator('.bar .dim', { hasText: new RegExp(`^${NUMBER.format(ITEMS + 2)}$`) }).waitFor();
        await scrollThrough(page);
        holds(view, await figures(page));
    });
}

inBrowser(`the graph of ${NUMBER.format(ITEMS)} steps, and their visits`, async () => {
    const { server, id } = await large();
    const page = await watched({ server, link: `/?execution=${id}&step=reviews%5B17%5D.score`, sight: '.visits .strip a' });
    assert.ok(await page.locator('.strip a').count() <= 100);
    holds('graph', await figures(page));
});

inBrowser('a hundred events a second and more', async () => {
    const { server } = await large();
    const live = await server.execute(many(LIVE_ITEMS), { reviews: Array.from({ length: LIVE_ITEMS }, (_, index) => index) });
    const page = await watched({ server, link: `/?execution=${live}&view=journal`, sight: 'table.journal tbody tr[data-level]' });
    await page.locator('.head .status[data-status="completed"]').waitFor();
    const entries = await server.journal(live);
    const seconds = (Date.parse(entries.at(-1).timestamp) - Date.parse(entries[0].timestamp)) / 1000;
    console.log(`live: ${Math.round(entries.length / seconds)} events a second`);
    assert.ok(entries.length / seconds > 100);
    holds('live', await figures(page));
});

inBrowser('a list of a hundred executions is drawn in less than 50 ms', async () => {
    const small = { version: '1.0.0', metadata: { id: 'one', name: 'One' }, steps: [{ id: 'only', agent: { id: '@orchestr8/noop' }, input: {} }] };
    const other = await Server.start();
    const ids = await Promise.all(Array.from({ length: 110 }, () => other.execute(small)));
    await Promise.all(ids.map((one) => other.until(one, isOver)));
    const page = await tab(other.base);
    await page.goto('/');
    await page.locator('table.executions tbody th a').first().waitFor();
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
    const drawing = new Set(['ScriptDuration', 'RecalcStyleDuration', 'LayoutDuration']);
    const busy = async () => (await devtools.send('Performance.getMetrics')).metrics.reduce((sum, { name, value }) => sum + (drawing.has(name) ? value * 1000 : 0), 0);
    const before = await busy();
    // The list is drawn anew where it is scrolled to.
    const rows = await page.evaluate(async (drawings) => {
        const scroller = document.querySelector('.scroller');
        let drawn = 0;
        for (let part = 0; part < drawings; part += 1) {
            scroller.scrollTop = part % 2 === 0 ? 3000 : 0;
            await new Promise((go) => requestAnimationFrame(() => setTimeout(go)));
            drawn += document.querySelectorAll('tbody tr[aria-rowindex]').length;
        }
        return drawn;
    }, DRAWINGS);
    // Of a hundred rows those in sight and a margin are in the document.
    const took = ((await busy()) - before) / DRAWINGS;
    console.log(`a list of 100 rows: ${took.toFixed(1)} ms for the ${rows / DRAWINGS} that are drawn, ${((100 * DRAWINGS * took) / rows).toFixed(1)} ms were they all`);
    assert.ok(took < LIST, `${took} ms`);
});
