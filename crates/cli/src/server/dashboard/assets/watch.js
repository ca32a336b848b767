// One execution as it is now: read once, then followed.

import { Cached, execution, get, query } from './api.js';
import { addSteps, apply, applyProgress, fromSnapshot } from './fold.js';
import { atMostEvery } from './frame.js';
import { isTerminal } from './status.js';
import { Stream } from './stream.js';

const STEPS_AT_ONCE = 1000;
const EVENTS_KEPT = 1000;
const LEAST_BETWEEN_SNAPSHOTS = 1000;

export class Watch {
    /** The fold of a snapshot and the events after it; null until there is a first snapshot. */
    state = null;
    /** The newest events, at most a thousand. */
    recent = [];
    #id;
    #to;
    #stream = null;
    #snapshot = new Cached();
    #held = null;
    #isClosed = false;
    #refresh;

    /** `onChange` hears of each change, `onEntry` of each entry of the journal, `onProgress` of how far steps have come, `onState` of the connection, `onError` of failure. */
    constructor(id, to) {
        this.#id = id;
        this.#to = to;
        this.#refresh = atMostEvery(LEAST_BETWEEN_SNAPSHOTS, () => this.#readAgain());
    }

    async start() {
        const body = await this.#snapshot.get(execution(this.#id));
        if (this.#isClosed) return;
        this.state = fromSnapshot(body);
        this.#to.onChange();
        if (isTerminal(body.status)) this.#to.onState('ended');
        else this.#follow();
        await this.#readSteps(body);
    }

    /** Reads the snapshot again, as after an action or a conflict, and follows again if there is something to follow. */
    async reload() {
        await this.#readAgain();
        if (this.#isClosed || !this.state || isTerminal(this.state.execution.status)) return;
        this.#stream?.close();
        this.#follow();
    }

    close() {
        this.#isClosed = true;
        this.#refresh.stop();
        this.#stream?.close();
    }

    #follow() {
        const after = this.state.sequence;
        this.#stream = new Stream(execution(this.#id, 'events'), after, {
            onEvent: (event) => this.#take(event),
            onState: (state) => this.#to.onState(state),
            onPoll: () => this.#catchUp(),
        });
    }

    #take({ event, data }) {
        if (event === 'events.dropped') {
            this.#catchUp();
            return;
        }
        const entry = JSON.parse(data);
        if (event === 'step.progress' || event === 'model.delta') {
            applyProgress(this.state, entry);
            this.#to.onProgress(entry);
            return;
        }
        if (entry.sequence === undefined) return;
        // What comes while the journal is read waits, lest it be taken for news before what came earlier.
        if (this.#held) this.#held.push(entry);
        else this.#accept(entry);
    }

    #accept(entry) {
        if (!apply(this.state, { ...entry, data: entry.data ?? {} })) return;
        this.recent.push(entry);
        if (this.recent.length > EVENTS_KEPT) this.recent.splice(0, this.recent.length - EVENTS_KEPT);
        this.#to.onEntry(entry);
        this.#to.onChange();
        if (this.state.isStale) this.#refresh();
    }

    /** Reads what the journal has beyond the last sequence. */
    async #catchUp() {
        if (this.#held || this.#isClosed) return;
        this.#held = [];
        try {
            for (let more = true; more && !this.#isClosed; ) {
                const page = await get(execution(this.#id, 'journal') + query({ since: this.state.sequence + 1, limit: 1000 }));
                page.entries.forEach((entry) => this.#accept(entry));
                more = page.pagination.hasMore;
            }
        } catch {
            // The connection says so already; the next poll asks again.
        }
        const held = this.#held;
        this.#held = null;
        held.forEach((entry) => this.#accept(entry));
    }

    async #readAgain() {
        try {
            const body = await this.#snapshot.get(execution(this.#id));
            if (this.#isClosed || !body) {
                if (this.state) this.state.isStale = false;
                return;
            }
            this.#rebase(body);
        } catch (error) {
            if (!this.#isClosed) this.#to.onError(error);
        }
    }

    /** Starts over from a newer snapshot, keeping what it does not tell; an older one than the events is asked for again. */
    #rebase(body) {
        const before = this.state;
        if (body.lastSequence < before.sequence) {
            this.#refresh();
            return;
        }
        const next = fromSnapshot(body);
        for (const [path, step] of before.steps) {
            const fresh = next.steps.get(path);
            if (!fresh) next.steps.set(path, step);
            else Object.assign(fresh, { history: step.history, readyAt: step.readyAt, live: step.live });
        }
        next.stepsVersion = before.stepsVersion + 1;
        this.state = next;
        this.#to.onChange();
        this.#catchUpTo(before.sequence, body);
    }

    /** A snapshot that is ahead of the events hides entries from whoever lists them: those are read from the journal. */
    async #catchUpTo(seen, body) {
        if (body.lastSequence <= seen) return;
        const page = await get(execution(this.#id, 'journal') + query({ since: seen + 1, limit: 1000 })).catch(() => ({ entries: [] }));
        if (this.#isClosed) return;
        for (const entry of page.entries.filter(({ sequence }) => sequence <= body.lastSequence)) {
            this.recent.push(entry);
            this.#to.onEntry(entry);
        }
        this.#to.onChange();
        if (isTerminal(body.status)) this.#to.onState('ended');
    }

    /** Reads the steps that the snapshot left out, a thousand at a time. */
    async #readSteps(body) {
        if (!body.stepsTruncated) return;
        let cursor;
        do {
            const page = await get(execution(this.#id, 'steps') + query({ limit: STEPS_AT_ONCE, cursor }));
            if (this.#isClosed) return;
            addSteps(this.state, page.steps);
            this.#to.onChange();
            cursor = page.nextCursor;
        } while (cursor);
    }
}
