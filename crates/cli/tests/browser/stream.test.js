import assert from 'node:assert/strict';
import { test } from 'node:test';
import { delay, parser } from '../../src/server/dashboard/assets/stream.js';

const TEXT = ': hello\n\nretry: 1000\n\nid: 17\nevent: step.completed\ndata: {"a":1}\n\ndata: two\r\ndata:lines\r\n\r\nevent: nothing\n\nid:18\ndata\n\nid: 19\ndata: half';

const EVENTS = [
    { event: 'step.completed', id: '17', data: '{"a":1}' },
    { event: 'message', data: 'two\nlines' },
    { event: 'message', id: '18', data: '' },
];

test('a stream is read the same however it is cut', () => {
    for (let size = 1; size <= TEXT.length; size += 1) {
        const take = parser();
        const events = [];
        for (let at = 0; at < TEXT.length; at += size) events.push(...take(TEXT.slice(at, at + size)));
        assert.deepEqual(events, EVENTS, `in pieces of ${size}`);
    }
});

test('the wait doubles and ends at half a minute', () => {
    assert.deepEqual([1, 2, 3, 4, 5, 6, 60].map(delay), [1000, 2000, 4000, 8000, 16000, 30000, 30000]);
});
