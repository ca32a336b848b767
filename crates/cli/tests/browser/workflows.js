// Workflows that a dashboard must show: small, wide and deep ones, failures, waits, and texts that would break a careless page.

const ECHO = { id: '@orchestr8/echo' };
const DELAY = { id: '@orchestr8/delay' };
const FLAKY = { id: '@orchestr8/flaky' };

export const HOSTILE = `<img src=x onerror="document.title='broken'"><script>document.title='broken'</script>`;
const RIGHT_TO_LEFT = 'שלום \u202eעולם مرحبا';
const LONG_WORD = 'incomprehensibilities'.repeat(11);

/** Three steps in a row, each taking `ms`. */
export const three = (ms = 0) => ({
    version: '1.0.0',
    metadata: { id: 'fetch-and-report', name: 'Fetch and report' },
    inputs: { type: 'object', properties: { topic: { type: 'string' } } },
    steps: [
        { id: 'fetch', name: 'Fetch the sources', agent: DELAY, input: { duration: ms, value: { pages: 12, topic: 'tides' } } },
        { id: 'summarize', agent: DELAY, dependencies: ['fetch'], input: { duration: ms, value: '${steps.fetch.output}' } },
        { id: 'report', agent: ECHO, dependencies: ['summarize'], input: { text: 'Done', of: '${steps.summarize.output}' } },
    ],
    outputs: { report: '${steps.report.output}' },
});

/** Runs until it gets the signal `go`, then ends well or not. */
export const held = (end = 'completed') => ({
    version: '1.0.0',
    metadata: { id: 'held', name: 'Held' },
    steps: [
        { id: 'fetch', agent: ECHO, input: { pages: 12 } },
        { id: 'gate', dependencies: ['fetch'], parallel: { steps: [{ id: 'hold', wait: { signal: 'go', timeout: '1h' } }] } },
        { id: 'report', dependencies: ['gate'], agent: end === 'completed' ? ECHO : { id: '@orchestr8/fail' }, input: end === 'completed' ? {} : { code: 'DENIED', message: 'The report is not wanted.' } },
    ],
});

/** A step that fails at the end, after others that went well. */
export const failing = (ms = 0) => ({
    version: '1.0.0',
    metadata: { id: 'import-orders', name: 'Import orders' },
    steps: [
        { id: 'read', agent: DELAY, input: { duration: ms, value: [1, 2, 3] } },
        {
            id: 'upload', agent: FLAKY, dependencies: ['read'], input: { failTimes: 9, code: 'NETWORK' },
            policies: { retry: { maxAttempts: 3, baseDelayMs: 120, maxDelayMs: 400 } },
        },
        { id: 'notify', agent: ECHO, dependencies: ['upload'], input: {} },
    ],
});

/** Fifty steps in layers, a few of which fail and are tolerated. */
export const fifty = () => ({
    version: '1.0.0',
    metadata: { id: 'nightly-build', name: 'Nightly build' },
    steps: Array.from({ length: 50 }, (_, index) => {
        const layer = Math.floor(index / 7);
        const id = `${['check', 'compile', 'link', 'test', 'pack', 'scan', 'sign', 'publish'][layer]}-${index % 7}`;
        const above = [index - 7, index - 7 + (index % 7 < 6 ? 1 : -3)].filter((other) => layer > 0 && other >= 0);
        const name = (other) => `${['check', 'compile', 'link', 'test', 'pack', 'scan', 'sign', 'publish'][Math.floor(other / 7)]}-${other % 7}`;
        const dependencies = [...new Set(above.map(name))];
        const flaky = index % 13 === 8;
        return {
            id, dependencies, agent: flaky ? FLAKY : DELAY, onError: 'continue',
            input: flaky ? { failTimes: index === 34 ? 5 : 1, code: 'RATE_LIMITED' } : { duration: 20 + (index * 37) % 160 },
            ...(flaky ? { policies: { retry: { maxAttempts: 2, baseDelayMs: 100, maxDelayMs: 100 } } } : {}),
        };
    }),
});

/** A step for each of `count` items. */
export const many = (count, ms = 0) => ({
    version: '1.0.0',
    metadata: { id: 'score-reviews', name: 'Score reviews' },
    inputs: { type: 'object', required: ['reviews'], properties: { reviews: { type: 'array', items: { type: 'integer' } } } },
    steps: [
        {
            id: 'reviews',
            map: {
                items: '${inputs.reviews}', concurrency: 50, onItemError: 'continue',
                steps: [{ id: 'score', agent: ms ? DELAY : ECHO, input: ms ? { duration: ms, value: '${item}' } : { review: '${item}' } }],
                output: '${steps.score.output}',
            },
        },
        { id: 'total', dependencies: ['reviews'], agent: ECHO, input: { done: true } },
    ],
    policies: { timeout: { global: 600000 } },
});

/** A release that a person approves, by a form. */
export const approval = () => ({
    version: '1.0.0',
    metadata: { id: 'release', name: 'Release' },
    inputs: { type: 'object', properties: { tag: { type: 'string', default: 'v1.4.0' } } },
    steps: [
        { id: 'build', agent: ECHO, input: { tag: '${inputs.tag}' } },
        {
            id: 'sign-off', dependencies: ['build'],
            approval: {
                prompt: 'Publish ${inputs.tag} to everybody?',
                schema: {
                    type: 'object', required: ['channel', 'share'],
                    properties: {
                        channel: { type: 'string', title: 'Channel', enum: ['stable', 'beta', 'nightly'] },
                        share: { type: 'integer', title: 'Share of users', description: 'In percent', minimum: 1, maximum: 100, default: 10 },
                        note: { type: 'string', title: 'Note', maxLength: 200 },
                        announce: { type: 'boolean', title: 'Announce it', default: false },
                    },
                },
                timeout: '24h', onTimeout: 'reject',
            },
        },
        { id: 'publish', dependencies: ['sign-off'], agent: ECHO, input: { answer: '${steps.sign-off.output.answer}' } },
    ],
});

/** Waits for a time and for a signal. */
export const waiting = () => ({
    version: '1.0.0',
    metadata: { id: 'await-payment', name: 'Await payment' },
    steps: [
        { id: 'invoice', agent: ECHO, input: { number: 2041 } },
        { id: 'payment', dependencies: ['invoice'], wait: { signal: 'payment', timeout: '24h' } },
        { id: 'grace', dependencies: ['invoice'], wait: { duration: '6h' } },
        { id: 'ship', dependencies: ['payment'], agent: ECHO, input: {} },
    ],
});

/** Composites within composites. */
export const nested = () => ({
    version: '1.0.0',
    metadata: { id: 'editorial', name: 'Editorial' },
    inputs: { type: 'object', properties: { drafts: { type: 'array', items: { type: 'string' }, default: ['opening', 'middle', 'end'] } } },
    steps: [
        {
            id: 'tone',
            branch: {
                cases: [{ name: 'short', when: 'length(inputs.drafts) < `5`', steps: [{ id: 'plain', agent: ECHO, input: {} }] }],
                default: { steps: [{ id: 'ornate', agent: ECHO, input: {} }] },
            },
        },
        {
            id: 'chapters', dependencies: ['tone'],
            map: {
                items: '${inputs.drafts}', key: '${item}', concurrency: 2,
                steps: [
                    { id: 'write', agent: DELAY, input: { duration: 80, value: '${item}' } },
                    { id: 'proof', dependencies: ['write'], agent: DELAY, input: { duration: 50, value: '${steps.write.output}' } },
                ],
                output: '${steps.proof.output}',
            },
        },
        {
            id: 'polish', dependencies: ['chapters'],
            loop: {
                until: 'loop.index >= `3`', maxIterations: 6, init: 0,
                steps: [{ id: 'critic', agent: { id: '@orchestr8/critic-agent' }, input: { text: 'draft', score: 0.5 } }],
                value: '${steps.critic.output.score}',
            },
        },
        {
            id: 'print', dependencies: ['polish'],
            parallel: { join: 'any', steps: [{ id: 'paper', agent: DELAY, input: { duration: 400 } }, { id: 'screen', agent: DELAY, input: { duration: 60 } }] },
        },
    ],
});

/** What was done is undone. */
export const compensated = () => ({
    version: '1.0.0',
    metadata: { id: 'order', name: 'Order' },
    steps: [
        { id: 'reserve', agent: ECHO, input: { sku: 'mug' }, compensate: { agent: ECHO, input: { undo: '${self.output.sku}' } } },
        { id: 'charge', dependencies: ['reserve'], agent: ECHO, input: { amount: 25 }, compensate: { agent: ECHO, input: { undo: '${self.output.amount}' } } },
        { id: 'ship', dependencies: ['charge'], agent: { id: '@orchestr8/fail' }, input: { code: 'DENIED', message: 'The carrier refuses this address.' } },
    ],
});

/** Hostile, right-to-left and very long texts wherever a workflow has room for one. */
export const hostile = () => ({
    version: '1.0.0',
    metadata: { id: 'hostile', name: `${HOSTILE} ${RIGHT_TO_LEFT}` },
    steps: [
        { id: 'markup', name: HOSTILE, agent: ECHO, input: { [HOSTILE]: HOSTILE, rtl: RIGHT_TO_LEFT, long: LONG_WORD, big: 'megabytes '.repeat(120000) } },
        { id: 'long', name: LONG_WORD, agent: ECHO, input: { items: Array.from({ length: 300 }, (_, index) => `${HOSTILE} ${index}`) } },
        {
            id: 'ask', dependencies: ['markup'],
            approval: {
                prompt: `${HOSTILE} ${RIGHT_TO_LEFT} ${LONG_WORD}`,
                schema: { type: 'object', title: HOSTILE, properties: { choice: { type: 'string', title: HOSTILE, description: LONG_WORD, enum: [HOSTILE, RIGHT_TO_LEFT] } } },
            },
        },
        { id: 'broken', agent: { id: '@orchestr8/fail' }, onError: 'continue', input: { code: 'VALIDATION', message: `${HOSTILE} ${RIGHT_TO_LEFT} ${LONG_WORD}` } },
    ],
});
