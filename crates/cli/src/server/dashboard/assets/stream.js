// Server-sent events by `fetch`, since an `EventSource` cannot send a token.

import { open } from './api.js';

const LONGEST_WAIT = 30000;
const POLL = 10000;
const FAILURES_BEFORE_POLLING = 3;
// The server sends a comment every 15 s; a connection silent for longer is dead.
const SILENCE = 40000;

/** Gives a function that takes pieces of text and gives the events that they complete: `{id, event, data}`. */
export function parser() {
    let rest = '';
    let event = { event: 'message', data: [] };
    return (text) => {
        const events = [];
        const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
        rest = lines.pop();
        for (const line of lines) {
            if (line === '') {
                if (event.data.length > 0) events.push({ ...event, data: event.data.join('\n') });
                event = { event: 'message', data: [] };
                continue;
            }
            const colon = line.indexOf(':');
            if (colon === 0) continue;
            const field = colon < 0 ? line : line.slice(0, colon);
            const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
            if (field === 'data') event.data.push(value);
            else if (field === 'event') event.event = value;
            else if (field === 'id') event.id = value;
        }
        return events;
    };
}

/** How long to wait after so many failures in a row: 1 s · 2^n, at most 30 s. */
export const delay = (failures) => Math.min(LONGEST_WAIT, 1000 * 2 ** Math.max(0, failures - 1));

/**
 * A stream that comes back. `onState` hears `connecting`, `live`, `reconnecting`, `polling` and `ended`; `onPoll` is called every ten
 * seconds while there is no stream.
 */
export class Stream {
    #path;
    #to;
    #lastId;
    #closing = new AbortController();
    #poll = null;

    constructor(path, lastId, { onEvent, onState, onPoll }) {
        this.#path = path;
        this.#lastId = lastId;
        this.#to = { onEvent, onState, onPoll };
        this.#run();
    }

    close() {
        this.#closing.abort();
        this.#stopPolling();
    }

    async #run() {
        let failures = 0;
        this.#to.onState('connecting');
        while (!this.#closing.signal.aborted) {
            try {
                const isOver = await this.#read(() => {
                    failures = 0;
                });
                if (isOver) {
                    this.#stopPolling();
                    return this.#to.onState('ended');
                }
                failures = Math.max(failures, 1);
            } catch (error) {
                if (this.#closing.signal.aborted || error.status === 401) return undefined;
                if (error.status === 404 || error.status === 405) {
                    // There is no such stream, now or later.
                    return this.#startPolling();
                }
                failures += 1;
            }
            if (this.#closing.signal.aborted) return undefined;
            if (failures >= FAILURES_BEFORE_POLLING) this.#startPolling();
            else this.#to.onState('reconnecting');
            await this.#pause(delay(failures));
        }
        return undefined;
    }

    /** Reads until the connection ends; says whether that was the end for good. */
    async #read(connected) {
        const connection = new AbortController();
        const stop = () => connection.abort();
        this.#closing.signal.addEventListener('abort', stop);
        let silence = setTimeout(stop, SILENCE);
        try {
            const headers = { Accept: 'text/event-stream' };
            if (this.#lastId !== undefined && this.#lastId !== null) headers['Last-Event-ID'] = String(this.#lastId);
            const response = await open(this.#path, { headers, signal: connection.signal });
            if (response.status === 204) return true;
            connected();
            this.#stopPolling();
            this.#to.onState('live');
            const take = parser();
            const decoder = new TextDecoder();
            const reader = response.body.getReader();
            for (;;) {
                const { done, value } = await reader.read();
                if (done) return false;
                clearTimeout(silence);
                silence = setTimeout(stop, SILENCE);
                for (const event of take(decoder.decode(value, { stream: true }))) {
                    if (event.event === 'end') return true;
                    if (event.event === 'shutdown') return false;
                    if (event.id !== undefined) this.#lastId = event.id;
                    this.#to.onEvent(event);
                }
            }
        } finally {
            clearTimeout(silence);
            this.#closing.signal.removeEventListener('abort', stop);
            connection.abort();
        }
    }

    #pause(ms) {
        return new Promise((resume) => {
            const timer = setTimeout(resume, ms);
            this.#closing.signal.addEventListener('abort', () => {
                clearTimeout(timer);
                resume();
            }, { once: true });
        });
    }

    #startPolling() {
        this.#to.onState('polling');
        if (this.#poll !== null) return;
        this.#to.onPoll();
        this.#poll = setInterval(() => this.#to.onPoll(), POLL);
    }

    #stopPolling() {
        clearInterval(this.#poll);
        this.#poll = null;
    }
}
