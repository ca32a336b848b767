import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';

const FOLDER = new URL('../../src/server/dashboard/assets/', import.meta.url);
const MOST_BYTES = 250 * 1024;

const names = await readdir(FOLDER);
const assets = new Map(await Promise.all(names.map(async (name) => [name, await readFile(new URL(name, FOLDER), 'utf8')])));

test('all assets together are at most 250 KB', () => {
    const size = [...assets.values()].reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    assert.ok(size <= MOST_BYTES, `${size} bytes`);
});

test('there is no inline script, style or listener, and none is made', () => {
    const html = assets.get('index.html');
    assert.doesNotMatch(html, /<script(?![^>]*\ssrc=)/);
    assert.doesNotMatch(html, /<style|\sstyle=|\son\w+=|javascript:/i);
    for (const [name, text] of assets) {
        if (!name.endsWith('.js')) continue;
        assert.doesNotMatch(text, /\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|setAttribute\('style'|cssText|srcdoc/, name);
    }
});

test('nothing comes from elsewhere', () => {
    for (const [name, text] of assets) {
        const foreign = [...text.matchAll(/(?:https?:)?\/\/[\w-]+\.[\w.-]+[^\s'"`)]*/g)].map(([url]) => url).filter((url) => !url.startsWith('http://www.w3.org/'));
        assert.deepEqual(foreign, [], name);
        assert.doesNotMatch(text, /@import/, name);
    }
});

test('every module that is imported is there, and every asset is used', () => {
    const used = new Set(['index.html', 'app.js', 'style.css', 'graph.css', 'icon.svg']);
    for (const [name, text] of assets) {
        for (const [, path] of text.matchAll(/from '([^']+)'/g)) {
            assert.match(path, /^\.\/\w+\.js$/, name);
            assert.ok(assets.has(path.slice(2)), `${name} imports ${path}`);
            used.add(path.slice(2));
        }
    }
    assert.deepEqual(names.filter((name) => !used.has(name)), []);
    for (const [, path] of assets.get('index.html').matchAll(/(?:href|src)="assets\/([^"]+)"/g)) assert.ok(assets.has(path), path);
});
