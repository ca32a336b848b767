import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addSteps, apply, applyProgress, fromSnapshot, recall } from '../../src/server/dashboard/assets/fold.js';

const snapshot = (lastSequence = 2) => ({
    executionId: 'x', status: 'running', startedAt: '2026-01-01T00:00:00.000Z', lastSequence,
    progress: { total: 2, completed: 0, failed: 0, skipped: 0, cancelled: 0, running: 0, percent: 0 },
    steps: ['a', 'b'].map((stepPath) => ({ stepId: stepPath, stepPath, visit: 0, name: stepPath, kind: 'agent', status: 'pending', attempts: 0 })),
});

let clock = 0;
const entry = (sequence, type, stepPath, data = {}, more = {}) => {
    clock += 1;
    return { sequence, type, stepPath, stepId: stepPath, data, timestamp: new Date(Date.UTC(2026, 0, 1) + clock * 100).toISOString(), ...more };
};

const story = () => [
    entry(3, 'step.scheduled', 'a', { kind: 'agent' }),
    entry(4, 'attempt.started', 'a', {}, { attempt: 1 }),
    entry(5, 'step.started', 'a', { kind: 'agent' }),
    entry(6, 'attempt.finished', 'a', { error: { code: 'NETWORK' } }, { attempt: 1 }),
    entry(7, 'retry.scheduled', 'a', { delayMs: 100 }, { attempt: 2 }),
    entry(8, 'attempt.started', 'a', {}, { attempt: 2 }),
    entry(9, 'attempt.finished', 'a', {}, { attempt: 2 }),
    entry(10, 'step.completed', 'a', { attempts: 2, duration: 400 }),
    entry(11, 'step.skipped', 'b', { skipReason: 'condition-not-met' }),
    entry(12, 'execution.completed', undefined, {}),
];

test('events change steps, counts and status', () => {
    const state = fromSnapshot(snapshot());
    const seen = story().map((one) => {
        apply(state, one);
        return state.steps.get('a').status;
    });
    assert.deepEqual(seen, ['pending', 'running', 'running', 'running', 'waiting', 'running', 'running', 'completed', 'completed', 'completed']);
    assert.deepEqual(state.execution.progress, { total: 2, completed: 1, failed: 0, skipped: 1, cancelled: 0, running: 0, percent: 100 });
    assert.equal(state.execution.status, 'completed');
    assert.equal(state.steps.get('a').attempts, 2);
    assert.equal(state.steps.get('b').skipReason, 'condition-not-met');
    assert.ok(state.isStale, 'outputs and usage are the server\'s to tell');
});

test('what the snapshot holds, or was seen, is ignored', () => {
    const once = fromSnapshot(snapshot());
    const events = story();
    events.forEach((one) => apply(once, one));
    const twice = fromSnapshot(snapshot());
    const news = [...events.slice(0, 5), ...events].filter((one) => apply(twice, one));
    assert.equal(news.length, events.length);
    assert.deepEqual(twice, once);
    assert.equal(apply(fromSnapshot(snapshot(12)), events[3]), false);
});

test('a page of steps that comes late does not undo events', () => {
    const state = fromSnapshot({ ...snapshot(), stepsTruncated: true });
    apply(state, entry(3, 'step.completed', 'late[7].x', { attempts: 1 }));
    addSteps(state, [{ stepPath: 'late[7].x', stepId: 'x', kind: 'agent', agentId: '@a/b', status: 'running' }, { stepPath: 'other', status: 'pending' }]);
    assert.equal(state.steps.get('late[7].x').status, 'completed');
    assert.equal(state.steps.get('late[7].x').agentId, '@a/b');
    assert.ok(state.steps.has('other'));
});

test('times are the same in whatever order they are told', () => {
    const events = story();
    const live = fromSnapshot(snapshot());
    events.forEach((one) => apply(live, one));
    const recalled = fromSnapshot(snapshot(12));
    recall(recalled, [...events].reverse());
    const times = (state) => state.steps.get('a').history.toSorted((a, b) => a.attempt - b.attempt);
    assert.deepEqual(times(recalled), times(live));
    assert.equal(recalled.steps.get('a').readyAt, live.steps.get('a').readyAt);
    assert.deepEqual(times(live).map(({ failed }) => Boolean(failed)), [true, false]);
});

test('a composite that opens asks for a new snapshot', () => {
    const state = fromSnapshot(snapshot());
    state.steps.get('a').kind = 'map';
    apply(state, entry(3, 'step.started', 'a', { kind: 'map' }));
    assert.ok(state.isStale);
});

test('progress is shown of the attempt that runs and goes with it', () => {
    const state = fromSnapshot(snapshot());
    const told = (type, attempt, data) => applyProgress(state, { type, stepPath: 'a', attempt, data });
    told('step.progress', 1, { message: 'too early' });
    assert.equal(state.steps.get('a').live, undefined);
    for (const one of story().slice(0, 3)) apply(state, one);
    told('step.progress', 1, { fraction: 0.5, message: 'half' });
    told('model.delta', 1, { text: 'Once ' });
    told('model.delta', 1, { text: 'upon' });
    assert.deepEqual(state.steps.get('a').live, { attempt: 1, text: 'Once upon', fraction: 0.5, message: 'half' });
    told('model.delta', 2, { text: 'x'.repeat(9000) });
    assert.equal(state.steps.get('a').live.message, undefined);
    assert.equal(state.steps.get('a').live.text.length, 4000);
    applyProgress(state, { type: 'step.progress', stepPath: 'nowhere', attempt: 1, data: {} });
    for (const one of story().slice(3)) apply(state, { ...one, sequence: one.sequence });
    assert.equal(state.steps.get('a').live, undefined);
    assert.equal(state.steps.get('a').status, 'completed');
});
