// The real server, with a data directory of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = resolve(fileURLToPath(new URL('.', import.meta.url)), '../../../..');
const PROGRAM = process.env.ORCHESTR8_PROGRAM ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug/orchestr8');

/** Where pictures go. */
export const PICTURES = process.env.ORCHESTR8_PICTURES ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'browser');

const started = [];

/** Ends all servers, and removes what they kept. */
export const stopAll = () => Promise.all(started.map((server) => server.stop()));

/** Makes something when it is first asked for, once. */
export function lazy(make) {
    let made;
    return () => (made ??= make());
}

/** A server for all who do not mind what else runs there. */
export const shared = lazy(() => Server.start());

export class Server {
    static async start({ token } = {}) {
        const server = new Server();
        server.token = token;
        server.home = await mkdtemp(join(tmpdir(), 'orchestr8-browser-'));
        server.port = await freePort();
        server.base = `http://127.0.0.1:${server.port}`;
        started.push(server);
        await server.up();
        return server;
    }

    /** Starts the process, again on the same port and data. */
    async up() {
        const env = { PATH: process.env.PATH, ORCHESTR8_HOME: this.home, ...(this.token && { ORCHESTR8_TOKEN: this.token }) };
        this.process = spawn(PROGRAM, ['server', '--port', String(this.port), '--quiet'], { env, stdio: ['ignore', 'ignore', 'inherit'] });
        let fault = null;
        this.process.on('error', (error) => {
            fault = error;
        });
        for (;;) {
            if (fault) throw fault;
            if (this.process.exitCode !== null) throw new Error(`${PROGRAM} left with ${this.process.exitCode}`);
            const response = await fetch(`${this.base}/ready`).catch(() => null);
            if (response?.ok) return;
            await soon();
        }
    }

    /** Ends the process without a word of warning. */
    async kill() {
        const ended = once(this.process, 'exit');
        this.process.kill('SIGKILL');
        await ended;
    }

    async stop() {
        if (this.process?.pid && this.process.exitCode === null && this.process.signalCode === null) await this.kill();
        await rm(this.home, { recursive: true, force: true });
    }

    async ask(path, body) {
        const headers = { ...(this.token && { Authorization: `Bearer ${this.token}` }), ...(body && { 'Content-Type': 'application/json' }) };
        const response = await fetch(`${this.base}/${path}`, { headers, ...(body && { method: 'POST', body: JSON.stringify(body) }) });
        const answer = await response.json();
        if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(answer.issues ?? answer.detail)}`);
        return answer;
    }

    /** Starts an execution and gives its id. */
    async execute(workflow, input = {}) {
        return (await this.ask('v1/workflows/execute', { workflow, input })).executionId;
    }

    /** Waits until an execution is as `isSo` says. */
    async until(id, isSo) {
        for (;;) {
            const execution = await this.ask(`v1/executions/${id}`);
            if (isSo(execution)) return execution;
            await soon();
        }
    }

    /** Has a waiting execution go on. */
    signal(id, name = 'go') {
        return this.ask(`v1/executions/${id}/signals/${name}`, {});
    }

    /** All entries of a journal. */
    async journal(id) {
        const entries = [];
        for (let more = true; more; ) {
            const page = await this.ask(`v1/executions/${id}/journal?limit=1000&since=${(entries.at(-1)?.sequence ?? 0) + 1}`);
            entries.push(...page.entries);
            more = page.pagination.hasMore;
        }
        return entries;
    }
}

export const isOver = ({ status }) => ['completed', 'failed', 'cancelled'].includes(status);

export const isWaiting = ({ waitingFor }) => waitingFor?.length > 0;

/** Between two looks at what is awaited. */
const soon = () => new Promise((go) => setTimeout(go, 50));

async function freePort() {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address();
    probe.close();
    await once(probe, 'close');
    return port;
}
