import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerOf, describe } from '../../src/server/dashboard/assets/form.js';

const SCHEMA = {
    type: 'object', required: ['channel', 'share', 'hosts'],
    properties: {
        channel: { enum: ['stable', 2, null] },
        share: { type: 'integer', minimum: 1 },
        note: { type: ['string', 'null'], title: 'A note' },
        sure: { type: 'boolean' },
        hosts: { type: 'array', items: { type: 'string' } },
        ports: { type: 'array', items: { type: 'number' } },
        colours: { type: 'array', items: { enum: ['red', 'blue'] } },
        window: { type: 'object', properties: { from: { type: 'string', format: 'date' } } },
    },
};

test('a form asks for what a schema describes', () => {
    const form = describe(SCHEMA);
    assert.deepEqual(form.fields.map(({ key, kind, isRequired }) => [key, kind, isRequired]), [
        ['channel', 'choice', true], ['share', 'number', true], ['note', 'text', false], ['sure', 'check', false], ['hosts', 'lines', true],
        ['ports', 'lines', false], ['colours', 'choices', false], ['window', 'group', false],
    ]);
    assert.equal(form.fields[2].label, 'A note');
});

test('what was filled in becomes the answer, and what was not is left out', () => {
    const form = describe(SCHEMA);
    const empty = { channel: '1', share: '7', note: '', sure: false, hosts: '', ports: '', colours: [], window: { from: '' } };
    assert.deepEqual(answerOf(form, empty), { channel: 2, share: 7, sure: false, hosts: [] });
    const filled = { channel: '2', share: '0.5', note: 'x', sure: true, hosts: ' a \n\nb', ports: '80\n443', colours: ['1'], window: { from: '2026-01-01' } };
    assert.deepEqual(answerOf(form, filled), {
        channel: null, share: 0.5, note: 'x', sure: true, hosts: ['a', 'b'], ports: [80, 443], colours: ['blue'], window: { from: '2026-01-01' },
    });
});

test('what a form cannot ask is written as JSON', () => {
    const object = (x) => ({ type: 'object', properties: { x } });
    const table = [
        true, null, {}, { $ref: '#/a' }, { type: 'object' }, object({ oneOf: [] }), object({ type: ['string', 'integer'] }), { enum: [{}] },
        { type: 'object', required: ['hidden'], properties: {} }, object(object(object(object({ type: 'string' })))), { type: 'array', items: { type: 'object' } },
    ];
    for (const schema of table) assert.equal(describe(schema), null, JSON.stringify(schema));
});

test('a schema of one value asks for that', () => {
    assert.equal(answerOf(describe({ type: 'string' }), 'yes'), 'yes');
    assert.equal(answerOf(describe({ type: 'boolean' }), true), true);
    assert.equal(answerOf(describe({ const: 'only' }), '0'), 'only');
});
