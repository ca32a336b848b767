// Copying and saving.

import { h } from './dom.js';
import { notice } from './notice.js';

/** A button that copies what `text()` gives. */
export function copyButton(label, text, properties) {
    return h('button', { class: 'quiet', ...properties, onclick: () => copy(text()) }, label);
}

export async function copy(text) {
    try {
        await navigator.clipboard.writeText(text);
        notice('Copied');
    } catch {
        notice('The browser does not let this page copy.', { isError: true });
    }
}

/** Has the browser save parts of text as a file. */
export function save(name, type, parts) {
    const address = URL.createObjectURL(new Blob(parts, { type }));
    const link = h('a', { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
}
