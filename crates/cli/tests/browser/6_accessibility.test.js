import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before } from 'node:test';
import { inBrowser, settled, tab } from './browser.js';
import { Server } from './server.js';
import { seed, views } from './views.js';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

let server;
let ids;
before(async () => {
    server = await Server.start();
    ids = await seed(server);
});
after(() => server.stop());

for (const theme of ['light', 'dark']) {
    inBrowser(`no view is barred to anybody (${theme})`, async () => {
        const axe = await readFile(AXE, 'utf8');
        const found = [];
        // What differs at 320 pixels, the width of a window at 400 %, is not its colours.
        for (const width of theme === 'light' ? [1440, 320] : [1440]) {
            const page = await tab(server.base, { theme, width });
            for (const [name, link, sight] of views(ids)) {
                await page.goto(link);
                await page.locator(sight).first().waitFor({ state: width === 320 ? 'attached' : 'visible' });
                await settled(page);
                // By the debugger, which the policy of the page does not bind.
                await page.evaluate(axe);
                const { violations } = await page.evaluate((values) => window.axe.run(document, { runOnly: { type: 'tag', values } }), RULES);
                for (const { id, nodes } of violations) found.push(`${name} at ${width}: ${id}: ${nodes.slice(0, 3).map(({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ''}`).join(' ; ')}`);
                const isWide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
                if (isWide) found.push(`${name} at ${width}: wider than the window`);
            }
            await page.context().close();
        }
        assert.deepEqual(found, []);
    });
}
