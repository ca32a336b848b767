import assert from 'node:assert/strict';
import { test } from 'node:test';
import { criticalPath } from '../../src/server/dashboard/assets/critical_path.js';
import { build, parse } from '../../src/server/dashboard/assets/route.js';
import { depthOf, placeOf, scopeOf, sortKey } from '../../src/server/dashboard/assets/step_path.js';

test('step paths have a place, a scope and a depth', () => {
    const table = [
        ['fetch', 'fetch', '', 0],
        ['reviews[3].score', 'reviews.score', 'reviews[3]', 1],
        [String.raw`reviews["a].\"b.md"].score`, 'reviews.score', String.raw`reviews["a].\"b.md"]`, 1],
        ['refine#2.critic', 'refine.critic', 'refine#2', 1],
        ['a[1].b#2.c', 'a.b.c', 'a[1].b#2', 2],
    ];
    for (const [path, place, scope, depth] of table) assert.deepEqual([placeOf(path), scopeOf(path), depthOf(path)], [place, scope, depth], path);
});

test('items are ordered as people count', () => {
    const inOrder = ['q', 'r', 'r.x', 'r[9].a', 'r[9].x', 'r[10].x', 'r-a', 'r-a02', 'r-a2', 'r-a10'];
    const keys = new Map(inOrder.map((path) => [sortKey(path), path]));
    assert.equal(keys.size, inOrder.length);
    assert.deepEqual([...keys.keys()].reverse().sort().map((key) => keys.get(key)), inOrder);
});

test('addresses and routes say the same', () => {
    const table = [
        ['./', { view: 'executions' }],
        ['?status=failed%2Crunning&search=ab', { view: 'executions', status: 'failed,running', search: 'ab' }],
        ['?view=approvals', { view: 'approvals' }],
        ['?execution=x', { view: 'execution', execution: 'x', tab: 'graph' }],
        ['?execution=x&view=steps&step=r%5B3%5D.x%23&sort=duration', { view: 'execution', execution: 'x', tab: 'steps', step: 'r[3].x#', sort: 'duration' }],
        ['?execution=x&view=journal&level=warn&within=a.b', { view: 'execution', execution: 'x', tab: 'journal', level: 'warn', within: 'a.b' }],
    ];
    for (const [address, route] of table) {
        assert.equal(build(route), address);
        assert.deepEqual(parse(address.replace('./', '')), route);
    }
    assert.deepEqual(parse('?execution=x&view=nonsense&a=b'), { view: 'execution', execution: 'x', tab: 'graph' });
    assert.deepEqual(parse('?view=nonsense&status=%00'), { view: 'executions', status: '\0' });
});

test('the critical path leads back over what ended last', () => {
    const at = (second) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
    const step = (stepPath, from, to, status = 'completed') => [stepPath, { stepPath, startedAt: at(from), completedAt: at(to), status }];
    const steps = new Map([
        step('quick', 0, 1), step('slow', 0, 5), step('late', 5, 6), step('aside', 0, 3), step('never', 6, 9, 'skipped'),
        step('again', 9, 12), step('again#0.x', 9, 10), step('again#1.x', 10, 11), step('again#1.y', 11, 12), step('again#1.z', 10, 11),
        step('each', 6, 9), step('each[0].x', 6, 7), step('each[1].x', 6, 8), step('each[1].y', 8, 9),
    ]);
    const edges = [{ from: 'quick', to: 'late' }, { from: 'slow', to: 'late' }, { from: 'late', to: 'each' }, { from: 'each.x', to: 'each.y' },
        { from: 'each', to: 'again' }, { from: 'again.x', to: 'again.y' }];
    assert.deepEqual([...criticalPath(steps, edges)].sort(), ['again', 'again#0.x', 'again#1.x', 'again#1.y', 'each', 'each[1].x', 'each[1].y', 'late', 'slow']);
});
