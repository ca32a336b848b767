// Making elements. Whatever is not an element becomes a text node, so that no value is ever read as markup.

const SVG = 'http://www.w3.org/2000/svg';

/** Makes an element: functions under `on…` listen, `true` sets an empty attribute, null and false none. */
export function h(name, properties, ...children) {
    return fill(document.createElement(name), properties, children);
}

/** Makes an element of SVG. */
export function s(name, properties, ...children) {
    return fill(document.createElementNS(SVG, name), properties, children);
}

/** Replaces what is in an element. */
export function replace(element, ...children) {
    element.replaceChildren(...children.flat(Infinity).filter(isShown));
    return element;
}

function fill(element, properties, children) {
    for (const [key, value] of Object.entries(properties ?? {})) {
        if (value === null || value === undefined || value === false) continue;
        if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
        else element.setAttribute(key, value === true ? '' : value);
    }
    element.append(...children.flat(Infinity).filter(isShown));
    return element;
}

function isShown(child) {
    return child !== null && child !== undefined && child !== false && child !== '';
}

/** Says something to readers of the screen, once it differs from what was said. */
export function announce(text) {
    const announcer = document.getElementById('announcer');
    if (announcer.textContent !== text) announcer.textContent = text;
}

/** Sets a text only if it differs, so that selections and readers are left alone. */
export function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
}
