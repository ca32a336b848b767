// An execution as a snapshot and the events after it. Nothing here knows of the page or the network.

import { placeOf } from './step_path.js';
import { isTerminal } from './status.js';

/** What the end of a step is counted under. */
const COUNTED = ['completed', 'failed', 'skipped', 'cancelled', 'running'];
/** The characters of a model's answer that are kept while it is written. */
const LIVE_TEXT = 4000;
const COMPOSITES = new Set(['parallel', 'branch', 'map', 'loop', 'workflow']);

const STEP_STATUS = {
    'step.started': 'running',
    'step.waiting': 'waiting',
    'step.completed': 'completed',
    'step.failed': 'failed',
    'step.skipped': 'skipped',
    'step.cancelled': 'cancelled',
};

const EXECUTION_STATUS = {
    'execution.queued': 'queued',
    'execution.started': 'running',
    'execution.recovered': null,
    'execution.paused': 'paused',
    'execution.resumed': 'running',
    'execution.reopened': 'running',
    'execution.cancelling': 'cancelling',
    'execution.failing': 'running',
    'execution.completed': 'completed',
    'execution.failed': 'failed',
    'execution.cancelled': 'cancelled',
};

/** Makes the state of a body of `GET /v1/executions/{id}`. */
export function fromSnapshot(body) {
    const { steps, ...execution } = body;
    const state = { execution, steps: new Map(), sequence: body.lastSequence, stepsVersion: 0, isStale: false };
    for (const step of steps) state.steps.set(step.stepPath, { ...step, history: [] });
    return state;
}

/** Adds a page of steps that was read later: events know better, where there were any. */
export function addSteps(state, page) {
    for (const step of page) {
        const known = state.steps.get(step.stepPath);
        state.steps.set(step.stepPath, known ? { ...step, ...known } : { ...step, history: [] });
    }
    state.stepsVersion += 1;
}

/**
 * Takes an entry of the journal into the state, and says whether it was news. After what only the server can tell, such as which steps
 * lie in a composite that opened, the state says `isStale`: a new snapshot is due.
 */
export function apply(state, entry) {
    if (entry.sequence <= state.sequence) return false;
    state.sequence = entry.sequence;
    state.execution.lastSequence = entry.sequence;
    if (entry.type.startsWith('execution.')) applyToExecution(state, entry);
    else if (entry.stepPath !== undefined) applyToStep(state, entry);
    return true;
}

function applyToExecution(state, entry) {
    const { execution } = state;
    const status = EXECUTION_STATUS[entry.type];
    if (status) execution.status = status;
    if (entry.type === 'execution.started') execution.startedAt = entry.timestamp;
    if (entry.type === 'execution.recovered' || entry.type === 'execution.reopened') state.isStale = true;
    if (!status || !isTerminal(status)) return;
    // Usage, outputs and what was compensated: told whole by the server, once.
    state.isStale = true;
    execution.completedAt = entry.timestamp;
    if (execution.startedAt) execution.duration = Date.parse(entry.timestamp) - Date.parse(execution.startedAt);
}

function applyToStep(state, entry) {
    const { data } = entry;
    const step = known(state, entry);
    note(step, entry);
    if (entry.type === 'attempt.started') {
        step.attempts = entry.attempt;
        step.startedAt ??= entry.timestamp;
        setStatus(state, step, 'running');
    } else if (entry.type === 'retry.scheduled') {
        setStatus(state, step, 'waiting');
        step.waitingFor = 'backoff';
    } else if (entry.type === 'step.scheduled') {
        step.kind ??= data.kind;
        step.agentId ??= data.agentId;
        step.tool ??= data.tool;
    } else if (entry.type === 'step.recovered') {
        step.recoveredBy = data.fallbackStepId;
    } else if (entry.type.startsWith('map.') || entry.type.startsWith('loop.')) {
        state.isStale = true;
    }
    const status = STEP_STATUS[entry.type];
    if (!status) return;
    setStatus(state, step, status);
    delete step.waitingFor;
    if (status === 'running') {
        step.startedAt ??= entry.timestamp;
        step.kind ??= data.kind;
        if (COMPOSITES.has(step.kind)) state.isStale = true;
    } else if (status === 'waiting') {
        step.startedAt ??= entry.timestamp;
        step.waitingFor = data.waitingFor;
    } else {
        step.completedAt = entry.timestamp;
        if (data.attempts !== undefined) step.attempts = data.attempts;
        if (data.duration !== undefined) step.duration = data.duration;
        if (data.error) step.error = data.error;
        if (data.skipReason) step.skipReason = data.skipReason;
        if (data.reused) step.reused = true;
    }
}

function known(state, { stepPath, stepId, visit, data }) {
    const found = state.steps.get(stepPath);
    if (found) return found;
    const id = stepId ?? placeOf(stepPath).split('.').at(-1);
    const step = { stepId: id, stepPath, visit: visit ?? 0, name: id, kind: data?.kind, status: 'pending', attempts: 0, history: [] };
    state.steps.set(stepPath, step);
    state.stepsVersion += 1;
    // A step that nobody has told of yet: the server's count of them has grown.
    if (!state.execution.stepsTruncated) state.execution.progress.total += 1;
    return step;
}

/** Keeps the times that a timeline draws: when it was ready, and each attempt. In whatever order they are told, the same comes out. */
function note(step, { type, timestamp, attempt, data }) {
    if (type === 'step.scheduled') step.readyAt = timestamp;
    if (type !== 'attempt.started' && type !== 'attempt.finished' && type !== 'attempt.rejected') return;
    let record = step.history.find((other) => other.attempt === attempt);
    if (!record) {
        record = { attempt };
        step.history.push(record);
    }
    if (type === 'attempt.started') record.startedAt ??= timestamp;
    else record.completedAt = timestamp;
    if (data.error) record.failed = true;
}

/** Takes what no journal holds: how far an attempt has come, or what a model has written in it. It is gone with the attempt. */
export function applyProgress(state, { type, stepPath, attempt, data }) {
    const step = state?.steps.get(stepPath);
    if (!step || step.status !== 'running') return;
    if (step.live?.attempt !== attempt) step.live = { attempt, text: '' };
    if (type === 'model.delta') step.live.text = (step.live.text + data.text).slice(-LIVE_TEXT);
    else Object.assign(step.live, { fraction: data.fraction, message: data.message });
}

function setStatus(state, step, status) {
    const { progress } = state.execution;
    const before = step.status;
    if (before === status) return;
    step.status = status;
    if (status !== 'running') delete step.live;
    const [from, to] = [countedAs(before), countedAs(status)];
    if (COUNTED.includes(from)) progress[from] = Math.max(0, progress[from] - 1);
    if (COUNTED.includes(to)) progress[to] += 1;
    const ended = progress.completed + progress.failed + progress.skipped + progress.cancelled;
    if (progress.total > 0) progress.percent = Math.min(100, Math.floor((100 * ended) / progress.total));
}

/** What waits is counted among what runs. */
const countedAs = (status) => (status === 'waiting' ? 'running' : status);

/** Takes entries of the journal as no more than the times in them, for the timeline of what happened before the snapshot. */
export function recall(state, entries) {
    for (const entry of entries) {
        const step = entry.stepPath === undefined ? undefined : state.steps.get(entry.stepPath);
        if (step && entry.sequence <= state.sequence) note(step, entry);
    }
}
