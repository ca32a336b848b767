import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { inBrowser, settled, tab } from './browser.js';
import { PICTURES, Server } from './server.js';
import { seed, views } from './views.js';

let server;
let ids;
before(async () => {
    server = await Server.start();
    ids = await seed(server);
});
after(() => server.stop());

inBrowser('pictures of every view, for a person to look at', async () => {
    await mkdir(PICTURES, { recursive: true });
    for (const theme of ['light', 'dark']) {
        for (const width of [1440, 400]) {
            const page = await tab(server.base, { theme, width });
            for (const [name, link, sight] of views(ids)) {
                await page.goto(link);
                await page.locator(sight).first().waitFor({ state: 'attached' });
                await settled(page);
                await page.screenshot({ path: join(PICTURES, `${name}-${theme}-${width}.png`) });
            }
            await page.context().close();
        }
    }
});
