// Every view of a seeded server, by its deep link.

import { Server, isOver, lazy } from './server.js';
import { approval, compensated, failing, fifty, hostile, many, nested, three, waiting } from './workflows.js';

/** A server with executions of every kind, and their ids. */
export const seeded = lazy(async () => {
    const server = await Server.start();
    return { server, ids: await seed(server) };
});

async function seed(server) {
    const ids = {
        three: await server.execute(three(20), { topic: 'tides' }),
        failing: await server.execute(failing(20)),
        fifty: await server.execute(fifty()),
        nested: await server.execute(nested()),
        compensated: await server.execute(compensated()),
        many: await server.execute(many(250), { reviews: Array.from({ length: 250 }, (_, index) => index) }),
    };
    await Promise.all(Object.values(ids).map((id) => server.until(id, isOver)));
    Object.assign(ids, { approval: await server.execute(approval()), waiting: await server.execute(waiting()), hostile: await server.execute(hostile()) });
    await server.until(ids.hostile, ({ steps }) => steps.find(({ stepId }) => stepId === 'ask').status === 'waiting');
    return ids;
}

/** `[name, link, what must be in sight]`. */
export function views(ids) {
    const at = (id, rest = '') => `/?execution=${id}${rest}`;
    return [
        ['executions', '/', 'table.executions tbody th a'],
        ['executions-filtered', '/?status=failed', 'table.executions tbody [data-status="failed"]'],
        ['executions-none', '/?status=paused', '.empty h2'],
        ['three-graph', at(ids.three), '.o8-graph [data-path="report"]'],
        ['fifty-graph', at(ids.fifty, '&view=graph'), '.o8-graph [data-path="link-3"]'],
        ['nested-graph', at(ids.nested), '.o8-graph [data-path="chapters.write"]'],
        ['nested-closed', at(ids.nested, '&open=chapters'), '.o8-graph .closed[data-path="polish"]'],
        // The picture in README.md.
        ['nested-step', at(ids.nested, '&step=chapters%5B%22end%22%5D.proof'), '.panel .why li'],
        ['visits', at(ids.many, '&step=reviews%5B17%5D.score'), '.visits .strip a[aria-current]'],
        ['timeline', at(ids.nested, '&view=timeline'), 'table.timeline tr.critical'],
        ['retries-timeline', at(ids.failing, '&view=timeline'), 'table.timeline .piece.failed'],
        ['steps', at(ids.fifty, '&view=steps&status=failed'), 'table.steps tbody [data-status="failed"]'],
        ['step', at(ids.failing, '&view=steps&step=upload'), '.panel .why li'],
        ['compensated', at(ids.compensated, '&view=steps&step=reserve'), '.panel .facts'],
        ['journal', at(ids.failing, '&view=journal'), 'table.journal tbody [data-level="error"]'],
        ['journal-filtered', at(ids.failing, '&view=journal&level=error&within=upload'), 'table.journal tbody [data-level="error"]'],
        ['waiting', at(ids.waiting, '&view=timeline'), 'table.timeline .piece.backoff'],
        ['hostile', at(ids.hostile, '&view=steps&step=markup'), '.panel .facts'],
        ['hostile-failure', at(ids.hostile, '&view=journal&step=broken'), '.panel .failure'],
        ['approvals', '/?view=approvals', '.approval form select'],
        ['metrics', '/?view=metrics', '.metrics .figures'],
        ['missing', at('00000000-0000-7000-8000-000000000000'), '.empty h1'],
    ];
}
