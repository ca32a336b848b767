// The real server, with a data directory of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../../../..');
const PROGRAM = process.env.ORCHESTR8_PROGRAM ?? join(ROOT, 'target/debug/orchestr8');

/** Where pictures go. */
export const PICTURES = process.env.ORCHESTR8_PICTURES ?? join(ROOT, 'target/browser');

export class Server {
    static async start({ token } = {}) {
        const server = new Server();
        server.token = token;
        server.home = await mkdtemp(join(tmpdir(), 'orchestr8-browser-'));
        server.port = await freePort();
        server.base = `http://127.0.0.1:${server.port}`;
        await server.up();
        return server;
    }

    /** Starts the process, again on the same port and data. */
    async up() {
        const env = { PATH: process.env.PATH, ORCHESTR8_HOME: this.home, ...(this.token && { ORCHESTR8_TOKEN: this.token }) };
        this.process = spawn(PROGRAM, ['server', '--port', String(this.port), '--quiet'], { env, stdio: 'ignore' });
        for (;;) {
            if (this.process.exitCode !== null) throw new Error(`${PROGRAM} left with ${this.process.exitCode}`);
            const response = await fetch(`${this.base}/ready`).catch(() => null);
            if (response?.ok) return;
            await pause(25);
        }
    }

    /** Ends the process without a word of warning. */
    async kill() {
        const ended = once(this.process, 'exit');
        this.process.kill('SIGKILL');
        await ended;
    }

    async stop() {
        if (this.process.exitCode === null && this.process.signalCode === null) await this.kill();
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
            const execution = await this.ask(`v1/executions/${id}?`);
            if (isSo(execution)) return execution;
            await pause(50);
        }
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

export const pause = (ms) => new Promise((go) => setTimeout(go, ms));

async function freePort() {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address();
    probe.close();
    await once(probe, 'close');
    return port;
}
