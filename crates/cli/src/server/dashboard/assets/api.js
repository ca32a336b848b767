// The REST API. Paths are relative to the page, so that the server may be mounted anywhere.

import { credentials } from './session.js';

/** What the server answers when it does not do what was asked: a problem of RFC 9457. */
export class Problem extends Error {
    constructor(status, body) {
        super(body?.detail ?? body?.title ?? `The server answered ${status}.`);
        this.status = status;
        this.code = body?.code;
        this.issues = body?.issues ?? [];
    }
}

/** There was no answer: the server is away, or the request was given up. */
export class Unreachable extends Error {
    isUnreachable = true;

    constructor(cause) {
        super('The server does not answer.', { cause });
    }
}

let onUnauthorized = () => {};

/** Has `ask` called whenever the server wants a token, or another one. */
export function whenUnauthorized(ask) {
    onUnauthorized = ask;
}

/** Sends a request and gives the response of a success; anything else is a [`Problem`]. */
export async function open(path, { method = 'GET', body, headers, signal } = {}) {
    const json = body === undefined ? {} : { 'Content-Type': 'application/json' };
    const response = await fetch(path, {
        method,
        signal,
        cache: 'no-store',
        headers: { ...credentials(), ...json, ...headers },
        body: body === undefined ? undefined : JSON.stringify(body),
    }).catch((error) => {
        throw new Unreachable(error);
    });
    if (response.ok || response.status === 304) return response;
    const problem = new Problem(response.status, await response.json().catch(() => null));
    if (response.status === 401) onUnauthorized();
    throw problem;
}

export async function get(path, options) {
    return (await open(path, options)).json();
}

export async function post(path, body, options) {
    return (await open(path, { ...options, method: 'POST', body: body ?? {} })).json();
}

/** Reads a body again only if it changed since. */
export class Cached {
    #tag;

    /** Gives the body, or null if it is as before. */
    async get(path, options) {
        const headers = this.#tag ? { 'If-None-Match': this.#tag } : {};
        const response = await open(path, { ...options, headers });
        if (response.status === 304) return null;
        this.#tag = response.headers.get('ETag');
        return response.json();
    }
}

/** The address of an execution, and of what belongs to it. */
export function execution(id, ...rest) {
    return ['v1/executions', id, ...rest].map((part, index) => (index === 0 ? part : encodeURIComponent(part))).join('/');
}

/** A query of what is given, with its `?`. */
export function query(parameters) {
    const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== '');
    const text = new URLSearchParams(given).toString();
    return text && `?${text}`;
}
